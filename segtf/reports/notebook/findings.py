"""Conclusions from the scores and the log of a run, a sentence or two each, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segtf.reports.markdown import plain
from segtf.reports.notebook.failures import missed, over_marked, scored_split
from segtf.reports.notebook.runs import ranked, val_miou
from segtf.reports.runs import Run
from segtf.run.folder import read_sizing
from segtf.run.log import best_epoch, waiting
from segtf.scoring.format import percent
from voc_builder.pixels.overlay import format_fraction
from voc_builder.tree.voc import Dataset

GAP = 0.05  # of the mean IoU, from which on training and validation, or val and test, differ
LATE = 0.1  # fraction of the epochs: a best epoch among the last means that training was short
INPUT_BOUND = 0.3  # fraction of the time of training that was spent waiting for input


def conclusions(run: Run, dataset: Dataset) -> list[str]:
    """What the numbers say about the network, the data and the training, with what to do."""
    found = (
        weakest_class(run, dataset),
        val_and_test(run),
        course(run),
        object_size(run),
        pace(run),
    )
    return [text for text in found if text]


def weakest_class(run: Run, dataset: Dataset) -> str:
    """The class with the lowest IoU, how much training data it has, and what it is taken for."""
    split = scored_split(run)
    values = run.scores[split]
    iou = {name: score for name, score in values.iou.items() if score is not None}
    if len(iou) < 2:
        return ""
    name = min(iou, key=iou.__getitem__)
    total = max(1, sum(dataset.pixels["train"].get(each, 0) for each in run.classes))
    fraction = dataset.pixels["train"].get(name, 0) / total
    counts = np.array(values.confusion, np.int64)
    return (
        f"**The weakest class is {plain(name)}**, IoU {iou[name]:.3f} on {split}. It covers "
        f"{format_fraction(fraction)} of the training pixels, on "
        f"{dataset.images['train'].get(name, 0):,} of {len(dataset.splits['train']):,} images. "
        f"{missed(counts, run.classes)} {over_marked(counts, run.classes)}"
    ).strip()


def val_and_test(run: Run) -> str:
    """Whether the score on val, by which the epoch was chosen, holds on test."""
    if "test" not in run.scores:
        return (
            "**There is no test split**: the scores are of val, by which the epoch was chosen, so "
            "they are optimistically biased. `--split 80/10/10` keeps test images apart."
        )
    val, test = run.scores["val"].miou, run.scores["test"].miou
    if val is None or test is None:
        return ""
    if val - test > GAP:
        return (
            f"**Test is {val - test:.3f} below val** ({test:.3f} and {val:.3f}): the epoch was "
            "chosen on val, and few images vary. Cross-validation (`--folds 5`) tells which."
        )
    return f"**Val holds on test**: mIoU {val:.3f} on val, {test:.3f} on test."


def course(run: Run) -> str:
    """Whether training was too short or overfits."""
    log, best = run.log, best_epoch(run.log)
    if best is None:
        return ""
    epochs = len(log["epoch"])
    text = f"**The best epoch was {best + 1} of {epochs}.**"
    if epochs - 1 - best <= LATE * epochs:
        text += " More epochs (`--epochs`) may improve the network."
    gap = float(log["miou"][best] - log["val_miou"][best])
    if gap > GAP:
        text += (
            f" Training images score {gap:.3f} more than val: the network overfits. Stronger "
            "augmentation (`--augment medium`) or more images help."
        )
    return text


def object_size(run: Run) -> str:
    """Whether the smallest objects are large enough at the training size."""
    sizing = read_sizing(run.path)
    if sizing is None or sizing.get("span") is None or sizing["keeps"]:
        return ""
    return (
        f"**The smallest objects are too small** at the training size: {sizing['span']:.1f} "
        f"pixels, where {sizing['bounds']['span']} are needed. Take a larger `--size`, or `--crop`."
    )


def pace(run: Run) -> str:
    """Whether training waited for input."""
    fraction = waiting(run.log)
    if fraction is None or fraction < INPUT_BOUND:
        return ""
    return (
        f"**Training was input-bound**: {percent(fraction)} of its time was spent waiting for "
        "images. More CPU cores or a lighter `--augment` help."
    )


def selection(runs: Sequence[Run], chosen: Run) -> str:
    """Which run is best on val, and whether val can tell it from the next one."""
    if len(runs) < 2:
        return "There is no other finished run on this data set."
    best, second = ranked(runs)[:2]
    if best.path != chosen.path:
        return (
            f"By mIoU on val, **{plain(best.name)}** is best ({val_miou(best):.4f}), not "
            f"{plain(chosen.name)} ({val_miou(chosen):.4f}), which this report is about."
        )
    text = (
        f"**{plain(best.name)}** is best by mIoU on val: {val_miou(best):.4f}; the next, "
        f"{plain(second.name)}, has {val_miou(second):.4f}."
    )
    intervals = best.scores["val"].intervals
    interval = intervals.miou if intervals else None
    if interval and interval.low is not None and val_miou(second) >= interval.low:
        text += " The difference is within the 95 % interval, so it may be due to the few images."
    return text
