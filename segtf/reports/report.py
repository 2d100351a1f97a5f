"""Show everything about a run on one page, `report.html`, that opens from disk."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shlex import quote
from typing import Any

import yaml

from segtf.exporting.quality import quality_head, quality_rows
from segtf.exporting.report import EQUAL_ARGMAX, LARGEST_DIFFERENCE, read_export
from segtf.inference.postprocess import describe as describe_postprocessing
from segtf.outputs.gallery import shrink_image
from segtf.outputs.page import Section, content_style, render
from segtf.reports import report_training as training
from segtf.reports.object_figures import size_name
from segtf.run.folder import (
    CONFIG,
    DATA,
    ENVIRONMENT,
    LOG,
    OVERLAYS,
    PROGRESS,
    SHOWN,
    read_sizing,
)
from segtf.run.log import read_log
from segtf.run.size import describe_size
from segtf.scoring.faults import Faults, faults_of
from segtf.scoring.format import interval_text, percent, short_score
from segtf.scoring.intervals import FEW
from segtf.scoring.split_scores import SplitScores, read_run_scores, read_shown_scores
from segtf.scoring.tables import compared, decision_text, per_image
from segtf.training.survey import SMALLEST
from voc_builder.base.classes import is_background
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.pixels.images import decode_image, encode_jpeg
from voc_builder.pixels.overlay import format_fraction

THUMBNAIL = 480  # pixels, the longer side
STRIP = 1200  # pixels, the width of a progress picture on the page
THUMBNAILS = "thumbnails"  # folder in the run
TITLES = {  # of the templates in the folder `sections`, in order
    "result": "Result",
    "data": "Data",
    "size": "Framework, size and batch",
    "training": "Training",
    "scores": "Scores",
    "objects": "Objects found and missed",
    "confusion": "Confusion matrices",
    "export": "Export",
    "images": "Predictions on held-out images",
    "progress": "Predictions during training",
    "use": "How to use the model",
    "environment": "Environment",
}
Json = dict[str, Any]

__all__ = ["Section", "content_style", "sections", "write_report"]


def write_report(run: Path) -> Path:
    """Writes `report.html` into a run folder and returns its path. Raises `UserError` for a folder
    that is no run and for a damaged file.
    """
    parts = sections(run)
    config = _read_config(run / CONFIG)
    keys = ("arch", "encoder", "crop" if config.get("crop") else "size", "fold", "data")
    subtitle = " · ".join(f"{key} {config[key]}" for key in keys if config.get(key) is not None)
    page = render(
        Path(__file__).with_name("report.html"),
        title=run.resolve().name,
        subtitle=subtitle,
        sections=parts,
    )
    out = run / "report.html"
    with replacing(out) as beside:
        beside.write_text(page, encoding="utf-8")
    return out


def sections(run: Path) -> list[Section]:
    """The sections of a run's report, from whatever files its folder has; a section names those
    that are missing. Links are relative to the folder, into which the thumbnails of the images are
    written. Raises `UserError` for a folder that is no run and for a damaged file.
    """
    if not (run / CONFIG).is_file():
        raise UserError(f"{run}: not a run folder (no {CONFIG}): name one of artifacts/runs")
    values = _values(run)
    templates = Path(__file__).with_name("sections")
    found = []
    for name, title in TITLES.items():
        of_splits = _objects(run, values["scores"]) if name == "objects" else {name: {}}
        for anchor, more in of_splits.items():
            split = anchor.partition("-")[2]
            html = render(templates / f"{name}.html", **values, **more)
            found.append(Section(anchor, f"{title}: {split}" if split else title, html))
    return found


def _values(run: Path) -> Json:
    """The values that templates use: what the files of a run hold, and functions on it."""
    config = _read_config(run / CONFIG)
    data, environment = _read_json(run / DATA), _read_json(run / ENVIRONMENT)
    scores, sizing = read_run_scores(run), read_sizing(run)
    best_split = "test" if "test" in scores else "val"
    classes = list(scores[best_split].classes) if scores else (data or {}).get("classes", [])
    first = (sizing or {}).get("survey", {}).get("background")
    log = read_log(run / LOG) if (run / LOG).is_file() else None
    return {
        "run": quote(str(run)),
        "model": quote(str(run / "model.onnx")),
        "files": {path.name for path in run.iterdir()},
        "config": config,
        "data": data,
        "pixels": _pixels(data) if data else {},
        "environment": environment,
        "export": read_export(run),
        "largest_difference": LARGEST_DIFFERENCE,
        "equal_argmax": EQUAL_ARGMAX,
        "scores": scores,
        "best_split": best_split,
        "classes": classes,
        "sizing": sizing,
        "smallest": SMALLEST,
        "first_is_background": first is not None and not is_background(first),
        **training.values(config, environment, sizing, log),
        "images": _images(run),
        "progress": _progress(run),
        "describe_size": describe_size,
        "postprocessing": describe_postprocessing,
        "quality_head": quality_head,
        "quality_rows": quality_rows,
    }


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


def _pixels(data: Json) -> dict[str, list[tuple[int, str]]]:
    """Pixels of each class, and of ignored pixels if there are any, in each split, with the
    fraction that they are of the split.
    """
    splits = [data["pixels"][split] for split in data["images"]]
    ignored = {name for of in splits for name, count in of.items() if count} - {*data["classes"]}
    totals = [max(1, sum(of.values())) for of in splits]
    return {
        name: [
            (of.get(name, 0), format_fraction(of.get(name, 0) / total))
            for of, total in zip(splits, totals, strict=True)
        ]
        for name in (*data["classes"], *sorted(ignored))
    }


def _objects(run: Path, scores: dict[str, SplitScores]) -> dict[str, Json]:
    """The values of the section about objects of each split that was scored with them, by the id
    of the section.
    """
    functions = {
        "compared": compared,
        "per_image": per_image,
        "decision_text": decision_text,
        "few": FEW,
        "interval_text": interval_text,
        "percent": percent,
        "score": short_score,
        "size_name": size_name,
    }
    found: dict[str, Json] = {}
    for split in ("test", "val"):
        if split not in scores or scores[split].objects is None:
            continue  # an earlier version did not count objects
        faulty = [(row.id, faults_of(row)) for row in scores[split].rows]
        faulty = [(name, faults) for name, faults in faulty if faults.missed + faults.false]
        names = [f"{kind}_{split}.png" for kind in ("objects", "thresholds")]
        found[f"objects-{split}"] = {
            **functions,
            "of": scores[split],
            "pictures": [name for name in names if (run / name).is_file()],
            "faulty": sorted(faulty, key=lambda pair: (-pair[1].missed - pair[1].false, pair[0])),
        }
    return found or {"objects": {"of": None}}


def _images(run: Path) -> list[Json]:
    """The overlays of a run, those with the most faults first, by name where there are no scores
    of the masks that they show.
    """
    folder = run / OVERLAYS
    shown = read_shown_scores(run / SHOWN)
    scores = {} if shown is None else {row.id: row for row in shown.rows}
    images = []
    for path in folder.rglob("*.jpg"):
        if PROGRESS in path.relative_to(folder).parts or path.name.startswith("."):
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        row = scores.get(name)
        images.append(
            {
                "id": name,
                "path": path.relative_to(run),
                "thumbnail": _thumbnail(run, path, path.relative_to(folder), THUMBNAIL),
                "scores": row,
                "faults": Faults(0, 0, 0.0) if row is None else faults_of(row),
            }
        )
    return sorted(images, key=lambda image: (image["faults"].rank, image["path"].name))


def _progress(run: Path) -> list[Json]:
    """Pictures of the same few images after some of the epochs, in order."""
    folder = run / OVERLAYS / PROGRESS
    return [
        {
            "path": path.relative_to(run),
            "thumbnail": _thumbnail(run, path, path.relative_to(run / OVERLAYS), STRIP),
            "caption": re.sub(r"^epoch-0*(\d)", r"epoch \1", path.stem),  # epoch-0012.jpg
        }
        for path in sorted(folder.glob("*.jpg"))
        if not path.name.startswith(".")
    ]


def _thumbnail(run: Path, path: Path, name: Path, longest: int) -> Path:
    """Writes an image whose longer side has at most `longest` pixels; returns its path from the
    run folder.
    """
    small = shrink_image(decode_image(path.read_bytes(), str(path)), longest)
    with replacing(run / THUMBNAILS / name) as beside:
        beside.write_bytes(encode_jpeg(small, quality=85))
    return Path(THUMBNAILS, name)
