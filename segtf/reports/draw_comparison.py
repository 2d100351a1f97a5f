"""Draw groups of runs in one picture: curves of val_miou above the scores of every run."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segtf.reports.figures import chart_style, save_chart, shorten
from segtf.reports.runs import Group, common_settings

COLOURS = matplotlib.colormaps["tab10"](range(10))
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)))  # one after each cycle of colours
LABEL, CAPTION = 44, 200  # characters per line of a label, which has two, and of the caption
PANELS = 4  # of scores, at most
LINE, EDGES = 11 / 72, 0.8  # inches: a number beside the curves; title and axis of the curves
BANDS = 6  # groups at most: more bands hide each other and the curves


def draw_comparison(groups: Sequence[Group], split: str, out: Path) -> None:
    """Draws the mean val_miou of every group over the epochs, for few groups in a band from the
    lowest to the highest run; below, the score of every run as a dot, group means as bars.
    """
    panels = _panels(groups, split)
    caption = _caption(groups)
    above = max(4.2, EDGES + LINE * len(groups))  # inches
    below = 0.75 + 0.3 * len(groups) + 0.2 * len(caption)
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(12, above + below), layout="constrained")
        parts: Any = figure.subfigures(2, 1, height_ratios=[above, below], hspace=0.03)
        upper, lower = parts
        _draw_curves(upper.subplots(), groups, gap=LINE / (above - EDGES))
        for place, (axes, name) in enumerate(zip(_row(lower, len(panels)), panels, strict=True)):
            _draw_dots(axes, groups, name, split)
            _name_groups(axes, groups, shown=place == 0)
        lower.supxlabel("\n".join(caption), x=0.01, ha="left", fontsize=8, color="#555555")
        save_chart(figure, out)


def _caption(groups: Sequence[Group]) -> list[str]:
    """Lines with the settings that labels leave out."""
    common = ", ".join(f"{name} {value}" for name, value in common_settings(groups).items())
    return textwrap.wrap(f"Where labels do not say otherwise: {common}", CAPTION) if common else []


def _row(figure: Any, count: int) -> list[Any]:
    return list(np.atleast_1d(figure.subplots(1, count)))


def _panels(groups: Sequence[Group], split: str) -> list[str]:
    """The scores to draw: both mean IoUs, and IoU of the classes after the first if few."""
    one = groups[0].runs[0]
    scores = ["val mIoU", *(["test mIoU"] if _any(groups, "test mIoU", split) else [])]
    classes = [f"IoU {name}" for name in one.classes[1:]]
    return [*scores, *(classes if len(scores) + len(classes) <= PANELS else [])]


def _any(groups: Sequence[Group], name: str, split: str) -> bool:
    return any(not math.isnan(r.measures(split)[name]) for group in groups for r in group.runs)


def _style(group: Group) -> dict[str, Any]:
    turn, colour = divmod(group.number - 1, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[turn % len(DASHES)]}


def _curves(group: Group) -> NDArray[np.float64]:
    """val_miou of every run, shape (runs, epochs); NaN after the last epoch of a run."""
    logs = [run.log for run in group.runs]
    curves = np.full((len(logs), int(max(log["epoch"][-1] for log in logs)) + 1), np.nan)
    for row, log in zip(curves, logs, strict=True):
        row[log["epoch"].astype(int)] = log["val_miou"]
    return curves


def _draw_curves(axes: Any, groups: Sequence[Group], *, gap: float) -> None:
    """`gap` is the smallest distance of the numbers beside the curves, a fraction of the height."""
    ends, lows, thin = [], [], False
    for group in groups:
        curves = _curves(group)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # epochs of which no run has a score
            mean, low, high = (f(curves, axis=0) for f in (np.nanmean, np.nanmin, np.nanmax))
        epochs = np.arange(1, curves.shape[1] + 1)
        whole = int(min(run.log["epoch"][-1] for run in group.runs)) + 1
        style = _style(group)
        small = {"marker": "o", "markersize": 4} if len(epochs) <= 30 else {}
        axes.plot(epochs[:whole], mean[:whole], linewidth=1.8, zorder=3, **small, **style)
        if whole < len(epochs):
            thin = True
            axes.plot(epochs[whole - 1 :], mean[whole - 1 :], linewidth=0.8, zorder=3, **style)
        if len(curves) > 1 and len(groups) <= BANDS:
            axes.fill_between(epochs, low, high, color=style["color"], alpha=0.13, linewidth=0)
        known = np.flatnonzero(~np.isnan(mean))
        if known.size:
            ends.append((group, epochs[known[-1]], mean[known[-1]]))
            late = low[len(epochs) // 2 :]
            lows += late[~np.isnan(late)].tolist()
    band = ", band from the lowest to the highest" if len(groups) <= BANDS else ""
    notes = [f"mean of the runs{band}"] if _repeated(groups) else []
    notes += ["thin where some runs have ended"] if thin else []
    title = f"Validation mean IoU ({'; '.join(notes)})" if notes else "Validation mean IoU"
    axes.set_title(title, loc="left")
    _limit(axes, lows)
    _label_ends(axes, ends, gap)


def _repeated(groups: Sequence[Group]) -> bool:
    return any(len(group.runs) > 1 for group in groups)


def _limit(axes: Any, lows: Sequence[float]) -> None:
    """Limit the y-axis to the scores of the second half, where runs differ."""
    top = min(1.0, axes.dataLim.y1)
    low = min(lows, default=0)
    pad = max(0.05 * (top - low), 0.005)
    axes.set_ylim(max(-0.02, low - pad), top + pad)
    last = axes.dataLim.x1
    axes.set_xlim(0.5, last + 0.5)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(True)


def _label_ends(axes: Any, ends: Sequence[tuple[Group, float, float]], gap: float) -> None:
    """Write the number of every group right of the chart, as close to the end of its curve as the
    other numbers allow.
    """
    low, high = axes.get_ylim()
    ends = sorted(ends, key=lambda end: end[2])
    wanted = [(score - low) / (high - low) for _, _, score in ends]
    places = _apart(wanted, gap=min(gap, 1 / max(len(ends) - 1, 1)))
    for (group, epoch, score), place in zip(ends, places, strict=True):
        axes.annotate(
            str(group.number),
            (epoch, score),
            (1.015, place),
            textcoords=axes.transAxes,
            color=_style(group)["color"],
            fontweight="bold",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),  # to the left of a number, not through those above it
                "color": _style(group)["color"],
                "linewidth": 0.8,
                "linestyle": (0, (1, 2)),
            },
        )


def _apart(places: Sequence[float], *, gap: float) -> NDArray[np.float64]:
    """Sorted places, 0 to 1, moved apart to a distance of `gap`, by as little as possible in least
    squares.
    """
    steps = gap * np.arange(len(places))
    free = np.asarray(places) - steps  # isotonic regression of these, by max-min
    risen = [
        max(min(free[j : k + 1].mean() for k in range(i, len(free))) for j in range(i + 1))
        for i in range(len(free))
    ]
    room = max(0.0, 1 - gap * (len(places) - 1))
    return np.clip(np.array(risen), 0, room) + steps


def _draw_dots(axes: Any, groups: Sequence[Group], name: str, split: str) -> None:
    for group in groups:
        values = [run.measures(split)[name] for run in group.runs]
        found = group.summary(lambda run: run.measures(split)[name])
        colour = _style(group)["color"]
        axes.scatter(
            values, [group.number] * len(values), s=22, color=colour, alpha=0.55, linewidth=0
        )
        if found.count:
            axes.plot([found.mean] * 2, [group.number - 0.32, group.number + 0.32], color=colour)
    axes.set_ylim(len(groups) + 0.6, 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.margins(x=0.08)
    axes.grid(True, axis="x")
    title = name if name.endswith("mIoU") else f"{shorten(name, 24)}, {split}"
    axes.set_title(title, loc="left", fontsize=10)


def _name_groups(axes: Any, groups: Sequence[Group], *, shown: bool) -> None:
    axes.set_yticks(
        [group.number for group in groups],
        [str(group.number) if shown else "" for group in groups],
        fontweight="bold",
    )
    axes.tick_params(axis="y", length=0)
    left = -10 - 6 * len(str(len(groups)))  # points, beyond the numbers
    for tick, group in zip(axes.get_yticklabels(), groups, strict=True):
        tick.set_color(_style(group)["color"])
        if shown:
            axes.annotate(
                _wrapped(group.label),
                (0, group.number),
                (left, 0),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                color=_style(group)["color"],
                ha="right",
                va="center",
                multialignment="right",
                linespacing=1.0,
                annotation_clip=False,
            )


def _wrapped(label: str) -> str:
    """A label in one line or two."""
    return "\n".join(shorten(line, LABEL) for line in _two_lines(label))


def _two_lines(label: str) -> list[str]:
    first, *rest = textwrap.wrap(label, LABEL) or [""]
    return [first, *([" ".join(rest)] if rest else [])]
