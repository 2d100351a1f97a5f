"""Scores of a split over objects and outlines, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segtf.scoring.boundary import boundary_counts
from segtf.scoring.intervals import (
    LEVEL,
    RESAMPLES,
    Interval,
    mean_share_interval,
    parts_of,
    rate_intervals,
    share_intervals,
)
from segtf.scoring.metrics import Counts, Scores, share
from segtf.scoring.objects import (
    AIMED,
    FALSE,
    FOUND,
    HIT,
    SIZES,
    TRUE,
    ImageObjects,
    count_objects,
    find_objects,
    object_classes,
    size_limits,
    without_specks,
)
from segtf.scoring.split_scores import (
    ClassObjects,
    Intervals,
    ObjectCounts,
    ObjectRule,
    ObjectScores,
    SizeCounts,
)


@dataclass(frozen=True)
class Inspected:
    """Objects and outlines of one image."""

    objects: Mapping[int, ImageObjects]  # by class id
    boundary: Counts  # (C, 2), as `segtf.scoring.boundary.boundary_counts` gives them


def inspect_image(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: Sequence[str]
) -> Inspected:
    """Objects and outlines of a whole image, of two masks of class ids (H, W), 255 void. Tiles must
    be joined before: a seam would cut objects in two.
    """
    objects = {i: find_objects(truth, prediction, i) for i in object_classes(classes)}
    return Inspected(objects, boundary_counts(truth, prediction, len(classes)))


def object_scores(images: Sequence[Inspected], classes: Sequence[str]) -> ObjectScores:
    """Found objects and false alarms of each class that has objects."""
    limits, counted = _counted(images, object_classes(classes))
    return ObjectScores(
        ObjectRule(FOUND, AIMED),
        {
            classes[i]: _class_objects(counts.sum(axis=0), limits[i], len(images))
            for i, counts in counted.items()
        },
    )


def boundary_iou(images: Sequence[Inspected], classes: Sequence[str]) -> Scores:
    """Boundary IoU of each class, shape (C,)."""
    return share(*np.moveaxis(_outlines(images, classes).sum(axis=0), -1, 0))


def score_intervals(
    images: Sequence[Inspected], confusions: Sequence[Counts], classes: Sequence[str]
) -> Intervals:
    """Intervals of the scores of images; `confusions`, each of shape (C, C), in the same order."""
    outlines = _outlines(images, classes)
    pixels = parts_of(np.array(confusions).reshape(-1, len(classes), len(classes)))
    _, counted = _counted(images, object_classes(classes))
    names = [classes[i] for i in counted]
    objects = np.zeros((len(images), len(names), 4), np.int64)
    for column, counts in enumerate(counted.values()):
        objects[:, column] = without_specks(counts)
    return Intervals(
        LEVEL,
        RESAMPLES,
        miou=mean_share_interval(pixels),
        iou=_by_name(classes, share_intervals(pixels)),
        boundary_miou=mean_share_interval(outlines),
        boundary_iou=_by_name(classes, share_intervals(outlines)),
        found=_by_name(names, share_intervals(objects[..., [HIT, TRUE]])),
        false_positives_per_image=_by_name(names, rate_intervals(objects[..., FALSE])),
    )


def objects_by_image(
    images: Sequence[Inspected], classes: Sequence[str]
) -> list[dict[str, ObjectCounts]]:
    """The objects of each image by class."""
    _, counted = _counted(images, object_classes(classes))
    totals = {classes[i]: without_specks(counts) for i, counts in counted.items()}
    return [
        {name: object_counts(rows[i]) for name, rows in totals.items()} for i in range(len(images))
    ]


def number(value: float | Scores) -> float | None:
    """A single number; None for NaN."""
    return None if math.isnan(value) else float(value)


def _counted(
    images: Sequence[Inspected], ids: Sequence[int]
) -> tuple[dict[int, tuple[int, int]], dict[int, Counts]]:
    """The limits of sizes and the counts, shape (images, sizes, 4), of each class."""
    of_class = {i: [image.objects[i] for image in images] for i in ids}
    limits = {i: size_limits(found) for i, found in of_class.items()}
    return limits, {i: count_objects(found, limits[i]) for i, found in of_class.items()}


def _outlines(images: Sequence[Inspected], classes: Sequence[str]) -> Counts:
    return np.array([image.boundary for image in images]).reshape(-1, len(classes), 2)


def _class_objects(counts: Counts, limits: tuple[int, int], images: int) -> ClassObjects:
    """The scores of a class, of counts of shape (sizes, 4)."""
    total = object_counts(counts[1:].sum(axis=0))
    return ClassObjects(
        total.true,
        total.found,
        total.predicted,
        total.false_positives,
        total.false_negatives,
        found_fraction=number(share(total.found, total.true)),
        false_fraction=number(share(total.false_positives, total.predicted)),
        false_positives_per_image=number(share(total.false_positives, images)),
        sizes=tuple(
            SizeCounts(name, limit, *row.tolist())
            for name, limit, row in zip(SIZES, (None, *limits, None), counts, strict=True)
        ),
    )


def object_counts(row: Counts) -> ObjectCounts:
    """The columns that `count_objects` gives."""
    return ObjectCounts(*row.tolist())


def _by_name(names: Sequence[str], intervals: Sequence[Interval]) -> dict[str, Interval]:
    return dict(zip(names, intervals, strict=True))
