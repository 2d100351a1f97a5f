"""The scores of a split as text tables."""

from __future__ import annotations

from functools import partial

from segtf.scoring.format import interval_text, percent, score_text, text_table
from segtf.scoring.split_scores import (
    ClassObjects,
    PixelScores,
    PointObjects,
    PointScores,
    SplitScores,
)

FEW = 20  # objects; of fewer, a single one more would move the recall by over 5 %
per_image = partial(score_text, digits=2)


def result_tables(scores: SplitScores) -> str:
    """The tables of pixels, of objects and of the operating point, or why there is none."""
    tables = [score_table(scores)]
    if scores.objects and scores.objects.classes:
        tables.append(object_table(scores))
    if scores.operating_point:
        tables.append(operating_table(scores))
    if scores.no_operating_point:
        tables.append(scores.no_operating_point)
    return "\n\n".join(tables)


def score_table(scores: PixelScores) -> str:
    """IoU and Dice of each class."""
    rows = [("class", "IoU", "Dice")]
    rows += [
        (name, score_text(scores.iou[name]), score_text(scores.dice[name]))
        for name in scores.classes
    ]
    rows += [
        ("mean", score_text(scores.miou), score_text(scores.dice_mean)),
        ("pixel accuracy", score_text(scores.pixel_accuracy), ""),
        ("micro, imagewise", score_text(scores.iou_micro_imagewise), ""),
    ]
    return text_table(rows)


def object_table(scores: SplitScores) -> str:
    """Found and missed objects and false alarms of each class, with intervals."""
    assert scores.objects is not None and scores.intervals is not None
    found, rates = scores.intervals.found, scores.intervals.false_positives_per_image
    rows = [("class", "objects", "found", "", "missed", "false alarms", "per image", "")]
    rows += [
        (
            name,
            str(counts.true),
            percent(counts.found_fraction),
            interval_text(found[name], percent),
            str(counts.false_negatives),
            str(counts.false_positives),
            per_image(counts.false_positives_per_image),
            interval_text(rates[name], per_image),
        )
        for name, counts in scores.objects.classes.items()
    ]
    return text_table(rows, left=(0, 3, 7))


def operating_table(scores: SplitScores) -> str:
    """The operating point beside the most probable class."""
    point = scores.operating_point
    assert point is not None
    rows = [("", "IoU", "found", "missed", "false alarms", "per image")]
    rows += [
        (
            name,
            score_text(iou),
            f"{of.found} of {of.true} ({percent(of.found_fraction)})",
            str(of.false_negatives),
            str(of.false_positives),
            per_image(of.false_positives_per_image),
        )
        for name, iou, of in compared(scores)
    ]
    head = f"{point.class_name} from a probability of {point.threshold:.3f} on"
    return f"{head} ({decision_text(point)}):\n{text_table(rows)}"


def compared(
    scores: SplitScores,
) -> list[tuple[str, float | None, ClassObjects | PointObjects]]:
    """IoU and objects of the target class where it is the most probable one, and at its operating
    point, each with its name.
    """
    point = scores.operating_point
    assert point is not None and scores.objects is not None
    name = point.class_name
    return [
        ("most probable class", scores.iou[name], scores.objects.classes[name]),
        (f"from {point.threshold:.3f} on", point.pixels.iou, point.objects),
    ]


def decision_text(point: PointScores) -> str:
    """Why the threshold of an operating point is this one."""
    if point.chosen is None:
        return point.criterion
    true = point.chosen.true
    few = ", a rough guess" if true < FEW else ""
    objects = "1 object" if true == 1 else f"{true:,} objects"
    return f"{point.criterion}, chosen on {objects} in {point.split}{few}"
