"""Show the scores of a run: classes with their intervals, confusions, post-processing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from segtf.exporting.report import ExportReport
from segtf.reports.figures import draw_confusion
from segtf.reports.notebook.show import Picture, Table, drawn
from segtf.reports.object_figures import draw_thresholds
from segtf.reports.runs import Run
from segtf.scoring.format import interval_text, score_text
from segtf.scoring.intervals import Interval

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
            interval = values.intervals.iou.get(name) if values.intervals else None
            row += [score_text(values.iou.get(name)), _ends(interval)]
            row += [score_text(values.dice.get(name)), _ends(interval, dice=True)]
        rows.append(tuple(row))
    mean = ["mean"]
    for values in run.scores.values():
        interval = values.intervals.miou if values.intervals else None
        mean += [score_text(values.miou), _ends(interval), score_text(values.dice_mean), "–"]
    return Table(tuple(head), (*rows, tuple(mean)))


def total_table(run: Run) -> Table:
    """What is one number for a split: images, pixel accuracy, micro IoU of each image."""
    splits = run.scores.values()
    rows = (
        ("photos", *(f"{of.images:,}" for of in splits)),
        ("pixel accuracy", *(score_text(of.pixel_accuracy) for of in splits)),
        (
            "IoU per image, all classes",
            *(score_text(of.iou_micro_imagewise) for of in splits),
        ),
        ("mean IoU of outlines", *(score_text(of.boundary_miou) for of in splits)),
    )
    return Table(("", *run.scores), rows)


def confusion_picture(run: Run, split: str) -> Picture:
    """The confusion matrix of a split, rows are the truth."""
    counts = np.array(run.scores[split].confusion, np.int64)
    count = len(run.classes)
    width = 460 if count <= 3 else 640 if count <= 6 else None
    return drawn(lambda out: draw_confusion(counts, run.classes, out), width=width)


def threshold_picture(run: Run, split: str) -> Picture:
    """Precision and recall of the class that is target, over its threshold."""
    point = run.scores[split].operating_point
    assert point is not None
    return drawn(lambda out: draw_thresholds(point, split, out), width=520)


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


def _ends(interval: Interval | None, *, dice: bool = False) -> str:
    if dice and interval and interval.low is not None and interval.high is not None:
        low, high = (2 * iou / (1 + iou) for iou in (interval.low, interval.high))
        interval = replace(interval, low=low, high=high)
    return interval_text(interval)
