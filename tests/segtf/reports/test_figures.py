from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtf.reports.figures import draw_confusion, draw_curves, format_count
from segtf.run.log import best_epoch, logged_classes, read_log
from voc_builder.base.errors import UserError

NAN = math.nan


def write_log(path: Path, classes: list[str], val_miou: list[float]) -> Path:
    """A log as `CSVLogger` writes it: the epoch first, the other columns sorted by name."""
    columns = sorted(f"{prefix}iou_{name}" for prefix in ("", "val_") for name in classes)
    header = ["epoch", *columns, "learning_rate", "loss", "miou", "val_loss", "val_miou"]
    rows = [
        [epoch, *[score] * len(columns), 0.001, 1 - score, score, 1 - score, score]
        for epoch, score in enumerate(val_miou)
    ]
    lines = [",".join(map(str, row)) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read_picture(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture


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
    "scores", [[0.5], [NAN], [0.1, NAN, 0.9, NAN, 0.5], list(np.linspace(0, 1, 300))]
)
@pytest.mark.parametrize("count", [2, 25])
def test_draw_curves_draws_any_number_of_epochs_and_classes(
    scores: list[float], count: int, tmp_path: Path
) -> None:
    classes = ["__background__", "дефект $x_1$", *(f"class {i} " * 9 for i in range(count - 2))]
    log = write_log(tmp_path / "log.csv", classes, scores)
    draw_curves(log, tmp_path / "curves.png")
    height, width, _ = read_picture(tmp_path / "curves.png").shape
    assert 1000 < width < 2000
    assert 600 < height < 2000


def test_draw_curves_uses_the_colours_of_the_masks(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", ["background", "chip"], [0.2, 0.4, 0.6])
    draw_curves(log, tmp_path / "curves.png")
    assert (read_picture(tmp_path / "curves.png") == (128, 0, 0)).all(axis=2).sum() > 100


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_draw_confusion_draws_2_to_30_classes(count: int, tmp_path: Path) -> None:
    counts = np.diag(np.full(count, 10**9, np.int64))
    names = ["__background__", "$a$", *(f"имя {i} " * 10 for i in range(28))][:count]
    draw_confusion(counts, names, tmp_path / "confusion.png")
    height, width, _ = read_picture(tmp_path / "confusion.png").shape
    assert 0.6 < width / height < 1.8
    assert width < 3000


def test_draw_confusion_greys_a_class_without_pixels(tmp_path: Path) -> None:
    draw_confusion(np.array([[5, 0], [0, 0]], np.int64), ["a", "b"], tmp_path / "absent.png")
    draw_confusion(np.array([[5, 0], [0, 5]], np.int64), ["a", "b"], tmp_path / "present.png")
    grey = [
        (read_picture(tmp_path / name) == (217, 217, 217)).all(axis=2).mean()
        for name in ("absent.png", "present.png")
    ]
    assert grey[0] > 0.2
    assert grey[1] < 0.001


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (950, "950"), (12_345, "12.3k"), (4_560_000, "4.56M"), (1_200_000_000, "1.2G")],
)
def test_format_count_is_short(count: int, text: str) -> None:
    assert format_count(count) == text


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
