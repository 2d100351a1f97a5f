"""Scores are shown for each class, and poor ones advise against keeping a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from segtf.scoring.split_scores import SplitScores
from segtf.verdict import advice, read_scores, score_columns
from tests.segtf.split_scores import split_scores, write_scores
from voc_builder.base.errors import UserError


def scores(iou: float | None, *names: str) -> SplitScores:
    """Of the background and one more class."""
    first, last = names * 2 or ("background", "object")
    dice = None if iou is None else 2 * iou / (1 + iou)
    return split_scores(
        {first: 0.98, last: iou}, 0.8, dice={first: 0.99, last: dice}, dice_mean=0.9
    )


@pytest.mark.parametrize(
    ("iou", "says"),
    [
        (
            0.4321,
            "object has an IoU of 0.4321 on val, less than the 0.5 of good_iou: better not keep "
            "the model",
        ),
        (0.5, "object has an IoU of 0.5000 on val, good_iou is 0.5: worth keeping"),
        (None, "object is on no image of val, nothing is known of it: better not keep the model"),
    ],
)
def test_advice_names_the_class_its_iou_and_the_threshold(iou: float | None, says: str) -> None:
    assert advice(scores(iou), 0.5) == says


def test_a_set_of_background_alone_is_judged_by_the_mean() -> None:
    assert advice(scores(0.98, "background"), 0.9).startswith("the mean has an IoU of 0.8000")


def test_columns_show_iou_and_dice_of_each_class_and_split() -> None:
    shown = score_columns({"val": scores(0.5), "test": scores(None)})
    assert shown.splitlines() == [
        "                 IoU val  Dice val  IoU test  Dice test",
        "background        0.9800    0.9900    0.9800     0.9900",
        "object (target)   0.5000    0.6667         –          –",
        "mean              0.8000    0.9000    0.8000     0.9000",
    ]


def test_a_run_without_test_images_has_scores_on_val(tmp_path: Path) -> None:
    write_scores(tmp_path, "val", scores(0.5))
    assert list(read_scores(tmp_path)) == ["val"]


def test_a_run_without_scores_is_named_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no scores on val: .* python -m segtf\.finish "):
        read_scores(tmp_path)
