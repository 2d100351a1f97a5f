"""Show everything about a run on one page, `report.html`, that opens from disk."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path, PurePath
from shlex import quote
from typing import Any

import yaml

from segtf.config import CONFIG, DATA, ENVIRONMENT, EXPORT, LOG
from segtf.log import Log, best_epoch, read_log
from segtf.page import Section, bar, link, missing, pairs, picture, render_page, swatch, table
from segtf.report_photos import photo_gallery, progress_gallery
from voc_builder.colours import voc_colours
from voc_builder.errors import UserError
from voc_builder.files import replacing
from voc_builder.overlay import format_share

Json = dict[str, Any]


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run folder from whatever lies there, and says on the page what
    does not; returns its path. Raises `UserError` for what is no run folder and for a damaged file.
    """
    if not (run / CONFIG).is_file():
        raise UserError(f"{run}: not a run folder (no {CONFIG}): name one of artifacts/runs")
    config = _read_config(run / CONFIG)
    about, environment = _read_json(run / DATA), _read_json(run / ENVIRONMENT)
    val, test = _read_json(run / "metrics_val.json"), _read_json(run / "metrics_test.json")
    export = _read_json(run / EXPORT)
    log = read_log(run / LOG) if (run / LOG).is_file() else None
    classes = (test or val or about or {}).get("classes", [])
    sections = [
        Section("result", "Result", _result(val, test, export, classes)),
        Section("data", "Data", _about_data(about)),
        Section("training", "Training", _training(run, config, environment, log)),
        Section("scores", "Scores", _scores(run, val, test, classes)),
        Section("confusion", "Confusion matrices", _confusions(run)),
        Section("export", "Export", _export(run, export)),
        Section("photos", "Photos that training never saw", photo_gallery(run, test or val)),
        Section("progress", "As training went on", progress_gallery(run)),
        Section("use", "How to use the model", _use(run, config, classes)),
        Section("environment", "Environment", _environment(environment)),
    ]
    keys = ("arch", "encoder", "size", "data")
    subtitle = " · ".join(f"{key} {config[key]}" for key in keys if config.get(key) is not None)
    out = run / "report.html"
    with replacing(out) as beside:
        beside.write_text(render_page(_name(run), subtitle, sections), encoding="utf-8")
    return out


def _name(run: Path) -> str:
    return run.resolve().name


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


def _class_name(index: int, name: str) -> str:
    return f"{swatch(voc_colours(index + 1)[index])}{escape(name)}"


def _result(val: Json | None, test: Json | None, export: Json | None, classes: list[str]) -> str:
    """The few numbers that one looks for first."""
    metrics, split = (test, "test") if test else (val, "val")
    notes = [] if test else [missing("There are no test scores: no test photos, or no end yet.")]
    if metrics is None:
        return "".join([*notes, missing("There are no validation scores either.")])
    cards = [
        f'<div class="card first">mean IoU, {split}<b>{_score(metrics["miou"])}</b>'
        f'<span class="soft">Dice {_score(metrics["dice_mean"])}</span></div>'
    ]
    cards += [
        f'<div class="card"><span class="name">{_class_name(i, name)}</span>'
        f"<b>{_score(metrics['iou'].get(name))}</b>"
        f'<span class="soft">IoU; Dice {_score(metrics["dice"].get(name))}</span></div>'
        for i, name in enumerate(classes)
    ]
    text = f"{metrics['images']} {split} photos at {metrics['size']} x {metrics['size']} pixels"
    text += f", pixel accuracy {_score(metrics['pixel_accuracy'])}"
    if export:
        verdict = "answer alike" if export["passed"] else "DO NOT answer alike"
        kind = "good" if export["passed"] else "bad"
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
        label = _class_name(index, name) if name in classes else escape(name)
        counts = {split: about["pixels"][split].get(name, 0) for split in splits}
        cells = [
            f'{format_share(counts[s] / totals[s])} <span class="soft">{counts[s]:,}</span>'
            for s in splits
        ]
        rows.append([label, *cells])
    where = f"<code>{escape(str(about['path']))}</code>, SHA-256 <code>{about['sha256']}</code>"
    head = ["share of pixels", *splits]
    return f'{table(head, rows)}<p class="soft">{where}</p>'


def _training(run: Path, config: Json, environment: Json | None, log: Log | None) -> str:
    parts = []
    if environment and environment.get("command"):
        parts.append(f"<pre>{escape(str(environment['command']))}</pre>")
    if log is None:
        parts.append(missing("There is no log.csv: no epoch has ended."))
    else:
        parts.append(f"<p>{_pace(config, environment, log)}</p>")
    if (run / "curves.png").is_file():
        parts.append(picture(PurePath("curves.png"), "", kind="plot"))
    else:
        parts.append(
            missing(f"There is no curves.png: python -m scripts.plot_log {quote(str(run))}")
        )
    settings = f"<details><summary>All settings</summary>{pairs(config)}</details>"
    return "\n".join([*parts, settings])


def _pace(config: Json, environment: Json | None, log: Log) -> str:
    """Epochs, time and best epoch in a sentence or two."""
    done, planned = len(log["epoch"]), config.get("epochs")
    text = f"{done} of {planned} epochs" if planned else f"{done} epochs"
    if "seconds" in log:
        text += f" in {_duration(float(log['seconds'].sum()))}"
    if environment and environment.get("seconds") is not None:
        text += f" ({_duration(float(environment['seconds']))} with start and data)"
    best = best_epoch(log)
    if best is None:
        return text + "; no epoch has a validation score."
    score, epoch = log["val_miou"][best], int(log["epoch"][best]) + 1
    return text + f"; best validation mean IoU <b>{score:.4f}</b> in epoch <b>{epoch}</b>."


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _scores(run: Path, val: Json | None, test: Json | None, classes: list[str]) -> str:
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
        [_class_name(i, c), *(bar(m[k].get(c)) for m in splits.values() for k in ("iou", "dice"))]
        for i, c in enumerate(classes)
    ]
    rows.append(
        ["<b>mean</b>", *(bar(m[k]) for m in splits.values() for k in ("miou", "dice_mean"))]
    )
    accuracy = ", ".join(f"{n} {_score(m['pixel_accuracy'])}" for n, m in splits.items())
    note = "A dash: the class is neither in the photos nor predicted; it is left out of the mean."
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


def _export(run: Path, export: Json | None) -> str:
    if export is None:
        return missing(f"There is no export.json: python -m segtf.export {quote(str(run))}")
    rows = [
        [
            f"{escape(c['a'])} – {escape(c['b'])}",
            f"{c['largest_difference']:.1e}",
            f"{100 * c['equal_argmax']:.4f}&nbsp;%",
            _verdict(c["passed"]),
        ]
        for c in export["comparisons"]
    ]
    head = ["pair", "largest difference of a probability", "pixels of equal class", ""]
    limits = export["tolerance"]
    text = f"On {export['photos']} real photos; allowed: {limits['probability']:g} and "
    text += f"{limits['argmax']:.2%}."
    if "onnx" in export:
        megabytes = export["onnx"]["bytes"] / 1e6
        text += f" model.onnx: {megabytes:.1f} MB, opset {export['onnx']['opset']}."
    return f'{table(head, rows)}<p class="soft">{escape(text)}</p>'


def _verdict(passed: bool) -> str:
    return f'<span class="{"good" if passed else "bad"}">{"passed" if passed else "FAILED"}</span>'


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
    text = (
        f"Trained on photos squeezed to {config.get('size')} x {config.get('size')} pixels. The "
        "preprocessing of the encoder is inside. Classes, colours, training size and what height "
        "and width must be divisible by stand in the metadata of the file."
    )
    return (
        f"<pre>{escape(command)}</pre>{table_of_ends}<p>Classes: {escape(names)}.</p>"
        f'<p>{escape(text)}</p><p><a href="{link(PurePath("model.onnx"))}">model.onnx</a></p>'
    )


def _environment(environment: Json | None) -> str:
    if environment is None:
        return missing("There is no environment.json: training has not begun.")
    return pairs({k: v for k, v in environment.items() if k != "command"})
