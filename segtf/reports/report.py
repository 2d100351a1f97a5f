"""Show everything about a run on one page, `report.html`, that opens from disk."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path, PurePath
from shlex import quote
from typing import Any

import yaml

from segtf.exporting.report import ExportReport, read_export
from segtf.outputs.page import (
    Section,
    bar,
    class_name,
    flags,
    link,
    missing,
    pairs,
    picture,
    render_page,
    table,
)
from segtf.reports.report_export import export_section
from segtf.reports.report_images import image_gallery, progress_gallery
from segtf.reports.report_objects import objects_sections
from segtf.reports.report_training import sizing_section, training_section
from segtf.run.folder import CONFIG, DATA, ENVIRONMENT, LOG, SHOWN, read_sizing
from segtf.run.log import read_log
from segtf.run.size import describe_size
from segtf.scoring.split_scores import SplitScores, read_run_scores, read_shown_scores
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.pixels.overlay import format_fraction

Json = dict[str, Any]


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run folder and returns its path. Raises `UserError` for a folder
    that is no run and for a damaged file.
    """
    parts = sections(run)
    config = _read_config(run / CONFIG)
    keys = ("arch", "encoder", "crop" if config.get("crop") else "size", "fold", "data")
    subtitle = " · ".join(f"{key} {config[key]}" for key in keys if config.get(key) is not None)
    out = run / "report.html"
    with replacing(out) as beside:
        beside.write_text(render_page(run.resolve().name, subtitle, parts), encoding="utf-8")
    return out


def sections(run: Path) -> list[Section]:
    """The sections of a run's report, from whatever files its folder has; a section names those
    that are missing. Links are relative to the folder, into which the thumbnails of the images are
    written. Raises `UserError` for a folder that is no run and for a damaged file.
    """
    if not (run / CONFIG).is_file():
        raise UserError(f"{run}: not a run folder (no {CONFIG}): name one of artifacts/runs")
    config = _read_config(run / CONFIG)
    about, environment = _read_json(run / DATA), _read_json(run / ENVIRONMENT)
    scores = read_run_scores(run)
    val, test = scores.get("val"), scores.get("test")
    export = read_export(run)
    log = read_log(run / LOG) if (run / LOG).is_file() else None
    known = test or val
    classes = list(known.classes) if known else (about or {}).get("classes", [])
    sizing, shown = read_sizing(run), read_shown_scores(run / SHOWN)
    training = training_section(run, config, environment, sizing, log)
    return [
        Section("result", "Result", _result(config, val, test, export, classes)),
        Section("data", "Data", _about_data(about)),
        Section("size", "Framework, size and batch", sizing_section(sizing, classes)),
        Section("training", "Training", training),
        Section("scores", "Scores", _scores(run, val, test, classes)),
        *objects_sections(run, dict(reversed(scores.items()))),
        Section("confusion", "Confusion matrices", _confusions(run)),
        Section("export", "Export", export_section(run, export)),
        Section(
            "images", "Predictions on images that training never saw", image_gallery(run, shown)
        ),
        Section("progress", "Predictions during training", progress_gallery(run)),
        Section("use", "How to use the model", _use(run, config, classes)),
        Section("environment", "Environment", _environment(environment)),
    ]


def _read_json(path: Path) -> Json | None:
    """The values of a file; None if it is not there."""
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}): delete it or make it again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: not a JSON object: delete it or make it again")
    return values


def _read_config(path: Path) -> Json:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: damaged: {' '.join(str(error).split())}") from None
    return values if isinstance(values, dict) else {}


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _result(
    config: Json,
    val: SplitScores | None,
    test: SplitScores | None,
    export: ExportReport | None,
    classes: list[str],
) -> str:
    """The few numbers that one looks for first."""
    metrics, split = (test, "test") if test else (val, "val")
    notes = [] if test else [missing("There are no test scores: no test images, or no end yet.")]
    if metrics is None:
        return "".join([*notes, missing("There are no validation scores either.")])
    cards = [
        f'<div class="card first">mean IoU, {split}<b>{_score(metrics.miou)}</b>'
        f'<span class="soft">Dice {_score(metrics.dice_mean)}</span></div>'
    ]
    cards += [
        f'<div class="card"><span class="name">{class_name(i, name)}</span>'
        f"<b>{_score(metrics.iou.get(name))}</b>"
        f'<span class="soft">IoU; Dice {_score(metrics.dice.get(name))}</span></div>'
        for i, name in enumerate(classes)
    ]
    scale = "in tiles of" if config.get("crop") else "at"
    size = describe_size(metrics.origin.size)
    text = f"{metrics.images} {split} images {scale} {size} pixels"
    text += f", pixel accuracy {_score(metrics.pixel_accuracy)}"
    if export:
        verdict = "answer alike" if export.passed else "DO NOT answer alike"
        kind = "good" if export.passed else "bad"
        text += f'. <span class="{kind}">Keras, SavedModel and ONNX {verdict}.</span>'
    return "".join([*notes, f'<div class="cards">{"".join(cards)}</div><p>{text}</p>'])


def _about_data(about: Json | None) -> str:
    if about is None:
        return missing("There is no data.json: training has not begun.")
    splits = list(about["images"])
    classes = about["classes"]
    rows = [["photos", *(str(about["images"][split]) for split in splits)]]
    void = {n for split in splits for n, count in about["pixels"][split].items() if count}
    names = [*classes, *sorted(void - set(classes))]
    totals = {split: max(1, sum(about["pixels"][split].values())) for split in splits}
    for index, name in enumerate(names):
        label = class_name(index, name) if name in classes else escape(name)
        counts = {split: about["pixels"][split].get(name, 0) for split in splits}
        cells = [
            f'{format_fraction(counts[s] / totals[s])} <span class="soft">{counts[s]:,}</span>'
            for s in splits
        ]
        rows.append([label, *cells])
    path, sha256 = (escape(str(about[name])) for name in ("path", "sha256"))
    where = f"<code>{path}</code>, SHA-256 <code>{sha256}</code>"
    head = ["share of pixels", *splits]
    return f'{table(head, rows)}<p class="soft">{where}</p>'


def _scores(
    run: Path, val: SplitScores | None, test: SplitScores | None, classes: list[str]
) -> str:
    splits = {name: m for name, m in (("val", val), ("test", test)) if m}
    command = f"python -m segtf.evaluate {quote(str(run))}"
    notes = [
        missing(f"There is no metrics_{name}.json: {command} --split {name}")
        for name, metrics in (("val", val), ("test", test))
        if not metrics
    ]
    if not splits:
        return "".join(notes)
    head = ["class", *(f"{name} {score}" for name in splits for score in ("IoU", "Dice"))]
    rows = [
        [class_name(i, c), *(bar(of.get(c)) for m in splits.values() for of in (m.iou, m.dice))]
        for i, c in enumerate(classes)
    ]
    rows.append(
        ["<b>mean</b>", *(bar(of) for m in splits.values() for of in (m.miou, m.dice_mean))]
    )
    accuracy = ", ".join(f"{n} {_score(m.pixel_accuracy)}" for n, m in splits.items())
    note = "A dash: the class is neither in the images nor predicted; it is left out of the mean."
    soft = f'<p class="soft">Pixel accuracy: {accuracy}. {note}</p>'
    return "".join([*notes, table(head, rows), soft])


def _confusions(run: Path) -> str:
    shown, notes = [], []
    for split in ("val", "test"):
        path = PurePath(f"confusion_{split}.png")
        if (run / path).is_file():
            shown.append(picture(path, f"{split}: rows are the truth", kind="plot"))
        else:
            notes.append(missing(f"There is no {path}."))
    return f'{"".join(notes)}<div class="plots">{"".join(shown)}</div>'


def _use(run: Path, config: Json, classes: list[str]) -> str:
    """The command, and what a program of one's own must know."""
    model = run / "model.onnx"
    if not model.is_file():
        return missing(f"There is no model.onnx: python -m segtf.export {quote(str(run))}")
    command = f"python -m segtf.predict {quote(str(model))} PHOTOS --out predictions"
    names = ", ".join(f"{i} {name}" for i, name in enumerate(classes))
    table_of_ends = table(
        ["", "name", "type", "shape", "meaning"],
        [
            ["input", "image", "uint8", "(N, H, W, 3)", "RGB, 0 to 255, as decoded"],
            ["output", "probabilities", "float32", f"(N, H, W, {len(classes) or 'C'})", "0 to 1"],
        ],
    )
    size = describe_size(config.get("crop") or config.get("size"))
    scale = (
        "crops of images at their full resolution," if config.get("crop") else "images squeezed to"
    )
    text = (
        f"Trained on {scale} {size} pixels. The "
        "preprocessing of the encoder is inside. Classes, colours, training size and what height "
        "and width must be divisible by stand in the metadata of the file."
    )
    return (
        f"<pre>{flags(command)}</pre>{table_of_ends}<p>Classes: {escape(names)}.</p>"
        f'<p>{escape(text)}</p><p><a href="{link(PurePath("model.onnx"))}">model.onnx</a></p>'
    )


def _environment(environment: Json | None) -> str:
    if environment is None:
        return missing("There is no environment.json: training has not begun.")
    return pairs({k: v for k, v in environment.items() if k != "command"})
