"""Answer what an inspector asks of a split: which defects are found, how many alarms are false, how
well outlines agree, and how sure each of these numbers is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.scoring import metrics
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
from segtf.scoring.metrics import Counts, share
from segtf.scoring.objects import (
    AIMED,
    ALARMS,
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

Json = dict[str, Any]


@dataclass(frozen=True)
class Inspected:
    """What the numbers of one image are computed from."""

    objects: Mapping[int, ImageObjects]  # by class id
    boundary: Counts  # (C, 2), as `segtf.scoring.boundary.boundary_counts` gives them


def inspect_image(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: Sequence[str]
) -> Inspected:
    """Objects and outlines of a whole image, of two masks of class ids (H, W), 255 void. Tiles of a
    image must be put together before: a seam would cut its objects in two.
    """
    objects = {i: find_objects(truth, prediction, i) for i in object_classes(classes)}
    return Inspected(objects, boundary_counts(truth, prediction, len(classes)))


def inspection_values(
    images: Sequence[Inspected], confusions: Sequence[Counts], classes: Sequence[str]
) -> Json:
    """The keys `objects`, `boundary_iou`, `boundary_miou` and `intervals` of `metrics_SPLIT.json`,
    of the images of a split and their confusion matrices, shape (C, C), in the same order.
    """
    ids = object_classes(classes)
    limits, counted = _counted(images, ids)
    outlines = np.array([image.boundary for image in images]).reshape(-1, len(classes), 2)
    pixels = parts_of(np.array(confusions).reshape(-1, len(classes), len(classes)))
    boundary_iou = share(*np.moveaxis(outlines.sum(axis=0), -1, 0))
    names = [classes[i] for i in ids]
    totals = np.zeros((len(images), len(names), 4), np.int64)
    for column, i in enumerate(ids):
        totals[:, column] = without_specks(counted[i])
    return {
        "objects": {
            "rule": {"found": FOUND, "aimed": AIMED},
            "classes": {
                classes[i]: _class_values(counted[i].sum(axis=0), limits[i], len(images))
                for i in ids
            },
        },
        "boundary_iou": _by_name(classes, [number(value) for value in boundary_iou]),
        "boundary_miou": number(metrics.mean(boundary_iou)),
        "intervals": {
            "level": LEVEL,
            "resamples": RESAMPLES,
            "miou": _interval(mean_share_interval(pixels)),
            "iou": _by_name(classes, map(_interval, share_intervals(pixels))),
            "boundary_miou": _interval(mean_share_interval(outlines)),
            "boundary_iou": _by_name(classes, map(_interval, share_intervals(outlines))),
            "found": _by_name(names, map(_interval, share_intervals(totals[..., [HIT, TRUE]]))),
            "false_a_photo": _by_name(names, map(_interval, rate_intervals(totals[..., FALSE]))),
        },
    }


def objects_by_image(images: Sequence[Inspected], classes: Sequence[str]) -> list[Json]:
    """Of each image and class with objects: `true`, `found`, `alarms` and `false`; the key
    `objects` of the entries of `images` in `metrics_SPLIT.json`.
    """
    ids = object_classes(classes)
    _, counted = _counted(images, ids)
    totals = {i: without_specks(counted[i]) for i in ids}
    return [{classes[i]: named_counts(totals[i][row]) for i in ids} for row in range(len(images))]


def object_table(values: Json) -> str:
    """Found and missed objects and false alarms of each class as text columns; the intervals behind
    them, `?` where they rest on too few images.
    """
    rows = [("class", "objects", "found", "", "missed", "false alarms", "per image", "")]
    for name, counts in values["objects"]["classes"].items():
        found, rate = (values["intervals"][key][name] for key in ("found", "false_a_photo"))
        rows.append(
            (
                name,
                str(counts["true"]),
                percent(counts["found_share"]),
                interval_text(found, percent),
                str(counts["missed"]),
                str(counts["false"]),
                decimal(counts["false_a_photo"]),
                interval_text(rate, decimal),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:<{width}}" if i in (0, 3, 7) else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percent(share: float | None) -> str:
    """A share as a percentage that says 0 or 100 only where it is exactly that."""
    if share is None:
        return "–"
    if 0 < share < 0.001 or 0.999 < share < 1:
        return "< 0.1 %" if share < 0.5 else "> 99.9 %"
    return f"{100 * share:.3g} %"


def decimal(value: float | None) -> str:
    """A number with two decimals."""
    return "–" if value is None else f"{value:.2f}"


def interval_text(interval: Json, text: Any) -> str:
    """An interval of `metrics_SPLIT.json`, its ends as `text` writes numbers; a question mark where
    it rests on too few images, nothing where there is none.
    """
    if interval["low"] is None:
        return ""
    ends = f"{text(interval['low']).removesuffix(' %')}–{text(interval['high'])}"
    return f"{ends} ?" if interval["few"] else ends


def number(value: float) -> float | None:
    """What JSON takes for a number that may be NaN."""
    return None if math.isnan(value) else float(value)


def _counted(
    images: Sequence[Inspected], ids: Sequence[int]
) -> tuple[dict[int, tuple[int, int]], dict[int, Counts]]:
    """The limits of sizes and the counts, shape (images, sizes, 4), of each class."""
    of_class = {i: [image.objects[i] for image in images] for i in ids}
    limits = {i: size_limits(found) for i, found in of_class.items()}
    return limits, {i: count_objects(found, limits[i]) for i, found in of_class.items()}


def _class_values(counts: Counts, limits: tuple[int, int], images: int) -> Json:
    """The numbers of a class, of counts of shape (sizes, 4)."""
    total = named_counts(counts[1:].sum(axis=0))
    upto = (None, *limits, None)
    return {
        **total,
        "missed": total["true"] - total["found"],
        "found_share": number(share(total["found"], total["true"]).item()),
        "false_share": number(share(total["false"], total["alarms"]).item()),
        "false_a_photo": number(share(total["false"], images).item()),
        "sizes": [
            {"size": name, "up_to": limit, **named_counts(row)}
            for name, limit, row in zip(SIZES, upto, counts, strict=True)
        ],
    }


def named_counts(row: Counts) -> Json:
    """`true`, `found`, `alarms` and `false`, of the columns that `count_objects` gives."""
    return {
        "true": int(row[TRUE]),
        "found": int(row[HIT]),
        "alarms": int(row[ALARMS]),
        "false": int(row[FALSE]),
    }


def _interval(interval: Interval) -> Json:
    return {
        "low": number(interval.low),
        "high": number(interval.high),
        "photos": interval.images,
        "few": interval.few,
    }


def _by_name(names: Sequence[str], values: Any) -> Json:
    return dict(zip(names, values, strict=True))
