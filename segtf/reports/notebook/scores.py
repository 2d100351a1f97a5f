"""Show the scores of a run: classes with their intervals, confusions, post-processing."""

from __future__ import annotations

from typing import Any

import numpy as np

from segtf.exporting.report import ExportReport
from segtf.reports.figures import draw_confusion
from segtf.reports.notebook.runs import interval_ends, number
from segtf.reports.notebook.show import Picture, Table, drawn
from segtf.reports.object_figures import draw_thresholds
from segtf.reports.runs import Run

Json = dict[str, Any]
WHAT = {"smallest": "remove components", "hole": "fill holes"}
VERDICTS = {"one image": "gains by one image alone"}  # others say it themselves


def class_table(run: Run) -> Table:
    """IoU and Dice of each class on val and, where there is one, on test, with 95 % intervals. Dice
    is 2 IoU / (1 + IoU), and so are the ends of its interval; of the mean over the classes, for
    which that does not hold, there is none.
    """
    head = ["class"]
    for split in run.scores:
        head += [f"{split} IoU", "95 %", f"{split} Dice", "95 %"]
    rows = []
    for name in run.classes:
        row = [name]
        for values in run.scores.values():
            interval = values.get("intervals", {}).get("iou", {}).get(name)
            row += [number(values["iou"].get(name)), _ends(interval)]
            row += [number(values["dice"].get(name)), _ends(interval, dice=True)]
        rows.append(tuple(row))
    mean = ["mean"]
    for values in run.scores.values():
        interval = values.get("intervals", {}).get("miou")
        mean += [number(values["miou"]), _ends(interval), number(values["dice_mean"]), "–"]
    return Table(tuple(head), (*rows, tuple(mean)))


def total_table(run: Run) -> Table:
    """What is one number for a split: images, pixel accuracy, micro IoU of each image."""
    names = {
        "images": "photos",
        "pixel_accuracy": "pixel accuracy",
        "iou_micro_imagewise": "IoU of an image, all classes together, mean",
        "boundary_miou": "mean IoU of outlines",
    }
    rows = [
        (text, *(_plain(values.get(key)) for values in run.scores.values()))
        for key, text in names.items()
    ]
    return Table(("", *run.scores), tuple(rows))


def confusion_picture(run: Run, split: str) -> Picture:
    """The confusion matrix of a split, rows are the truth."""
    counts = np.array(run.scores[split]["confusion"], np.int64)
    count = len(run.classes)
    width = 460 if count <= 3 else 640 if count <= 6 else None
    return drawn(lambda out: draw_confusion(counts, run.classes, out), width=width)


def threshold_picture(run: Run, split: str) -> Picture:
    """Precision and recall of the class that is target, over its threshold."""
    return drawn(lambda out: draw_thresholds(run.scores[split], out), width=520)


def trial_table(export: ExportReport) -> Table:
    """Every limit of post-processing that was tried on val, in the order of the trials."""
    rows = [
        (
            trial.label,
            WHAT[trial.what],
            f"{trial.limit:,}",
            f"{trial.gain:+.5f}",
            VERDICTS.get(trial.verdict, trial.verdict),
        )
        for trial in export.trials
    ]
    return Table(("class", "what", "below, pixels", "val mIoU", "verdict"), tuple(rows))


def _plain(value: float | None) -> str:
    return f"{value:,}" if isinstance(value, int) else number(value)


def _ends(interval: Json | None, *, dice: bool = False) -> str:
    if interval is None or interval["low"] is None:
        return "–"
    if dice:
        ends = {key: 2 * interval[key] / (1 + interval[key]) for key in ("low", "high")}
        interval = {**interval, **ends}
    return interval_ends(interval)
