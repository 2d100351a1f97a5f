"""Compute the scores of a split from its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segtf.scoring import metrics
from segtf.scoring.evaluation import Evaluation
from segtf.scoring.inspection import (
    boundary_iou,
    number,
    object_scores,
    objects_by_image,
    score_intervals,
)
from segtf.scoring.operating import Decision, Target, point_scores
from segtf.scoring.split_scores import ImageScores, Origin, PixelScores, SplitScores


def pixel_scores(
    images: Sequence[tuple[str, metrics.Counts]], classes: Sequence[str]
) -> PixelScores:
    """The scores over pixels, from the id and the confusion matrix of each image."""
    confusions = [confusion for _, confusion in images]
    counts = sum(confusions, np.zeros((len(classes), len(classes)), np.int64))
    return PixelScores(
        images=len(images),
        classes=tuple(classes),
        iou=_by_class(classes, metrics.iou(counts)),
        dice=_by_class(classes, metrics.dice(counts)),
        miou=number(metrics.miou(counts)),
        dice_mean=number(metrics.mean(metrics.dice(counts))),
        pixel_accuracy=number(metrics.pixel_accuracy(counts)),
        iou_micro_imagewise=number(metrics.iou_micro_imagewise(confusions)),
        confusion=tuple(map(tuple, counts.tolist())),
        rows=tuple(
            ImageScores(
                image_id,
                miou=number(metrics.miou(confusion)),
                iou=_by_class(classes, metrics.iou(confusion)),
                wrong=number(1 - metrics.pixel_accuracy(confusion)),
            )
            for image_id, confusion in images
        ),
    )


def split_scores(
    evaluation: Evaluation,
    classes: Sequence[str],
    origin: Origin,
    target: Target | None = None,
    decision: Decision | None = None,
) -> SplitScores:
    """All scores of a split, with those at the threshold that was decided on for the target class,
    or the reason why there is none.
    """
    point = why_none = None
    if target is not None and decision is not None:
        assert evaluation.thresholds is not None
        name, images = classes[target.class_id], len(evaluation.images)
        if decision.threshold is None:
            why_none = f"no threshold of {name}: {decision.reason}"
        else:
            point = point_scores(name, decision, evaluation.thresholds, images=images)
    inspected = evaluation.inspected
    pixels = pixel_scores(evaluation.images, classes)
    rows = zip(pixels.rows, objects_by_image(inspected, classes), strict=True)
    outlines = boundary_iou(inspected, classes)
    confusions = [confusion for _, confusion in evaluation.images]
    with_objects = tuple(replace(row, objects=objects) for row, objects in rows)
    return SplitScores(
        **{**vars(pixels), "rows": with_objects},
        origin=origin,
        objects=object_scores(inspected, classes),
        boundary_iou=_by_class(classes, outlines),
        boundary_miou=number(metrics.mean(outlines)),
        intervals=score_intervals(inspected, confusions, classes),
        operating_point=point,
        no_operating_point=why_none,
    )


def _by_class(classes: Sequence[str], values: metrics.Scores) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(classes, values, strict=True)}
