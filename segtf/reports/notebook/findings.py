"""Conclude from the numbers of a run, a sentence or two each, in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from segtf.reports.markdown import plain
from segtf.reports.notebook.failures import scored_split
from segtf.reports.notebook.runs import ranked, val_miou
from segtf.reports.report_training import LITTLE, MUCH
from segtf.reports.runs import Run
from segtf.run.folder import read_sizing
from segtf.run.log import best_epoch, waiting
from segtf.scoring.format import interval_text, percent
from voc_builder.pixels.overlay import format_fraction
from voc_builder.tree.voc import Dataset

GAP = 0.05  # of the mean IoU, from which on training and validation differ, or val and test
LATE = 0.1  # of the epochs: a best one among the last ones says that training was short
Json = dict[str, Any]


def findings(run: Run, dataset: Dataset) -> list[str]:
    """What the numbers say about the network, the data and the training, each with its cure where
    there is one.
    """
    found: Sequence[Callable[[], str]] = (
        lambda: overall(run),
        lambda: weakest(run, dataset),
        lambda: objects(run),
        lambda: val_and_test(run),
        lambda: course(run),
        lambda: small_objects(run),
        lambda: pace(run),
    )
    return [text for each in found if (text := each())]


def overall(run: Run) -> str:
    """Mean IoU on the images that decide least, with its interval."""
    split = scored_split(run)
    values = run.scores[split]
    if values.miou is None:
        return f"No class of {split} has a score."
    text = (
        f"**A mean IoU of {values.miou:.3f}** on the {values.images:,} images of {split}, "
        f"mean Dice {values.dice_mean:.3f}"
    )
    interval = values.intervals.miou if values.intervals else None
    if interval is None or interval.low is None or interval.high is None:
        return f"{text}."
    text += f"; 95 % interval {interval_text(interval).removesuffix(' ?')}"
    if interval.few:
        text += f", a rough guess, as it rests on {interval.images} images"
    if interval.high - interval.low > 2 * GAP:
        text += ". It is so wide that small differences between networks mean nothing: what is "
        text += "missing most is images to score on"
    return f"{text}."


def weakest(run: Run, dataset: Dataset) -> str:
    """The class with the lowest IoU: how much of it there is to learn from, and what it is taken
    for.
    """
    split = scored_split(run)
    values = run.scores[split]
    scored = {name: iou for name, iou in values.iou.items() if iou is not None}
    if len(scored) < 2:
        return ""
    name = min(scored, key=scored.__getitem__)
    pixels, photos = dataset.pixels["train"], dataset.images["train"].get(name, 0)
    share = pixels.get(name, 0) / max(1, sum(pixels.get(each, 0) for each in run.classes))
    text = (
        f"**The weakest class is {plain(name)}**, IoU {scored[name]:.3f} on {split}. It "
        f"covers {format_fraction(share)} of the labelled pixels of train, on {photos:,} of its "
        f"{len(dataset.splits['train']):,} images."
    )
    counts = np.array(values.confusion, np.int64)
    own = run.classes.index(name)
    missed, invented = counts[own].copy(), counts[:, own].copy()
    missed[own] = invented[own] = 0
    true = int(counts[own].sum())
    if missed.sum() >= invented.sum() and missed.sum():
        taken = run.classes[int(missed.argmax())]
        text += (
            f" It is rather missed than over-marked: {percent(missed.sum() / true)} of its "
            f"pixels are, most of them taken for {plain(taken)}."
        )
    elif invented.sum():
        on = run.classes[int(invented.argmax())]
        text += (
            f" It is rather over-marked than missed: {invented.sum():,} pixels too many beside "
            f"{true:,} true ones, most of them on {plain(on)}."
        )
    return text


def objects(run: Run) -> str:
    """Which share of the objects is found, and how many alarms are false."""
    split = scored_split(run)
    counted = run.scores[split].objects
    said = []
    for name, of in (counted.classes if counted else {}).items():
        if of.true or of.false_positives:
            found = f"{of.found:,} of {of.true:,} {plain(name)} found"
            share = f" ({percent(of.found_fraction)})" if of.true else ""
            said.append(f"{found}{share}, {of.false_positives:,} false alarms")
    return f"**As objects, on {split}**: {'; '.join(said)}." if said else ""


def val_and_test(run: Run) -> str:
    """Whether the score on val, by which the epoch was chosen, holds on test."""
    if "test" not in run.scores:
        return (
            "**There is no test split**: the scores are of val, by which the epoch was chosen, and "
            "so a little too good. `--split 80/10/10` keeps images apart for the end."
        )
    val, test = run.scores["val"].miou, run.scores["test"].miou
    if val is None or test is None:
        return ""
    if val - test > GAP:
        return (
            f"**Test lies {val - test:.3f} below val** ({test:.3f} and {val:.3f}): the epoch was "
            "chosen on val, and few images differ by chance; cross-validation (`--folds 5`) would "
            "tell them apart."
        )
    side = "below" if test < val else "above"
    return f"**Val holds on test**: {test:.3f}, {abs(val - test):.3f} {side} val."


def course(run: Run) -> str:
    """Whether training was too short or learned its images by heart."""
    log, best = run.log, best_epoch(run.log)
    if best is None:
        return ""
    epochs = len(log["epoch"])
    left = epochs - 1 - best
    text = f"**The best epoch was {best + 1} of {epochs}**"
    if left <= LATE * epochs:
        text += ", among the last: a longer training (`--epochs`) may gain more."
    else:
        text += f": the {left} after it gained nothing."
    gap = float(log["miou"][best] - log["val_miou"][best])
    if gap > GAP:
        text += (
            f" Then the training images scored {gap:.3f} more than val: the network begins to know "
            "them by heart, against which stronger changes (`--augment medium`) or more images "
            "help."
        )
    return text


def small_objects(run: Run) -> str:
    """Whether the smallest objects are large enough at the training size."""
    sizing = read_sizing(run.path)
    if sizing is None or sizing.get("span") is None:
        return ""
    span, wanted = sizing["span"], sizing["bounds"]["span"]
    smallest = min(sizing["survey"]["objects"], key=lambda each: float(each["share"]))
    seen = (
        f"the smallest of {plain(smallest['name'])} measure {span:.1f} pixels at the training size"
    )
    if sizing["keeps"]:
        return f"**Size is not what limits it**: {seen}, {wanted} are wanted."
    needed = sizing["bounds"]["needed"]
    possible = needed and not sizing["crop"] and needed <= sizing["bounds"]["photos"]
    cure = f" `--size {needed}` would keep them." if possible else ""
    return f"**The smallest objects are too small to be seen**: {seen}, {wanted} are wanted.{cure}"


def pace(run: Run) -> str:
    """Whether input or arithmetic held training back."""
    share = waiting(run.log)
    if share is None:
        return ""
    waited = f"{percent(share)} of the time of training was spent waiting for images"
    if share >= MUCH:
        return f"**Input held training back**: {waited}. More CPU cores or a lighter `--augment`."
    rest = "arithmetic is what takes its time" if share < LITTLE else "both take their time"
    return f"**Input did not hold training back**: {waited}; {rest}."


def choice(runs: Sequence[Run], chosen: Run) -> str:
    """Which run was chosen and by what, and whether val can tell it from the next one."""
    if len(runs) < 2:
        return (
            "There is no other finished run on this data set, so nothing was chosen but the epoch: "
            "the one with the best mean IoU on val."
        )
    best, *others = ranked(runs)
    if best.path != chosen.path:
        return (
            f"By the mean IoU on val the best is **{plain(best.name)}** ({_miou(best)}), not "
            f"**{plain(chosen.name)}** ({_miou(chosen)}), which this report is about."
        )
    second = others[0]
    text = (
        f"**{plain(best.name)}** was chosen, by the best mean IoU on val: {_miou(best)}, where the "
        f"next, {plain(second.name)}, has {_miou(second)}. Test had no part in it."
    )
    intervals = best.scores["val"].intervals
    interval = intervals.miou if intervals else None
    if interval and interval.low is not None and val_miou(second) >= interval.low:
        text += (
            f" The difference of {val_miou(best) - val_miou(second):.3f} lies within the 95 % "
            f"interval of {interval_text(interval)}: a hint, no proof. Folds or more seeds would "
            "tell."
        )
    return text


def epoch_sentence(run: Run) -> str:
    """How long training took and which epoch was kept."""
    best = best_epoch(run.log)
    epochs = len(run.log["epoch"])
    seconds = float(run.environment["seconds"])
    took = f"{epochs} epoch{'s' * (epochs > 1)} in {seconds / 60:.1f} minutes, start and data "
    took += "included"
    if best is None:
        return f"{took}. No epoch has a score on val."
    rises = run.log["val_miou"]
    return (
        f"{took}. The network of epoch {best + 1} was kept: its mean IoU on val is "
        f"{rises[best]:.4f}, where the first epoch had {rises[0]:.4f} and the last "
        f"{rises[-1]:.4f}."
    )


def _miou(run: Run) -> str:
    return f"{val_miou(run):.4f}"
