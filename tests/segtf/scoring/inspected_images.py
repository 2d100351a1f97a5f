"""Three images with a part and defects, whose objects and outlines are counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.scoring import metrics
from segtf.scoring.inspection import (
    Inspected,
    boundary_iou,
    inspect_image,
    object_scores,
    score_intervals,
)
from segtf.scoring.metrics import Counts

CLASSES = ("__background__", "part", "defect")
Mask = NDArray[np.uint8]


def drawn(*defects: tuple[int, int, int], part: int = 40) -> Mask:
    """A part of 50 rows and `part` columns with square defects: top, left and side."""
    mask = np.zeros((60, 60), np.uint8)
    mask[5:55, 5 : 5 + part] = 1
    for top, left, side in defects:
        mask[top : top + side, left : left + side] = 2
    return mask


# truth and prediction of each image
IMAGES = (
    (drawn((10, 10, 5), (30, 10, 9)), drawn((30, 10, 9))),
    (drawn((10, 10, 7)), drawn((10, 10, 7), (40, 30, 6))),
    (drawn(), drawn((20, 20, 4), (40, 10, 4), (30, 30, 2))),
)


def inspected() -> tuple[list[Inspected], list[Counts]]:
    """Objects and outlines, and confusion matrices, of each image."""
    return (
        [inspect_image(truth, prediction, CLASSES) for truth, prediction in IMAGES],
        [metrics.confusion(truth, prediction, 3) for truth, prediction in IMAGES],
    )


def inspection(classes: Sequence[str] = CLASSES) -> dict[str, Any]:
    """The fields of `SplitScores` that say how objects and outlines of these images are found."""
    images, confusions = inspected()
    outlines = boundary_iou(images, classes)
    return {
        "objects": object_scores(images, classes),
        "boundary_iou": dict(zip(classes, outlines.tolist(), strict=True)),
        "boundary_miou": metrics.mean(outlines),
        "intervals": score_intervals(images, confusions, classes),
    }
