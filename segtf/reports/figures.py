"""Draw the curves of a training and confusion matrices as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segtf.run.log import Log, best_epoch, logged_classes, read_log
from segtf.scoring.format import percent, short_score
from voc_builder.base.colours import voc_colours
from voc_builder.base.files import replacing

DPI = 120
TRAIN, VAL = "#9a9a9a", "#1f5fbf"
ABSENT = "#d9d9d9"
CROWD = 8  # more classes are drawn without their training curves
# DejaVu has no Chinese, Japanese or Korean
FONTS = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Microsoft YaHei",
    "Malgun Gothic",
    "PingFang SC",
    "Hiragino Sans",
)


def draw_curves(log: Path, out: Path) -> None:
    """Losses, scores, IoU of each class and learning rate over the epochs of a log.csv.

    Raises `UserError` if the log cannot be read.
    """
    columns = read_log(log)
    classes = logged_classes(log, columns)
    below = max(3.2, 0.2 * len(classes) + 0.6)  # inches: the list of classes must fit beside
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(12, 3.4 + below), layout="constrained")
        axes = figure.subplot_mosaic(
            [["loss", "score", "rate"], ["iou", "iou", "list"]], height_ratios=[3.4, below]
        )
        best = best_epoch(columns)
        for name in ("loss", "score", "rate", "iou"):
            _prepare_epochs(axes[name], columns, best)
        _draw_pair(axes["loss"], columns, "loss", "Loss")
        _draw_pair(axes["score"], columns, "miou", "Mean IoU")
        axes["score"].set_ylim(-0.02, 1.02)
        if best is not None:
            axes["score"].set_title(
                f"best: {columns['val_miou'][best]:.4f} in epoch {columns['epoch'][best] + 1:.0f}",
                loc="right",
                fontsize=9,
                color=VAL,
            )
        _plot(axes["rate"], columns, "learning_rate", color="#444444")
        axes["rate"].set_title("Learning rate", loc="left")
        axes["rate"].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes["rate"].set_ylim(bottom=0)
        _draw_classes(axes["iou"], axes["list"], columns, classes, best)
        save_chart(figure, out)


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], out: Path) -> None:
    """The confusion matrix `counts`, shape (C, C), rows are the truth: each cell shows its fraction
    of the row as colour and percentage, and its pixels. Classes without pixels are grey.
    """
    rows = counts.sum(axis=1)
    absent = (rows == 0) & (counts.sum(axis=0) == 0)
    with np.errstate(invalid="ignore"):
        fractions = counts / rows[:, None]  # NaN in rows without pixels
    fractions[:, absent] = np.nan
    count, names = len(classes), [shorten(name, 28) for name in classes]
    cell = 1.05 if count <= 6 else 0.72 if count <= 14 else 0.56  # inches
    margin = 0.9 + 0.085 * max(len(name) for name in names)
    side = cell * count
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(side + margin + 1.2, side + margin + 0.3), layout="constrained")
        axes = figure.subplots()
        colours = matplotlib.colormaps["Blues"].with_extremes(bad=ABSENT)
        picture = axes.imshow(np.ma.masked_invalid(fractions), cmap=colours, vmin=0, vmax=1)
        _label_cells(axes, counts, fractions, cell)
        _label_classes(axes, names, rows == 0)
        bar = figure.colorbar(picture, ax=axes, shrink=min(0.8, 3.2 / side), pad=0.02)
        bar.set_label("fraction of the true class")
        bar.outline.set_visible(False)
        save_chart(figure, out)


def format_count(count: int) -> str:
    """A count in about four characters: `950`, `12.3k`, `4.56M`, `1.2G`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            digits = ".3g" if count < 999.5 * size else ".0f"
            return f"{count / size:{digits}}{unit}"
    return str(count)


def chart_style() -> Any:
    """Settings of all charts, for `matplotlib.rc_context`."""
    installed = set(font_manager.get_font_names())
    return {
        "font.family": [name for name in FONTS if name in installed],
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.axisbelow": True,
        "grid.color": "#e6e6e6",
        "legend.frameon": False,
        "text.parse_math": False,  # names of classes may contain $
    }


def _prepare_epochs(axes: Any, log: Log, best: int | None) -> None:
    """Epochs, counted from 1, on the x-axis, and a dotted line at the best one."""
    epochs = log["epoch"] + 1
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(epochs.min() - 0.5, epochs.max() + 0.5)
    axes.set_xlabel("epoch")
    axes.grid(True)
    if best is not None:
        axes.axvline(epochs[best], color="#555555", linestyle=":", linewidth=1.2)


def _plot(axes: Any, log: Log, column: str, **style: Any) -> Line2D:
    # markers: a single epoch, or one between two without a value, has no line
    size = 4 if len(log["epoch"]) <= 30 else 2
    (line,) = axes.plot(log["epoch"] + 1, log[column], marker="o", markersize=size, **style)
    return line


def _draw_pair(axes: Any, log: Log, column: str, title: str) -> None:
    """A column of the log for training, dashed, and for validation."""
    train = _plot(axes, log, column, color=TRAIN, linestyle="--", linewidth=1.2)
    val = _plot(axes, log, f"val_{column}", color=VAL, linewidth=1.8)
    axes.legend([train, val], ["training", "validation"])
    axes.set_title(title, loc="left")


def _draw_classes(
    axes: Any, beside: Any, log: Log, classes: Sequence[str], best: int | None
) -> None:
    """IoU of each class, training dashed; a list beside it has the values of the best epoch."""
    with_training = len(classes) <= CROWD
    handles, texts = [], []
    for name, colour in zip(classes, voc_colours(max(1, len(classes))) / 255, strict=False):
        if with_training and f"iou_{name}" in log:
            _plot(axes, log, f"iou_{name}", color=colour, linestyle="--", linewidth=0.8, alpha=0.4)
        handles.append(_plot(axes, log, f"val_iou_{name}", color=colour, linewidth=1.8))
        value = np.nan if best is None else log[f"val_iou_{name}"][best]
        texts.append(f"{shorten(name, 32)}  {short_score(value)}")
    note = "validation; training dashed" if with_training else "validation"
    axes.set_title(f"IoU of each class ({note})", loc="left")
    axes.set_ylim(-0.02, 1.02)
    beside.set_axis_off()
    legend = beside.legend(
        handles,
        ["class"] * len(handles),
        title="validation IoU in the best epoch",
        alignment="left",
        loc="upper left",
        borderaxespad=0,
        fontsize=8,
        labelspacing=0.35,
    )
    # set afterwards: matplotlib drops labels that begin with _
    for text, name in zip(legend.get_texts(), texts, strict=True):
        text.set_text(name)


def _label_cells(
    axes: Any, counts: NDArray[np.int64], fractions: NDArray[np.float64], cell: float
) -> None:
    """Writes percentage and pixels into each cell; `cell` is its side in inches."""
    large, small = (11, 8) if cell > 1 else (8, 6.5) if cell > 0.6 else (6.5, 5)
    for (row, column), fraction in np.ndenumerate(fractions):
        if counts[row, column] == 0:
            continue
        lines = (
            (percent(fraction), "bottom", 1, large),
            (format_count(int(counts[row, column])), "top", -1, small),
        )
        for text, side, offset, size in lines:
            axes.annotate(
                text,
                (column, row),
                (0, offset),
                textcoords="offset points",
                ha="center",
                va=side,
                fontsize=size,
                color="white" if fraction > 0.55 else "black",
            )


def _label_classes(axes: Any, names: Sequence[str], absent: NDArray[np.bool_]) -> None:
    ids = range(len(names))
    axes.set_xticks(
        ids,
        names,
        rotation=0 if len(names) <= 3 else 45,
        ha="center" if len(names) <= 3 else "right",
        rotation_mode="anchor",
    )
    axes.set_yticks(ids, names)
    for label, missing in zip(axes.get_yticklabels(), absent, strict=True):
        label.set_color("#888888" if missing else "black")
    axes.set_xlabel("prediction", fontweight="bold")
    axes.set_ylabel("truth", fontweight="bold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="minor", length=0)


def shorten(text: str, length: int) -> str:
    """The text, shortened in its middle to `length`: names often differ at their ends."""
    if len(text) <= length:
        return text
    return f"{text[: length * 2 // 3]}…{text[len(text) - length // 3 + 1 :]}"


def save_chart(figure: Figure, out: Path) -> None:
    """Write the figure as a PNG without its empty margins."""
    FigureCanvasAgg(figure)
    with replacing(out) as beside:
        figure.savefig(beside, dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.15)
