"""Show which objects a network found and missed, and how sure its scores are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path, PurePath

from segtf.outputs.page import Section, bar, class_name, missing, picture, prose, table
from segtf.reports.object_figures import size_name
from segtf.scoring.faults import faults_of
from segtf.scoring.inspection import decimal, interval_text, percent
from segtf.scoring.intervals import FEW, Interval
from segtf.scoring.operating import compared, decision_text
from segtf.scoring.split_scores import (
    Intervals,
    ObjectRule,
    ObjectScores,
    PointScores,
    SplitScores,
)

WORST = 10  # images that are named


def objects_sections(run: Path, splits: dict[str, SplitScores]) -> list[Section]:
    """A section for each split that was scored, with the pictures that lie in the run folder; one
    that says what is missing if there is none.
    """
    sections = []
    for split, scores in splits.items():
        if scores.objects is None:
            continue  # scored before there were counts
        paths = [PurePath(f"{what}_{split}.png") for what in ("objects", "thresholds")]
        figures = [path for path in paths if (run / path).is_file()]
        body = objects_section(scores, figures=figures)
        sections.append(Section(f"objects-{split}", f"Objects found and missed: {split}", body))
    return sections or [Section("objects", "Objects found and missed", objects_section(None))]


def objects_section(scores: SplitScores | None, *, figures: Sequence[PurePath] = ()) -> str:
    """Found and missed objects, false alarms, outlines and the operating point of one split, with
    95 % intervals; `figures` are the pictures' paths from the page.
    """
    if scores is None or scores.objects is None:
        return missing("There are no counts of objects: score the run again: segtf.evaluate.")
    objects, intervals = scores.objects, scores.intervals
    assert intervals is not None
    parts = [
        _object_table(objects, intervals, scores.classes),
        f'<p class="soft">{prose(_rule(objects.rule, scores.images))}</p>',
    ]
    if figures:
        plots = "".join(picture(figure, "", kind="plot") for figure in figures)
        parts.append(f'<div class="plots">{plots}</div>')
    if scores.operating_point:
        parts.append(_operating_point(scores, scores.operating_point))
    if scores.no_operating_point:
        parts.append(f"<h3>Operating point</h3><p>{prose(scores.no_operating_point)}.</p>")
    parts += [
        f"<details><summary>By size</summary>{_size_table(objects, scores.classes)}</details>",
        _worst_images(scores),
        "<h3>IoU of all pixels and of outlines</h3>",
        _iou_table(scores, intervals),
        f'<p class="soft">{prose(_interval_note(intervals))}</p>',
    ]
    return "\n".join(parts)


def _object_table(objects: ObjectScores, intervals: Intervals, classes: Sequence[str]) -> str:
    rows = [
        [
            _name(classes, name),
            f"{counts.true:,}",
            _share_bar(counts.found_fraction),
            _ends(intervals.found[name], percent),
            _bad(counts.false_negatives),
            f"{counts.predicted:,}",
            _bad(counts.false_positives),
            decimal(counts.false_positives_per_image),
            _ends(intervals.false_positives_per_image[name], decimal),
        ]
        for name, counts in objects.classes.items()
    ]
    head = ["class", "objects", "found", "95 %", "missed", "alarms", "false", "per image"]
    return table([*head, "95 %"], rows)


def _bad(count: int) -> str:
    return f'<span class="bad">{count:,}</span>' if count else "0"


def _rule(rule: ObjectRule, images: int) -> str:
    return (
        f"In {images:,} images. An object is connected pixels of a class, at least 3 wide; it is "
        f"found if at least {100 * rule.found:g} % of its pixels are predicted as its class. "
        "An alarm is a predicted object; it is false if less than "
        f"{100 * rule.aimed:g} % of its pixels lie on true objects of its class. Void counts "
        "for neither."
    )


def _operating_point(scores: SplitScores, point: PointScores) -> str:
    """The threshold, how it was decided, and what it gives beside the most probable class."""
    rows = [
        [
            escape(name),
            f"{of.true:,}",
            _share_bar(of.found_fraction),
            f"{of.false_negatives:,}",
            f"{of.false_positives:,}",
            decimal(of.false_positives_per_image),
            bar(iou),
        ]
        for name, iou, of in compared(scores)
    ]
    head = ["a pixel is of the class", "objects", "found", "missed", "false", "per image", "IoU"]
    text = f"({decision_text(point)}"
    if chosen := point.chosen:
        precision, recall, f1 = map(_score, (chosen.precision, chosen.recall, chosen.f1))
        text += f"; there it gave precision {precision}, recall {recall}, F1 {f1}"
    return (
        f"<h3>Operating point</h3><p>A pixel is <b>{escape(point.class_name)}</b> from a "
        f"probability of <b>{point.threshold:.3f}</b> on {prose(text)}) instead of where it is the "
        f"most probable class.</p>{table(head, rows)}"
    )


def _size_table(objects: ObjectScores, classes: Sequence[str]) -> str:
    rows = [
        [
            _name(classes, name),
            escape(size_name(row)),
            f"{row.true:,}",
            f"{row.found:,}",
            f"{row.false_negatives:,}",
            f"{row.predicted:,}",
            f"{row.false_positives:,}",
        ]
        for name, counts in objects.classes.items()
        for row in counts.sizes
        if row.true or row.predicted
    ]
    note = (
        "A third of the true objects of a class is small, a third medium, a third large; alarms "
        "are put beside those of their own area. What is less than 3 pixels wide is a speck and "
        "counts in no other table, unless all of the class is as thin."
    )
    head = ["class", "size", "objects", "found", "missed", "alarms", "false"]
    return f'{table(head, rows)}<p class="soft">{prose(note)}</p>'


def _worst_images(scores: SplitScores) -> str:
    """The images with the most missed objects and false alarms together."""
    wrong = []
    for image in scores.rows:
        faults = faults_of(image)
        if count := faults.missed + faults.false:
            wrong.append((count, faults.missed, faults.false, image.id))
    if not wrong:
        return "<p>No image has a missed object or a false alarm.</p>"
    wrong.sort(key=lambda row: (-row[0], row[3]))
    rows = [[escape(name), f"{missed:,}", f"{false:,}"] for _, missed, false, name in wrong[:WORST]]
    summary = f"{len(wrong):,} of {scores.images:,} images have missed objects or false alarms"
    if len(wrong) > WORST:
        summary += f"; the {WORST} worst"
    body = table(["photo", "missed", "false alarms"], rows)
    return f"<details><summary>{summary}</summary>{body}</details>"


def _iou_table(scores: SplitScores, intervals: Intervals) -> str:
    rows = [
        [
            _name(scores.classes, name),
            bar(scores.iou.get(name)),
            _ends(intervals.iou[name], _score),
            bar((scores.boundary_iou or {}).get(name)),
            _ends(intervals.boundary_iou[name], _score),
        ]
        for name in scores.classes
    ]
    rows.append(
        [
            "<b>mean</b>",
            bar(scores.miou),
            _ends(intervals.miou, _score),
            bar(scores.boundary_miou),
            _ends(intervals.boundary_miou, _score),
        ]
    )
    return table(["class", "IoU", "95 %", "boundary IoU", "95 %"], rows)


def _interval_note(intervals: Intervals) -> str:
    return (
        "Boundary IoU counts the pixels within 2 % of the image's diagonal of an outline (Cheng et "
        f"al. 2021). The {100 * intervals.level:g} % intervals say between which values the score "
        f"over all images of this kind lies, from {intervals.resamples:,} bootstrap draws of whole "
        f"images. A question mark: fewer than {FEW} images hold the class, and the interval is a "
        "rough guess; a dash: fewer than 2 do, and none can be told."
    )


def _name(classes: Sequence[str], name: str) -> str:
    return class_name(classes.index(name), name)


def _share_bar(share: float | None) -> str:
    if share is None:
        return "<td>–</td>"
    return f'<td class="bar" style="--share: {100 * share:.1f}%">{prose(percent(share))}</td>'


def _ends(interval: Interval, text: Callable[[float | None], str]) -> str:
    """An interval as a cell; the number of images behind one that rests on too few."""
    ends = prose(interval_text(interval, text)) or "–"
    title = f' title="{interval.images} images hold it"' if interval.few else ""
    return f'<span class="soft flag"{title}>{ends}</span>'


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
