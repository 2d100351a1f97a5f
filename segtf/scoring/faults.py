"""Count the faults in the mask of an image, and rank images by them.

The mean IoU of a single image is no measure of this: three wrong pixels on an empty image halve it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from segtf.scoring import metrics
from segtf.scoring.inspection import object_counts
from segtf.scoring.objects import count_objects, find_objects, object_classes, without_specks
from segtf.scoring.scores import pixel_scores
from segtf.scoring.split_scores import ImageScores
from voc_builder.pixels.overlay import format_fraction


@dataclass(frozen=True)
class Faults:
    """Faults in the mask of one image; false if there are none."""

    missed: int  # true objects that are not found, as `segtf.scoring.objects` counts them
    false: int  # predicted objects that are false alarms
    wrong: float  # fraction of the pixels, void left out

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key: most faults first."""
        return -(self.missed + self.false), -self.wrong

    def __bool__(self) -> bool:
        return any((self.missed, self.false, self.wrong))

    def __str__(self) -> str:
        parts = [f"{self.missed} missed"] if self.missed else []
        if self.false:
            parts.append(f"{self.false} false alarm{'s' * (self.false > 1)}")
        if self.wrong:
            parts.append(f"{format_fraction(self.wrong)} wrong")
        return ", ".join(parts) or "no fault"


def find_faults(
    truth: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Sequence[str]
) -> Faults:
    """The faults of class ids against the true ones, 255 void, both of shape (H, W)."""
    return faults_of(image_scores("", truth, mask, classes))


def faults_of(row: ImageScores) -> Faults:
    """The faults of an image; wrong pixels are unknown, 0, in files of earlier versions."""
    objects = (row.objects or {}).values()
    return Faults(
        sum(each.false_negatives for each in objects),
        sum(each.false_positives for each in objects),
        row.wrong or 0.0,
    )


def image_scores(
    image_id: str, truth: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Sequence[str]
) -> ImageScores:
    """The scores of class ids against the true ones, 255 void, both of shape (H, W)."""
    counts = metrics.confusion(truth, mask, len(classes))
    (row,) = pixel_scores([(image_id, counts)], classes).rows
    objects = {}
    for i in object_classes(classes):
        (found,) = without_specks(count_objects([find_objects(truth, mask, i)], (0, 0)))
        objects[classes[i]] = object_counts(found)
    return replace(row, objects=objects)
