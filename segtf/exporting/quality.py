"""Measure speed and loss of mIoU on val of an exported network in its precisions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.exporting.report import ExportReport, PrecisionReport, ValScores
from segtf.inference.onnx_model import OnnxModel
from segtf.scoring import metrics
from segtf.scoring.evaluation import Predict, answered_images
from segtf.scoring.format import NONE, change_text, text_table
from segtf.scoring.inspection import number
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from segtf.data.records import Split

LARGEST_LOSS = 0.01  # of the mean IoU on val
SECONDS = 5.0  # of measuring speed, if that gives
FEWEST, MOST = 5, 51  # rounds


def scores_on_val(predict: Predict, val: Split, classes: Sequence[str]) -> ValScores:
    """The scores of the most probable classes at training size."""
    counts = np.zeros((len(classes), len(classes)), np.int64)
    for image in answered_images(predict, val, 1, 0):
        counts += metrics.confusion(image.truth, image.prediction, len(classes))
    iou = [number(value) for value in metrics.iou(counts)]
    return ValScores(number(metrics.miou(counts)), dict(zip(classes, iou, strict=True)))


def with_changes(entry: PrecisionReport, before: ValScores, after: ValScores) -> PrecisionReport:
    """The entry with the differences between the scores of Keras and its own."""
    iou = {name: _difference(value, after.iou.get(name)) for name, value in before.iou.items()}
    return replace(entry, miou_change=_difference(before.miou, after.miou), iou_change=iou)


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def timed(
    entries: Mapping[str, PrecisionReport],
    models: Mapping[str, OnnxModel],
    image: NDArray[np.uint8],
) -> dict[str, PrecisionReport]:
    """The entries with the time that each of the `models` takes per image, shape (H, W, 3), all in
    one measurement; None for entries without a model.
    """
    spent = dict(zip(models, milliseconds(list(models.values()), image), strict=True))
    return {
        name: replace(
            entry,
            ms=spent.get(name),
            provider=models[name].provider if name in models else None,
        )
        for name, entry in entries.items()
    }


def milliseconds(models: Sequence[OnnxModel], image: NDArray[np.uint8]) -> list[float]:
    """The median time that each model takes for one image, shape (H, W, 3). They take turns, so
    that other load on the machine slows all of them.
    """
    images = image[None]
    for model in models:
        model.probabilities(images)  # the first call is slower
    spent: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + SECONDS
    while len(spent[0]) < FEWEST or (len(spent[0]) < MOST and time.perf_counter() < end):
        for model, times in zip(models, spent, strict=True):
            started = time.perf_counter()
            model.probabilities(images)
            times.append(time.perf_counter() - started)
    return [1000 * median(times) for times in spent]


def loses_too_much(entry: PrecisionReport) -> bool:
    """Whether a precision costs more than `LARGEST_LOSS`; an undefined mean IoU does."""
    return entry.miou_change is None or entry.miou_change < -LARGEST_LOSS


def require_quality(entry: PrecisionReport, out: Path, miou: float | None) -> None:
    """Raises `UserError` for a precision that was not kept."""
    if entry.kept:
        return
    lost = "all of its" if entry.miou_change is None else f"{-entry.miou_change:.4f}"
    score = "none" if miou is None else f"{miou:.4f}"
    raise UserError(
        f"{out}: loses {lost} mIoU on val, where float32 has {score}. A loss above {LARGEST_LOSS} "
        "is not kept: take another --precision, or this one with --accept-loss"
    )


def quality_table(report: ExportReport) -> str:
    """The precisions of an export as aligned text columns."""
    return text_table([quality_head(report), *quality_rows(report)], left=(0, 1))


def quality_head(report: ExportReport) -> list[str]:
    """The columns of `quality_rows`."""
    return ["precision", "file", "MB", "ms per image", "speed", "mIoU on val", *report.val.iou]


def quality_rows(report: ExportReport) -> list[list[str]]:
    """A row of text per precision: speed relative to float32, scores as changes."""
    return [
        [
            name,
            entry.file if entry.kept else "not kept",
            f"{entry.bytes / 1e6:.1f}",
            *_speed(entry, report.precisions["float32"]),
            change_text(entry.miou_change),
            *(change_text((entry.iou_change or {}).get(label)) for label in report.val.iou),
        ]
        for name, entry in report.precisions.items()
    ]


def _speed(entry: PrecisionReport, float32: PrecisionReport) -> tuple[str, str]:
    """Milliseconds per image, and how many times as fast as float32."""
    if entry.ms is None or float32.ms is None:
        return NONE, NONE
    return f"{entry.ms:.1f}", f"x {float32.ms / entry.ms:.2f}"
