"""Count the pixels and objects of one class at each threshold of its probability.

Counts are int64 and add up over images, so that the memory does not grow with the images.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.scoring.metrics import Counts, Scores, share
from segtf.scoring.objects import (
    AIMED,
    ALARMS,
    FALSE,
    FOUND,
    HIT,
    TRUE,
    Components,
    components,
    enough,
    eroded,
    label_objects,
    measured,
)
from voc_builder.base.colours import VOID

BINS = 256  # thresholds 0, 1 / 256, ... 255 / 256, each of them a float32
THRESHOLDS: Scores = np.arange(BINS) / BINS
SPECKS, WHOLE = range(2)


@dataclass(frozen=True)
class Curve:
    """Precision and recall by threshold; NaN where they are undefined."""

    precision: Scores
    recall: Scores

    @property
    def f1(self) -> Scores:
        """2 p r / (p + r), 0 where nothing predicted is right; NaN without anything to find."""
        precision = np.nan_to_num(self.precision)  # nothing is predicted
        total = precision + self.recall
        return np.where(total == 0, 0.0, share(2 * precision * self.recall, total))


@dataclass(frozen=True)
class ThresholdCounts:
    """Counts of one class at each threshold; those of several images add up with +."""

    pixels: Counts  # (BINS, 2): true positives, and all pixels that are predicted
    objects: Counts  # (BINS, 2, 4): specks and others, columns of `objects.count_objects`

    def __add__(self, other: ThresholdCounts) -> ThresholdCounts:
        return ThresholdCounts(self.pixels + other.pixels, self.objects + other.objects)

    def pixel_curve(self) -> Curve:
        """Precision and recall over pixels, shape (BINS,)."""
        right, predicted = self.pixels.T
        return Curve(share(right, predicted), share(right, right[0]))

    def pixel_iou(self) -> Scores:
        """IoU over pixels, shape (BINS,)."""
        right, predicted = self.pixels.T
        return share(right, predicted + right[0] - right)

    def counted_objects(self) -> Counts:
        """Objects, shape (BINS, 4), without specks unless all true ones are specks."""
        thin = not self.objects[0, WHOLE, TRUE] and self.objects[0, SPECKS, TRUE]
        return self.objects.sum(axis=1) if thin else self.objects[:, WHOLE]


def object_curve(objects: Counts) -> Curve:
    """Precision and recall over objects, of counts of shape (..., 4)."""
    true, found, predicted, false = np.moveaxis(objects, -1, 0)
    return Curve(share(predicted - false, predicted), share(found, true))


def no_counts() -> ThresholdCounts:
    """The counts of no image."""
    return ThresholdCounts(np.zeros((BINS, 2), np.int64), np.zeros((BINS, 2, 4), np.int64))


def count_thresholds(
    probability: NDArray[np.float32],
    truth: NDArray[np.uint8],
    class_id: int,
    *,
    found: float = FOUND,
    aimed: float = AIMED,
) -> ThresholdCounts:
    """The counts of one image, of the probability of a class, shape (H, W), 0 to 1, and the true
    class ids, 255 void. Objects are found and false as in `segtf.scoring.objects`. Raises
    ValueError for shapes that differ.
    """
    if truth.shape != probability.shape:
        raise ValueError(f"shapes differ. Received: {truth.shape} and {probability.shape}")
    # the highest threshold at which the pixel is predicted
    last = np.clip(probability * np.float32(BINS), 0, BINS - 1).astype(np.uint8)
    real, void = truth == class_id, truth == VOID
    pixels = np.stack([_from_above(last[real]), _from_above(last[~void])], axis=1)
    objects = np.zeros((BINS, 2, 4), np.int64)
    _count_found(objects, last, real, found)
    _count_alarms(objects, last, real, void, aimed)
    return ThresholdCounts(pixels, objects)


def _from_above(last: NDArray[np.uint8]) -> Counts:
    """Predicted pixels at each threshold."""
    return np.bincount(last, minlength=BINS)[::-1].cumsum()[::-1]


def _count_found(
    objects: Counts, last: NDArray[np.uint8], real: NDArray[np.bool_], found: float
) -> None:
    """Adds the true objects and, at each threshold, those of them that are found."""
    of_class = real.view(np.uint8)
    count, labels = cv2.connectedComponents(of_class, connectivity=8, ltype=cv2.CV_32S)
    whole = np.zeros(count, bool)
    whole[labels[eroded(of_class) > 0]] = True
    of_object, highest = labels[real], last[real]
    order = np.lexsort((255 - highest, of_object))  # by object, the highest first
    areas = np.bincount(of_object, minlength=count)
    start = np.cumsum(areas) - areas
    for i in range(1, count):
        fractions = np.arange(1, areas[i] + 1) / areas[i]
        needed = int((fractions >= found).argmax())  # pixels before the one that finds it
        kind = int(whole[i])
        objects[:, kind, TRUE] += 1
        objects[: int(highest[order[start[i] + needed]]) + 1, kind, HIT] += 1


def _count_alarms(
    objects: Counts,
    last: NDArray[np.uint8],
    real: NDArray[np.bool_],
    void: NDArray[np.bool_],
    aimed: float,
) -> None:
    """Adds, at each threshold, the predicted objects and those of them that are false."""
    _add_alarms(objects[0], components(np.ones_like(real), real, void), aimed)
    above = np.flatnonzero(last)
    order = above[np.argsort(~last.ravel()[above], kind="stable")]  # highest first
    rows, columns = np.divmod(order, last.shape[1])
    least, hits, outside = eroded(last).ravel()[order], real.ravel()[order], void.ravel()[order]
    predicted = _from_above(last.ravel())
    window, top, left = last, 0, 0  # shrinks as the threshold rises
    for threshold in range(1, BINS):
        pixels = predicted[threshold]
        if pixels == predicted[threshold - 1]:
            objects[threshold, :, ALARMS:] = objects[threshold - 1, :, ALARMS:]
            continue
        if not pixels:
            break  # nothing is predicted from here on
        box, count, labels = label_objects(window >= threshold)
        window, top, left = window[box], top + box[0].start, left + box[1].start
        alarms = measured(
            labels[rows[:pixels] - top, columns[:pixels] - left],
            count,
            least[:pixels] >= threshold,
            hits[:pixels],
            outside[:pixels],
        )
        _add_alarms(objects[threshold], alarms, aimed)


def _add_alarms(counts: Counts, alarms: Components, aimed: float) -> None:
    """Adds predicted objects and the false ones to the counts of a threshold, shape (2, 4)."""
    kinds = alarms.whole.astype(np.int64)
    counts[:, ALARMS] += np.bincount(kinds, minlength=2)
    counts[:, FALSE] += np.bincount(kinds[~enough(alarms, aimed)], minlength=2)
