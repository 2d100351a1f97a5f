"""Measure what the precision of an exported network gains in size and speed and loses on val."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segtf.inference.onnx_model import OnnxModel
from segtf.scoring import metrics
from segtf.scoring.inspection import number

if TYPE_CHECKING:
    from segtf.data.records import Split
    from segtf.scoring.evaluation import Predict

Json = dict[str, Any]
LARGEST_LOSS = 0.01  # of the mean IoU on val that an export may cost
SECONDS = 5.0  # that speed is measured for, within the limits of
FEWEST, MOST = 5, 51  # rounds


def scores_on_val(predict: Predict, val: Split, classes: Sequence[str]) -> Json:
    """Mean IoU and IoU of each class, of the most probable classes at training size."""
    from segtf.scoring.evaluation import answered_images

    counts = np.zeros((len(classes), len(classes)), np.int64)
    for image in answered_images(predict, val, 1, 0):
        counts += metrics.confusion(image.truth, image.prediction, len(classes))
    iou = zip(classes, metrics.iou(counts), strict=True)
    return {"miou": number(metrics.miou(counts)), "iou": {k: number(v) for k, v in iou}}


def milliseconds(models: Sequence[OnnxModel], image: NDArray[np.uint8]) -> list[float]:
    """The median time that each takes for one image, shape (H, W, 3). They take turns, so that
    whatever else the machine does slows all of them.
    """
    images = image[None]
    for model in models:
        model.probabilities(images)  # the first time takes longer
    spent: list[list[float]] = [[] for _ in models]
    end = time.perf_counter() + SECONDS
    while len(spent[0]) < FEWEST or (len(spent[0]) < MOST and time.perf_counter() < end):
        for model, times in zip(models, spent, strict=True):
            started = time.perf_counter()
            model.probabilities(images)
            times.append(time.perf_counter() - started)
    return [1000 * median(times) for times in spent]


def changes(before: Json | None = None, after: Json | None = None) -> Json:
    """By how much the scores on val of a precision differ from those of Keras; null where they are
    not known.
    """
    if not before or not after:
        return {"miou_change": None, "iou_change": None}
    iou = {k: _difference(v, after["iou"].get(k)) for k, v in before["iou"].items()}
    return {"miou_change": _difference(before["miou"], after["miou"]), "iou_change": iou}


def timed(entries: Json, models: Mapping[str, OnnxModel], image: NDArray[np.uint8]) -> Json:
    """The precisions of an `export.json` with the time that each of the `models` takes per image,
    shape (H, W, 3), all in one measurement; null for the others, whose files are not there.
    """
    spent = dict(zip(models, milliseconds(list(models.values()), image), strict=True))
    return {
        name: {
            **{key: value for key, value in entry.items() if key != "ms_float32"},
            "ms": spent.get(name),
            "provider": models[name].provider if name in models else None,
        }
        for name, entry in entries.items()
    }


def loses_too_much(entry: Json) -> bool:
    """Whether a precision costs more than `LARGEST_LOSS`; a score that is lost altogether does."""
    change = entry["miou_change"]
    return change is None or change < -LARGEST_LOSS


def quality_table(report: Json) -> str:
    """The precisions of an `export.json` as text columns."""
    rows = [quality_head(report), *quality_rows(report)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def quality_head(report: Json) -> list[str]:
    """The columns of `quality_rows`."""
    classes = list((report.get("val") or {"iou": {}})["iou"])
    return ["precision", "file", "MB", "ms per image", "speed", "mIoU on val", *classes]


def quality_rows(report: Json) -> list[list[str]]:
    """A row of text for each precision of an `export.json`: speed in times that of float32, scores
    as changes.
    """
    classes, entries = quality_head(report)[6:], report.get("precisions", {})
    return [
        [
            precision,
            entry["file"] if entry["kept"] else "not kept",
            f"{entry['bytes'] / 1e6:.1f}",
            *_speed(entry, entries["float32"]),
            _change(entry["miou_change"]),
            *(_change((entry["iou_change"] or {}).get(name)) for name in classes),
        ]
        for precision, entry in entries.items()
    ]


def _speed(entry: Json, float32: Json) -> tuple[str, str]:
    """Milliseconds an image, and how many times as fast as float32; older exports hold the time of
    float32 in the same measurement in each entry.
    """
    if entry["ms"] is None:
        return "–", "–"
    beside = entry.get("ms_float32", float32["ms"])
    return f"{entry['ms']:.1f}", f"x {beside / entry['ms']:.2f}"


def require_quality(entry: Json, out: Path, miou: float | None) -> None:
    """Raises `UserError` for a precision that was not kept."""
    from voc_builder.base.errors import UserError

    if entry["kept"]:
        return
    change = entry["miou_change"]
    lost = "all of its" if change is None else f"{-change:.4f}"
    raise UserError(
        f"{out}: loses {lost} mIoU on val, where float32 has {_score(miou)}; more than "
        f"{LARGEST_LOSS} is not kept: take another --precision, or this one with --accept-loss"
    )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else after - before


def _change(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def _score(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
