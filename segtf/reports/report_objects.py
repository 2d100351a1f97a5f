"""Show which objects a network found and missed, and how sure its scores are."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path, PurePath
from typing import Any

from segtf.outputs.page import Section, bar, class_name, missing, picture, prose, table
from segtf.reports.object_figures import size_name
from segtf.scoring.inspection import decimal, interval_text, percent
from segtf.scoring.intervals import FEW
from segtf.scoring.operating import compared, decision_text

WORST = 10  # images that are named
Json = dict[str, Any]


def objects_sections(run: Path, splits: dict[str, Json | None]) -> list[Section]:
    """A section for each split that was scored, of the values of its `metrics_SPLIT.json`, with the
    pictures that lie in the run folder; one that says what is missing if there is none.
    """
    sections = []
    for split, values in splits.items():
        if values is None or "objects" not in values:
            continue  # scored before there were counts
        paths = [PurePath(f"{what}_{split}.png") for what in ("objects", "thresholds")]
        figures = [path for path in paths if (run / path).is_file()]
        body = objects_section(values, figures=figures)
        sections.append(Section(f"objects-{split}", f"Objects found and missed: {split}", body))
    return sections or [Section("objects", "Objects found and missed", objects_section(None))]


def objects_section(values: Json | None, *, figures: Sequence[PurePath] = ()) -> str:
    """Found and missed objects, false alarms, outlines and the operating point of one split, with
    95 % intervals, from its `metrics_SPLIT.json`; `figures` are the pictures' paths from the page.
    """
    if values is None or "objects" not in values:
        return missing("There are no counts of objects: score the run again: segtf.evaluate.")
    parts = [_object_table(values), f'<p class="soft">{prose(_rule(values))}</p>']
    if figures:
        plots = "".join(picture(figure, "", kind="plot") for figure in figures)
        parts.append(f'<div class="plots">{plots}</div>')
    if values.get("operating_point"):
        parts.append(_operating_point(values))
    if values.get("no_operating_point"):
        parts.append(f"<h3>Operating point</h3><p>{prose(values['no_operating_point'])}.</p>")
    parts += [
        f"<details><summary>By size</summary>{_size_table(values)}</details>",
        _worst_images(values),
        "<h3>IoU of all pixels and of outlines</h3>",
        _iou_table(values),
        f'<p class="soft">{prose(_interval_note(values))}</p>',
    ]
    return "\n".join(parts)


def _object_table(values: Json) -> str:
    intervals = values["intervals"]
    rows = [
        [
            _name(values, name),
            f"{counts['true']:,}",
            _share_bar(counts["found_share"]),
            _ends(intervals["found"][name], percent),
            f'<span class="bad">{counts["missed"]:,}</span>' if counts["missed"] else "0",
            f"{counts['alarms']:,}",
            f'<span class="bad">{counts["false"]:,}</span>' if counts["false"] else "0",
            decimal(counts["false_a_photo"]),
            _ends(intervals["false_a_photo"][name], decimal),
        ]
        for name, counts in values["objects"]["classes"].items()
    ]
    head = ["class", "objects", "found", "95 %", "missed", "alarms", "false", "per image"]
    return table([*head, "95 %"], rows)


def _rule(values: Json) -> str:
    rule, images = values["objects"]["rule"], values["images"]
    return (
        f"In {images:,} images. An object is connected pixels of a class, at least 3 wide; it is "
        f"found if at least {100 * rule['found']:g} % of its pixels are predicted as its class. "
        "An alarm is a predicted object; it is false if less than "
        f"{100 * rule['aimed']:g} % of its pixels lie on true objects of its class. Void counts "
        "for neither."
    )


def _operating_point(values: Json) -> str:
    """The threshold, how it was decided, and what it gives beside the most probable class."""
    point = values["operating_point"]
    rows = [
        [
            escape(name),
            f"{of['true']:,}",
            _share_bar(of["found_share"]),
            f"{of['missed']:,}",
            f"{of['false']:,}",
            decimal(of["false_a_photo"]),
            bar(of["iou"]),
        ]
        for name, of in compared(values)
    ]
    head = ["a pixel is of the class", "objects", "found", "missed", "false", "per image", "IoU"]
    text = f"({decision_text(point)}"
    if point["chosen"]:
        precision, recall, f1 = (
            _score(point["chosen"][key]) for key in ("precision", "recall", "f1")
        )
        text += f"; there it gave precision {precision}, recall {recall}, F1 {f1}"
    return (
        f"<h3>Operating point</h3><p>A pixel is <b>{escape(point['class'])}</b> from a probability "
        f"of <b>{point['threshold']:.3f}</b> on {prose(text)}) instead of where it is the most "
        f"probable class.</p>{table(head, rows)}"
    )


def _size_table(values: Json) -> str:
    rows = [
        [
            _name(values, name),
            escape(size_name(row)),
            f"{row['true']:,}",
            f"{row['found']:,}",
            f"{row['true'] - row['found']:,}",
            f"{row['alarms']:,}",
            f"{row['false']:,}",
        ]
        for name, counts in values["objects"]["classes"].items()
        for row in counts["sizes"]
        if row["true"] or row["alarms"]
    ]
    note = (
        "A third of the true objects of a class is small, a third medium, a third large; alarms "
        "are put beside those of their own area. What is less than 3 pixels wide is a speck and "
        "counts in no other table, unless all of the class is as thin."
    )
    head = ["class", "size", "objects", "found", "missed", "alarms", "false"]
    return f'{table(head, rows)}<p class="soft">{prose(note)}</p>'


def _worst_images(values: Json) -> str:
    """The images with the most missed objects and false alarms together."""
    wrong = []
    for image in values.get("photos", []):
        counts = image.get("objects", {}).values()
        missed = sum(each["true"] - each["found"] for each in counts)
        false = sum(each["false"] for each in counts)
        if missed or false:
            wrong.append((missed + false, missed, false, image["id"]))
    if not wrong:
        return "<p>No image has a missed object or a false alarm.</p>"
    wrong.sort(key=lambda row: (-row[0], row[3]))
    rows = [[escape(name), f"{missed:,}", f"{false:,}"] for _, missed, false, name in wrong[:WORST]]
    summary = f"{len(wrong):,} of {values['images']:,} images have missed objects or false alarms"
    if len(wrong) > WORST:
        summary += f"; the {WORST} worst"
    body = table(["photo", "missed", "false alarms"], rows)
    return f"<details><summary>{summary}</summary>{body}</details>"


def _iou_table(values: Json) -> str:
    intervals = values["intervals"]
    rows = [
        [
            _name(values, name),
            bar(values["iou"].get(name)),
            _ends(intervals["iou"][name], _score),
            bar(values["boundary_iou"].get(name)),
            _ends(intervals["boundary_iou"][name], _score),
        ]
        for name in values["classes"]
    ]
    rows.append(
        [
            "<b>mean</b>",
            bar(values["miou"]),
            _ends(intervals["miou"], _score),
            bar(values["boundary_miou"]),
            _ends(intervals["boundary_miou"], _score),
        ]
    )
    return table(["class", "IoU", "95 %", "boundary IoU", "95 %"], rows)


def _interval_note(values: Json) -> str:
    level, draws = values["intervals"]["level"], values["intervals"]["resamples"]
    return (
        "Boundary IoU counts the pixels within 2 % of the image's diagonal of an outline (Cheng et "
        f"al. 2021). The {100 * level:g} % intervals say between which values the score over all "
        f"images of this kind lies, from {draws:,} bootstrap draws of whole images. A question "
        f"mark: fewer than {FEW} images hold the class, and the interval is a rough guess; a dash: "
        "fewer than 2 do, and none can be told."
    )


def _name(values: Json, name: str) -> str:
    return class_name(values["classes"].index(name), name)


def _share_bar(share: float | None) -> str:
    if share is None:
        return "<td>–</td>"
    return f'<td class="bar" style="--share: {100 * share:.1f}%">{prose(percent(share))}</td>'


def _ends(interval: Json, text: Any) -> str:
    """An interval as a cell; the number of images behind one that rests on too few."""
    ends = prose(interval_text(interval, text)) or "–"
    few = interval["few"]
    title = f' title="{interval["photos"]} images hold it"' if few else ""
    return f'<span class="soft flag"{title}>{ends}</span>'


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
