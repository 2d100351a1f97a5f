"""Decide the threshold from which on a pixel is of the target class, and score it.

The threshold is chosen over objects, not pixels: each missed defect and each false alarm costs an
inspector the same, whatever its area. A threshold must be better than the most probable class and
may cost at most a twentieth of its IoU; otherwise there is none.
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
from segtf.scoring.thresholds import BINS, THRESHOLDS, Curve, ThresholdCounts, object_curve
from voc_builder.base.errors import UserError

DEFECT = "defect"  # the target class if there is one of that name
AUTO, NONE = "auto", "none"
MOST_LOST = 0.05  # of the IoU of the most probable class, that a threshold may cost


@dataclass(frozen=True)
class Target:
    """The target class, and how the threshold of its probability is decided."""

    class_id: int
    threshold: float | None = None  # a multiple of 1 / BINS; None: chosen on val
    recall: float | None = None  # that the chosen one must reach; None: it has the largest F1


@dataclass(frozen=True)
class Decision:
    """The threshold of a class, or None with the reason."""

    threshold: float | None
    reason: str
    split: str | None = None  # on which it was chosen; None: it was given
    chosen: ChosenPoint | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """Scores over objects, and IoU over pixels, at a threshold or of the most probable class."""

    threshold: float
    precision: float
    recall: float
    f1: float
    iou: float


def target_class(
    classes: Sequence[str],
    name: str | None = None,
    *,
    threshold: str = AUTO,
    recall: float | None = None,
) -> Target | None:
    """The target of --defect, --defect-threshold and --defect-recall; None without a threshold or
    without a class but the background. Without a `name` it is the class called defect, else the
    last one. Raises `UserError` naming the flag.
    """
    with_objects = [classes[i] for i in object_classes(classes)]
    if name is not None and name not in with_objects:
        raise UserError(f"--defect takes one of {', '.join(with_objects)}. Received: {name}")
    if recall is not None and not 0 < recall <= 1:
        raise UserError(f"--defect-recall takes a fraction above 0, up to 1. Received: {recall}")
    if recall is not None and threshold != AUTO:
        raise UserError(
            f"--defect-recall {recall} chooses the threshold: leave out --defect-threshold "
            f"{threshold}"
        )
    value = None if threshold in (AUTO, NONE) else _nearest(threshold)
    if threshold == NONE or not with_objects:
        return None
    chosen = name or (DEFECT if DEFECT in with_objects else with_objects[-1])
    return Target(list(classes).index(chosen), value, recall)


def _nearest(text: str) -> float:
    """The nearest of `THRESHOLDS` to a number of the command line, 0 left out."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise UserError(
            f"--defect-threshold takes {AUTO}, {NONE} or a number between 0 and 1. Received: {text}"
        )
    return float(THRESHOLDS[min(max(round(value * BINS), 1), BINS - 1)])


def given(target: Target) -> Decision:
    """The threshold of the command line."""
    assert target.threshold is not None
    return Decision(target.threshold, "as asked")


def decide(target: Target, evaluation: Evaluation, split: str) -> Decision:
    """The given threshold, or the one chosen on the evaluation of a split."""
    if target.threshold is not None:
        return given(target)
    assert evaluation.thresholds is not None
    true = int(evaluation.thresholds.counted_objects()[0, TRUE])
    if not true:
        return Decision(None, f"{split} shows none")
    usual = most_probable_point(evaluation, target.class_id)
    points = operating_points(evaluation.thresholds)
    point = choose_point(points, usual, recall=target.recall)
    kept = f"{percent(1 - MOST_LOST)} of the most probable class's IoU"
    if point is None:
        return Decision(None, f"on {split} none {_why_none(target, points, usual, kept)}")
    wanted = "largest F1 over objects"
    if target.recall is not None:
        wanted = f"recall over objects of at least {target.recall:g}"
    chosen = ChosenPoint(true, number(point.precision), number(point.recall), number(point.f1))
    return Decision(point.threshold, f"{wanted} with at least {kept}", split, chosen)


def most_probable_point(evaluation: Evaluation, class_id: int) -> OperatingPoint:
    """The scores of a class where it is the most probable one."""
    objects = [image.objects[class_id] for image in evaluation.inspected]
    counts = without_specks(count_objects(objects, size_limits(objects))).sum(axis=0)
    confusion = np.sum([of_image for _, of_image in evaluation.images], axis=0)
    curve = object_curve(counts)
    scores = (curve.precision, curve.recall, curve.f1, metrics.iou(confusion)[class_id])
    return OperatingPoint(0.5, *map(float, scores))


def operating_points(counts: ThresholdCounts) -> list[OperatingPoint]:
    """The scores at each threshold above 0; none for a class without true objects."""
    objects = counts.counted_objects()
    if not objects[0, TRUE]:
        return []
    curve = object_curve(objects)
    columns = (THRESHOLDS, curve.precision, curve.recall, curve.f1, counts.pixel_iou())
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [OperatingPoint(*row) for row in rows][1:]


def choose_point(
    points: Sequence[OperatingPoint], usual: OperatingPoint, *, recall: float | None = None
) -> OperatingPoint | None:
    """The point with the largest F1 if that is above the `usual` one of the most probable class, of
    equals the one nearest to 0.5; with a `recall`, the highest threshold that reaches it. None
    where there is none.

    A prediction of the whole image finds every object without a false alarm. Hence the IoU must be
    at least 1 - `MOST_LOST` of the usual one and, for the largest F1, half of the best.
    """
    allowed = [point for point in points if point.iou >= (1 - MOST_LOST) * usual.iou]
    if recall is not None:
        return next((point for point in reversed(allowed) if point.recall >= recall), None)
    half = max((point.iou for point in points), default=0) / 2
    better = [point for point in allowed if point.f1 > usual.f1 and point.iou >= half]
    return max(better, key=lambda point: (point.f1, -abs(point.threshold - 0.5)), default=None)


def _why_none(
    target: Target, points: Sequence[OperatingPoint], usual: OperatingPoint, kept: str
) -> str:
    """Why no threshold was chosen on a split that has objects."""
    if target.recall is None:
        return (
            "has a larger F1 over objects than the most probable class, which has "
            f"{usual.f1:.3f}, and at least {kept}"
        )
    reason = f"has a recall over objects of {target.recall:g} and at least {kept}"
    point = next((point for point in reversed(points) if point.recall >= target.recall), None)
    if point is None:
        return reason
    return (
        f"{reason}; at {point.threshold:.3f} it has that recall, and an IoU of {point.iou:.4f} "
        f"instead of {usual.iou:.4f}: to take it nevertheless, replace --defect-recall by "
        f"--defect-threshold {point.threshold:.3f}"
    )


def point_scores(
    name: str, decision: Decision, counts: ThresholdCounts, *, images: int
) -> PointScores:
    """The threshold of the class `name` and its scores on the images that `counts` are of."""
    assert decision.threshold is not None
    at = round(decision.threshold * BINS)
    row = counts.counted_objects()[at]
    pixels, objects = counts.pixel_curve(), object_curve(counts.counted_objects())
    return PointScores(
        name,
        decision.threshold,
        decision.reason,
        decision.split,
        decision.chosen,
        PointPixels(*_scores_at(pixels, at), iou=number(counts.pixel_iou()[at])),
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
