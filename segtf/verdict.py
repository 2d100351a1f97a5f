"""Show what a run reaches on val and test, and say whether its model is worth keeping."""

from __future__ import annotations

import shlex
from pathlib import Path

from segtf.scoring.format import score_text, text_table
from segtf.scoring.operating import target_class
from segtf.scoring.split_scores import SplitScores, read_run_scores
from voc_builder.base.errors import UserError


def read_scores(folder: Path) -> dict[str, SplitScores]:
    """The scores on val, and on test if there are any. Raises `UserError`."""
    scores = read_run_scores(folder)
    if "val" not in scores:
        raise UserError(
            f"{folder}: no scores on val: name a run that is trained, or finish it with "
            f"python -m segtf.finish {shlex.quote(str(folder))}"
        )
    return scores


def target_iou(scores: SplitScores) -> tuple[str, float | None]:
    """The class that is target and its IoU; the mean of all where nothing but background is."""
    target = target_class(scores.classes)
    if target is None:
        return "the mean", scores.miou
    name = scores.classes[target.class_id]
    return name, scores.iou[name]


def advice(scores: SplitScores, good_iou: float) -> str:
    """Whether a model with these scores on val should be kept."""
    name, iou = target_iou(scores)
    if iou is None:
        return f"{name} is on no image of val, nothing is known of it: better not keep the model"
    if iou < good_iou:
        return (
            f"{name} has an IoU of {iou:.4f} on val, less than the {good_iou} of good_iou: "
            "better not keep the model"
        )
    return f"{name} has an IoU of {iou:.4f} on val, good_iou is {good_iou}: worth keeping"


def score_columns(scores: dict[str, SplitScores]) -> str:
    """IoU and Dice of each class and their means, a pair of columns for each split."""
    first = scores["val"]
    name = target_iou(first)[0]
    rows = [["", *(f"{score} {split}" for split in scores for score in ("IoU", "Dice"))]]
    for label in first.classes:
        pairs = ((of.iou[label], of.dice[label]) for of in scores.values())
        marked = f"{label} (target)" if label == name else label
        rows.append([marked, *(score_text(score) for pair in pairs for score in pair)])
    means = ((of.miou, of.dice_mean) for of in scores.values())
    rows.append(["mean", *(score_text(score) for pair in means for score in pair)])
    return text_table(rows)
