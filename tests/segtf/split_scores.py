"""Scores of splits for tests: as they are in memory, and as they lie in a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from segtf.run.folder import write_json
from segtf.scoring.split_scores import ImageScores, Origin, SplitScores, metrics_file, read_scores

Score = float | None


def split_scores(iou: Mapping[str, Score], miou: Score = 0.5, **values: Any) -> SplitScores:
    """The scores of a split by the IoU of its classes; `values` replace those of 4 images."""
    fields: dict[str, Any] = {
        "images": 4,
        "classes": tuple(iou),
        "iou": dict(iou),
        "dice": dict(iou),
        "miou": miou,
        "dice_mean": miou,
        "pixel_accuracy": None,
        "iou_micro_imagewise": None,
        "confusion": ((0,) * len(iou),) * len(iou),
        "rows": (),
        "origin": Origin("test", 256, 256, 256, "keras", data={"path": "voc", "sha256": "0a1b"}),
        "objects": None,
        "boundary_iou": None,
        "boundary_miou": None,
        "intervals": None,
        "operating_point": None,
        "no_operating_point": None,
    }
    return SplitScores(**{**fields, **values})


def image_scores(image_id: str, miou: Score = None, **values: Any) -> ImageScores:
    """The scores of an image without objects."""
    return replace(ImageScores(image_id, miou, {}, None), **values)


def write_scores(run: Path, split: str, scores: SplitScores) -> None:
    """Writes `metrics_SPLIT.json` into a run folder."""
    origin = replace(scores.origin, split=split)
    write_json(replace(scores, origin=origin).to_json(), run / metrics_file(split))


def change_scores(run: Path, split: str, **values: Any) -> None:
    """Replaces some of the scores that lie in a run folder."""
    write_scores(run, split, replace(read_scores(run / metrics_file(split)), **values))
