"""Draw found and missed objects, and precision and recall of all thresholds, as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from segtf.reports.figures import VAL, chart_style, save_chart, shorten
from segtf.scoring.split_scores import ObjectScores, PointScores, SizeCounts
from segtf.scoring.tables import decision_text

FOUND, MISSED, OBJECTS = VAL, "#c8453b", "#d97706"
ROW, GAP = 0.3, 0.36  # inches: a bar, and the space above the first one of a class
WIDTH, CURVE = 7.5, 4.5  # inches: the width of both pictures, the height of the curve
NARROW = 0.09  # fraction of the objects below which a bar has no room for its number


def draw_objects(objects: ObjectScores, out: Path) -> None:
    """Found and missed objects of each class by size."""
    groups = [
        (name, rows)
        for name, counts in objects.classes.items()
        if (rows := [row for row in counts.sizes if row.true or row.false_positives])
    ]
    height = 0.9 + sum(GAP + ROW * len(rows) for _, rows in groups)
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(WIDTH, max(height, 1.6)), layout="constrained")
        _draw_bars(figure.subplots(), groups)
        save_chart(figure, out)


def draw_thresholds(point: PointScores, split: str, out: Path) -> None:
    """Precision and recall of all thresholds on a split, and the operating point."""
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(WIDTH, CURVE), layout="constrained")
        _draw_curve(figure.subplots(), point, split)
        save_chart(figure, out)


def size_name(row: SizeCounts) -> str:
    """A size of objects in words and pixels."""
    if row.size == "specks":
        return "specks, under 3 px wide"
    return row.size if row.up_to is None else f"{row.size}, up to {row.up_to:,} px"


def _draw_bars(axes: Any, groups: list[tuple[str, list[SizeCounts]]]) -> None:
    """A bar for each size of each class: fractions found and missed, with the counts."""
    places, names, at = [], [], 0.0
    for name, rows in groups:
        at += GAP
        axes.text(0, at - ROW * 0.9, shorten(name, 40), va="center", fontweight="bold")
        for row in rows:
            _draw_bar(axes, row, at)
            places.append(at)
            names.append(size_name(row))
            at += ROW
    axes.set_yticks(places, names)
    axes.set_ylim(max(at, ROW) - ROW * 0.3, 0)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(True, axis="x")
    axes.set_xlabel("fraction of the true objects")
    axes.set_title("Objects by size", loc="left", pad=10)
    if groups:
        axes.legend(
            [Patch(color=FOUND), Patch(color=MISSED)],
            ["found", "missed"],
            loc="lower right",
            bbox_to_anchor=(1, 1),
            borderaxespad=0.5,
            ncols=2,
        )
    else:
        axes.text(0.5, 0.5, "no objects and no false alarms", transform=axes.transAxes, ha="center")


def _draw_bar(axes: Any, row: SizeCounts, at: float) -> None:
    left = 0.0
    for count, colour in ((row.found, FOUND), (row.false_negatives, MISSED)):
        if not count:
            continue
        width = count / row.true
        axes.barh(at, width, height=ROW * 0.78, left=left, color=colour, linewidth=0)
        if width >= NARROW:
            middle = left + width / 2
            axes.text(middle, at, f"{count:,}", ha="center", va="center_baseline", color="white")
        left += width
    text = f"{row.found:,} of {row.true:,}" if row.true else "no objects"
    if row.false_positives:
        text += f", {row.false_positives:,} false alarm{'s' * (row.false_positives > 1)}"
    axes.annotate(
        text,
        (1, at),
        (6, 0),
        textcoords="offset points",
        va="center_baseline",
        annotation_clip=False,
    )


def _draw_curve(axes: Any, point: PointScores, split: str) -> None:
    """Precision over recall of all thresholds, for pixels and for objects, and the chosen one."""
    curve = point.curve
    pixels = (curve.pixels_recall, curve.pixels_precision, point.pixels)
    objects = (curve.objects_recall, curve.objects_precision, point.objects)
    for key, (recall, precision, at), colour, style in (
        ("pixels", pixels, VAL, "-"),
        ("objects", objects, OBJECTS, "--"),
    ):
        columns = [np.array(column, np.float64) for column in (recall, precision)]
        axes.plot(*columns, style, color=colour, linewidth=1.8, label=f"over {key}")
        if at.precision is None or at.recall is None:
            continue  # no object is predicted, or there is none
        axes.plot(
            at.recall,
            at.precision,
            "o",
            color=colour,
            markersize=9,
            markeredgecolor="white",
            clip_on=False,
            zorder=5,
        )
    why = decision_text(point).replace(", ", ",\n", 1)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.grid(True)
    axes.legend(
        loc="best",
        title=f"● threshold {point.threshold:.3f}: {why}",
        alignment="left",
        frameon=True,
        framealpha=0.8,
        edgecolor="white",
    )
    if not point.objects.true:
        text = f"no {shorten(point.class_name, 30)} in {split}"
        axes.text(0.5, 0.5, text, ha="center")
    axes.set_title(f"Thresholds of {shorten(point.class_name, 30)}, {split}", loc="left")
