"""Show what a run reaches on val and test, and say whether its model is worth keeping."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from segtf.scoring.operating import target_class
from voc_builder.base.errors import UserError

Json = dict[str, Any]


def read_scores(folder: Path) -> dict[str, Json]:
    """What `metrics_SPLIT.json` says of val, and of test if there is one. Raises `UserError`."""
    paths = {split: folder / f"metrics_{split}.json" for split in ("val", "test")}
    if not paths["val"].is_file():
        raise UserError(
            f"{folder}: no scores on val: name a run that is trained, or finish it with "
            f"python -m segtf.finish {shlex.quote(str(folder))}"
        )
    return {
        split: json.loads(path.read_text(encoding="utf-8"))
        for split, path in paths.items()
        if path.is_file()
    }


def target_iou(values: Json) -> tuple[str, float | None]:
    """The class that is target and its IoU; the mean of all where nothing but background is."""
    target = target_class(values["classes"])
    if target is None:
        return "the mean", values["miou"]
    name = values["classes"][target.class_id]
    return name, values["iou"][name]


def advice(values: Json, good_iou: float) -> str:
    """Whether a model with these scores on val should be kept."""
    name, iou = target_iou(values)
    if iou is None:
        return f"{name} is on no image of val, nothing is known of it: better not keep the model"
    if iou < good_iou:
        return (
            f"{name} has an IoU of {iou:.4f} on val, less than the {good_iou} of good_iou: "
            "better not keep the model"
        )
    return f"{name} has an IoU of {iou:.4f} on val, good_iou is {good_iou}: worth keeping"


def score_columns(scores: dict[str, Json]) -> str:
    """IoU and Dice of each class and their means, a pair of columns for each split."""
    first = scores["val"]
    name = target_iou(first)[0]
    rows = [["", *(f"{score} {split}" for split in scores for score in ("IoU", "Dice"))]]
    for label in first["classes"]:
        pairs = ((values["iou"][label], values["dice"][label]) for values in scores.values())
        marked = f"{label} (target)" if label == name else label
        rows.append([marked, *(_figure(score) for pair in pairs for score in pair)])
    means = ((values["miou"], values["dice_mean"]) for values in scores.values())
    rows.append(["mean", *(_figure(score) for pair in means for score in pair)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
