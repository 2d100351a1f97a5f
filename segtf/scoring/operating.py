"""Decide from which probability on a pixel is of the class that is target, and say what it gives.

It is chosen over objects: an inspector is shown places, and each missed defect and each false alarm
costs him as much whatever its area; over pixels the few large defects would decide. It may cost at
most a twentieth of the IoU that the most probable class has, and where it is no better than that
there is none. Where several thresholds are equally good, as with few objects, it is the one nearest
to 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segtf.scoring import metrics
from segtf.scoring.evaluation import Evaluation
from segtf.scoring.format import percent
from segtf.scoring.inspection import number
from segtf.scoring.metrics import Scores, share
from segtf.scoring.objects import (
    ALARMS,
    FALSE,
    HIT,
    TRUE,
    count_objects,
    object_classes,
    size_limits,
    without_specks,
)
from segtf.scoring.split_scores import (
    ChosenPoint,
    PointObjects,
    PointPixels,
    PointScores,
    ThresholdCurve,
)
from segtf.scoring.thresholds import (
    BINS,
    MOST_LOST,
    THRESHOLDS,
    Curve,
    OperatingPoint,
    ThresholdCounts,
    choose_threshold,
    counted_objects,
    object_curve,
    operating_points,
    pixel_curve,
)
from voc_builder.base.errors import UserError

DEFECT = "defect"  # the class that is target if there is one of that name
AUTO, NONE = "auto", "none"


@dataclass(frozen=True)
class Target:
    """A class, and how the threshold of its probability is decided."""

    class_id: int
    threshold: float | None = None  # a multiple of 1 / BINS; None: chosen on val
    recall: float | None = None  # what the chosen one must reach; None: it has the largest F1


@dataclass(frozen=True)
class Decided:
    """The threshold of a class; `text` says why it is this one, or why there is none, `chosen` what
    it gives where it was chosen.
    """

    threshold: float | None
    text: str
    split: str | None = None  # on which it was chosen; None: it was given
    chosen: ChosenPoint | None = None


def target_class(
    classes: Sequence[str],
    name: str | None = None,
    *,
    threshold: str = AUTO,
    recall: float | None = None,
) -> Target | None:
    """What --defect, --defect-threshold and --defect-recall ask for; None for no threshold, or no
    class but the background. Without a `name` it is the class called defect, else the last one.
    Raises `UserError` naming the flag.
    """
    with_objects = [classes[i] for i in object_classes(classes)]
    if name is not None and name not in with_objects:
        raise UserError(f"--defect takes one of {', '.join(with_objects)}. Received: {name}")
    if recall is not None and not 0 < recall <= 1:
        raise UserError(f"--defect-recall takes a share above 0 and up to 1. Received: {recall}")
    if recall is not None and threshold != AUTO:
        raise UserError(
            f"--defect-recall {recall} has the threshold chosen: leave out --defect-threshold "
            f"{threshold}"
        )
    value = None if threshold in (AUTO, NONE) else _nearest(threshold)
    if threshold == NONE or not with_objects:
        return None
    chosen = name or (DEFECT if DEFECT in with_objects else with_objects[-1])
    return Target(list(classes).index(chosen), value, recall)


def _nearest(text: str) -> float:
    """The threshold that is counted nearest to a number of the command line."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UserError(
            f"--defect-threshold takes {AUTO}, {NONE} or a number between 0 and 1. Received: {text}"
        )
    return float(THRESHOLDS[min(max(round(value * BINS), 1), BINS - 1)])


def decide(target: Target, found: Evaluation, split: str) -> Decided:
    """The given threshold, or the one chosen on the images of a split that were `found` so."""
    if target.threshold is not None:
        return given(target)
    assert found.thresholds is not None
    true = int(counted_objects(found.thresholds)[0, TRUE])
    if not true:
        return Decided(None, f"{split} shows none")
    usual = most_probable_point(found, target.class_id)
    point = choose_threshold(found.thresholds, usual, recall=target.recall)
    kept = f"{percent(1 - MOST_LOST)} of the most probable class's IoU"
    if point is None:
        return Decided(None, _why_none(target, found.thresholds, usual, kept, split))
    wanted = "largest F1 over objects"
    if target.recall is not None:
        wanted = f"recall over objects of at least {target.recall:g}"
    chosen = ChosenPoint(true, number(point.precision), number(point.recall), number(point.f1))
    return Decided(point.threshold, f"{wanted} with at least {kept}", split, chosen)


def most_probable_point(found: Evaluation, class_id: int) -> OperatingPoint:
    """What a class has on the images of an evaluation where it is the most probable one."""
    confusions = [confusion for _, confusion in found.images]
    objects = [image.objects[class_id] for image in found.inspected]
    counted = without_specks(count_objects(objects, size_limits(objects))).sum(axis=0)
    right = counted[ALARMS] - counted[FALSE]
    curve = Curve(share(right, counted[ALARMS]), share(counted[HIT], counted[TRUE]))
    iou = metrics.iou(np.sum(confusions, axis=0))[class_id]
    return OperatingPoint(
        None, curve.precision.item(), curve.recall.item(), curve.f1.item(), float(iou)
    )


def _why_none(
    target: Target, counts: ThresholdCounts, usual: OperatingPoint, kept: str, split: str
) -> str:
    """Why no threshold was chosen on a split that has objects to find."""
    if target.recall is None:
        return (
            f"on {split} none has a larger F1 over objects than the most probable class, which has "
            f"{usual.f1:.3f}, and at least {kept}"
        )
    text = f"on {split} none has a recall over objects of {target.recall:g} and at least {kept}"
    dearer = [point for point in operating_points(counts) if point.recall >= target.recall]
    if dearer:
        point = dearer[-1]
        text += (
            f"; from {point.threshold:.3f} on it has, and an IoU of {point.iou:.4f} instead of "
            f"{usual.iou:.4f}: --defect-threshold {point.threshold:.3f} instead of --defect-recall "
            "takes it all the same"
        )
    return text


def given(target: Target) -> Decided:
    """The threshold that was asked for."""
    assert target.threshold is not None
    return Decided(target.threshold, "as asked")


def point_scores(
    name: str, decided: Decided, counts: ThresholdCounts, *, images: int
) -> PointScores:
    """The threshold of the class `name`, how it was decided, and what it and every other one give
    on the images that are scored: `counts` of so many of them.
    """
    assert decided.threshold is not None
    at = round(decided.threshold * BINS)
    pixels, objects = pixel_curve(counts), object_curve(counts)
    right, marked = counts.pixels[at]
    row = counted_objects(counts)[at]
    return PointScores(
        name,
        decided.threshold,
        decided.text,
        decided.split,
        decided.chosen,
        PointPixels(
            *_scores_at(pixels, at), iou=number(share(right, marked + counts.pixels[0, 0] - right))
        ),
        PointObjects(
            *_scores_at(objects, at),
            true=int(row[TRUE]),
            found=int(row[HIT]),
            false_negatives=int(row[TRUE] - row[HIT]),
            predicted=int(row[ALARMS]),
            false_positives=int(row[FALSE]),
            found_fraction=number(share(row[HIT], row[TRUE])),
            false_positives_per_image=number(share(row[FALSE], images)),
        ),
        ThresholdCurve(
            tuple(THRESHOLDS.tolist()),
            *(_rounded(column) for of in (pixels, objects) for column in (of.precision, of.recall)),
        ),
    )


def _scores_at(curve: Curve, at: int) -> tuple[float | None, float | None, float | None]:
    """Precision, recall and F1 of a threshold."""
    return number(curve.precision[at]), number(curve.recall[at]), number(curve.f1[at])


def _rounded(column: Scores) -> tuple[float | None, ...]:
    return tuple(number(round(value, 5)) for value in column)
