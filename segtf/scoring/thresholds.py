"""Choose from which probability on a pixel is of a class: its operating point.

The most probable class takes a pixel otherwise, which for two classes is a threshold of 0.5. Where
a missed defect costs more than a false alarm, or the other way round, another one is better; it is
chosen on val. Counts come first: of each image and each of `BINS` thresholds, so that what is kept
does not grow with the images; they add up.
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
MOST_LOST = 0.05  # of the IoU of the most probable class, that a threshold may cost


@dataclass(frozen=True)
class ThresholdCounts:
    """What each threshold would give for one class; images add up with +."""

    # (BINS, 2): pixels that the threshold marks and that are of the class, and all that it marks
    pixels: Counts
    # (BINS, 2, 4): specks and other objects, columns of `segtf.scoring.objects.count_objects`
    objects: Counts

    def __add__(self, other: ThresholdCounts) -> ThresholdCounts:
        return ThresholdCounts(self.pixels + other.pixels, self.objects + other.objects)


@dataclass(frozen=True)
class Curve:
    """Precision and recall of each of `THRESHOLDS`, shape (BINS,); NaN where there are none."""

    precision: Scores
    recall: Scores

    @property
    def f1(self) -> Scores:
        """2 p r / (p + r), 0 where nothing is right; NaN where there is nothing to find."""
        precision = np.nan_to_num(self.precision)  # nothing is marked
        total = precision + self.recall
        return np.where(total == 0, 0.0, share(2 * precision * self.recall, total))


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold gives on some images, or, with none, the most probable class."""

    threshold: float | None
    precision: float  # over objects, as are the two below
    recall: float
    f1: float
    iou: float  # of the pixels


def no_counts() -> ThresholdCounts:
    """What to begin a sum with."""
    return ThresholdCounts(np.zeros((BINS, 2), np.int64), np.zeros((BINS, 2, 4), np.int64))


def count_thresholds(
    probability: NDArray[np.float32],
    truth: NDArray[np.uint8],
    class_id: int,
    *,
    found: float = FOUND,
    aimed: float = AIMED,
) -> ThresholdCounts:
    """The counts of one image: of the probability of a class, shape (H, W), 0 to 1, and the true
    class ids, 255 void. Objects are found and false as in `segtf.scoring.objects`. Raises
    ValueError for shapes that differ.
    """
    if truth.shape != probability.shape:
        raise ValueError(f"shapes differ. Received: {truth.shape} and {probability.shape}")
    # the last threshold that marks the pixel
    last = np.clip(probability * np.float32(BINS), 0, BINS - 1).astype(np.uint8)
    real, void = truth == class_id, truth == VOID
    marked = np.stack([_from_above(last[real]), _from_above(last[~void])], axis=1)
    objects = np.zeros((BINS, 2, 4), np.int64)
    _count_found(objects, last, real, found)
    _count_alarms(objects, last, real, void, aimed)
    return ThresholdCounts(marked, objects)


def pixel_curve(counts: ThresholdCounts) -> Curve:
    """Of the marked pixels those that are of the class, and of its pixels those that are marked."""
    right, marked = counts.pixels.T
    return Curve(share(right, marked), share(right, np.full(BINS, right[0])))


def object_curve(counts: ThresholdCounts) -> Curve:
    """Of the alarms those that are not false, and of the true objects those that are found."""
    columns = counted_objects(counts).T
    right = columns[ALARMS] - columns[FALSE]
    return Curve(share(right, columns[ALARMS]), share(columns[HIT], columns[TRUE]))


def counted_objects(counts: ThresholdCounts) -> Counts:
    """The objects of each threshold, shape (BINS, 4), without specks unless all true ones are."""
    thin = not counts.objects[0, WHOLE, TRUE] and counts.objects[0, SPECKS, TRUE]
    return counts.objects.sum(axis=1) if thin else counts.objects[:, WHOLE]


def choose_threshold(
    counts: ThresholdCounts, usual: OperatingPoint, *, recall: float | None = None
) -> OperatingPoint | None:
    """The threshold with the largest F1 over objects, of equals the one nearest to 0.5, if that is
    larger than what the most probable class has on the same images, `usual`; with a `recall`, above
    0 and up to 1, the highest threshold that reaches it. None where there is none.

    One mark on the whole image finds every object without a false alarm. Hence the IoU of the
    pixels must be at least 1 - `MOST_LOST` of the usual one and, for the largest F1, half of the
    best.
    """
    points = operating_points(counts)
    cheap = [point for point in points if point.iou >= (1 - MOST_LOST) * usual.iou]
    if recall is not None:
        return next((point for point in reversed(cheap) if point.recall >= recall), None)
    half = max((point.iou for point in points), default=0) / 2
    better = [point for point in cheap if point.f1 > usual.f1 and point.iou >= half]
    return max(better, key=lambda p: (p.f1, -abs((p.threshold or 0) - 0.5)), default=None)


def operating_points(counts: ThresholdCounts) -> list[OperatingPoint]:
    """What each threshold above 0, which marks everything, gives; none where there is no object to
    find.
    """
    curve = object_curve(counts)
    right, marked = counts.pixels.T
    iou = share(right, marked + right[0] - right)
    columns = (THRESHOLDS, curve.precision, curve.recall, curve.f1, iou)
    if np.isnan(curve.recall).any():
        return []
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [OperatingPoint(*row) for row in rows][1:]


def _from_above(last: NDArray[np.uint8]) -> Counts:
    """How many of the pixels each threshold marks."""
    return np.bincount(last, minlength=BINS)[::-1].cumsum()[::-1]


def _count_found(
    objects: Counts, last: NDArray[np.uint8], real: NDArray[np.bool_], found: float
) -> None:
    """Adds the true objects and, at each threshold, those of them that it finds."""
    of_class = real.view(np.uint8)
    count, labels = cv2.connectedComponents(of_class, connectivity=8, ltype=cv2.CV_32S)
    whole = np.zeros(count, bool)
    whole[labels[eroded(of_class) > 0]] = True
    of_object, marks = labels[real], last[real]
    order = np.lexsort((255 - marks, of_object))  # object by object, the surest pixel first
    areas = np.bincount(of_object, minlength=count)
    start = np.cumsum(areas) - areas
    for i in range(1, count):
        shares = np.arange(1, areas[i] + 1) / areas[i]
        needed = int((shares >= found).argmax())  # pixels before the one that finds it
        highest = int(marks[order[start[i] + needed]])
        objects[:, int(whole[i]), TRUE] += 1
        objects[: highest + 1, int(whole[i]), HIT] += 1


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
    order = above[np.argsort(~last.ravel()[above], kind="stable")]  # the surest pixel first
    rows, columns = np.divmod(order, last.shape[1])
    least, hits, outside = eroded(last).ravel()[order], real.ravel()[order], void.ravel()[order]
    marked = _from_above(last.ravel())
    window, top, left = last, 0, 0  # the higher the threshold, the smaller
    for threshold in range(1, BINS):
        pixels = marked[threshold]
        if pixels == marked[threshold - 1]:
            objects[threshold, :, ALARMS:] = objects[threshold - 1, :, ALARMS:]
            continue
        if not pixels:
            break  # nor do higher ones mark any
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
