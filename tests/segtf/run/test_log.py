"""The training log that `CSVLogger` writes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from segtf.run.log import best_epoch, logged_classes, read_log, waiting
from tests.segtf.reports.run_folders import add_waits, write_log
from voc_builder.base.errors import UserError

NAN = math.nan
CLASSES = ["background", "fishka"]


def test_a_log_in_another_encoding_is_named_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("epoch,val_iou_серый кот\n0,0.5\n".encode("cp1251"))
    with pytest.raises(UserError, match=r"log\.csv: not UTF-8") as caught:
        read_log(path)
    assert "\n" not in str(caught.value)


def test_read_log_gives_columns_classes_and_the_best_epoch(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.csv", ["_bg", "фишка"], [0.5, NAN, 0.75, 0.25])
    log = read_log(path)
    np.testing.assert_array_equal(log["val_miou"], [0.5, NAN, 0.75, 0.25])
    assert logged_classes(path, log) == ["_bg", "фишка"]
    assert best_epoch(log) == 2


def test_classes_keep_the_order_of_the_data_set_though_the_log_is_sorted(tmp_path: Path) -> None:
    classes = ["background", "fishka", "defect"]
    path = write_log(tmp_path / "log.csv", classes, [0.5])
    assert logged_classes(path, read_log(path)) == ["background", "defect", "fishka"]
    (tmp_path / "data.json").write_text(json.dumps({"classes": classes}))
    assert logged_classes(path, read_log(path)) == classes


def test_a_log_without_any_score_has_no_best_epoch(tmp_path: Path) -> None:
    assert best_epoch(read_log(write_log(tmp_path / "log.csv", ["a"], [NAN, NAN]))) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no epoch is logged yet"),
        ("epoch,loss\n0,1\n", "lacks the columns val_loss, miou, val_miou, learning_rate"),
        (
            "epoch,loss,val_loss,miou,val_miou,learning_rate\n0,a,1,1,1,1\n",
            "not a table of numbers",
        ),
        ("epoch,loss,val_loss,miou,val_miou,learning_rate\n0,1,1,1,1,1,7\n", "not a table of"),
    ],
)
def test_read_log_says_what_is_wrong_with_a_file(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=says):
        read_log(path)


def test_waiting_is_the_median_from_the_second_epoch_on_of_logs_that_tell(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", CLASSES, [0.5] * 4)
    assert waiting(read_log(log)) is None
    add_waits(log, [0.9, 0.1, float("nan"), 0.3])
    assert waiting(read_log(log)) == pytest.approx(0.2)
    single = write_log(tmp_path / "single.csv", CLASSES, [0.5])
    add_waits(single, [0.9])
    assert waiting(read_log(single)) is None
