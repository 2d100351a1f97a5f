"""Count what is wrong with the mask of an image, and put images in the order of it.

A mean IoU of a single image does not tell this: three wrong pixels on an empty image give 0.5, and
a faultless image as little as a class that is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.scoring import metrics
from segtf.scoring.evaluation import pixel_scores
from segtf.scoring.inspection import named_counts
from segtf.scoring.objects import count_objects, find_objects, object_classes, without_specks
from voc_builder.pixels.overlay import format_fraction

Json = dict[str, Any]


@dataclass(frozen=True)
class Faults:
    """What is wrong with the mask of one image; false if nothing is."""

    missed: int  # true objects, as `segtf.scoring.objects` counts them
    false: int  # false alarms
    wrong: float  # fraction of the pixels, without void

    @property
    def rank(self) -> tuple[int, float]:
        """Sort key: the worst first, those without any fault last."""
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
    return faults_of(image_row("", truth, mask, classes))


def faults_of(row: Mapping[str, Any]) -> Faults:
    """The faults in an entry of `images` in `metrics_SPLIT.json` or of `image_row`; one of an
    earlier version tells no wrong pixels.
    """
    objects = row.get("objects", {}).values()
    return Faults(
        sum(each["true"] - each["found"] for each in objects),
        sum(each["false"] for each in objects),
        row.get("wrong") or 0.0,
    )


def image_row(
    image_id: str, truth: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Sequence[str]
) -> Json:
    """The scores of one image as an entry of `images` in `metrics_SPLIT.json` has them."""
    counts = metrics.confusion(truth, mask, len(classes))
    (row,) = pixel_scores([(image_id, counts)], classes)["photos"]
    return {**row, "objects": _objects(truth, mask, classes)}


def _objects(truth: NDArray[np.uint8], mask: NDArray[np.uint8], classes: Sequence[str]) -> Json:
    """Of each class with objects: `true`, `found`, `alarms` and `false`."""
    found = {}
    for i in object_classes(classes):
        (row,) = without_specks(count_objects([find_objects(truth, mask, i)], (0, 0)))
        found[classes[i]] = named_counts(row)
    return found
