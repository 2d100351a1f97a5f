"""Show why a network was trained as it was, how that went, and what held it back."""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePath
from shlex import quote
from typing import Any

from segtf.outputs.page import class_name, flags, link, missing, pairs, picture, prose, table
from segtf.run.folder import AUGMENT
from segtf.run.log import Log, best_epoch, waiting
from segtf.run.size import describe_size
from segtf.training.survey import SMALLEST
from voc_builder.base.classes import is_background

# of the time of training, spent waiting for input: below the first input costs next to nothing,
# from the second on a third of the time or so could be saved
LITTLE, MUCH = 0.1, 0.3
Json = dict[str, Any]


def sizing_section(sizing: Json | None, classes: list[str]) -> str:
    """The paragraph about framework, size and batch, and the objects that it speaks of."""
    if sizing is None:
        return missing("There is no sizing.json: training began before there was one.")
    survey, span = sizing["survey"], sizing["bounds"]["span"]
    parts = [f"<p>{prose(sizing['paragraph'])}</p>", pairs(sizing.get("table", {}))]
    parts.append(_image_table(survey))
    if survey["objects"]:
        parts += [_object_table(sizing, classes), _object_note(survey, span)]
    return "\n".join(parts)


def _image_table(survey: Json) -> str:
    counts = [f"{name} {count:,}" for name, count in survey["photos"].items()]
    rows = [
        [f"{name}, pixels", *(f"{value:,}" for value in survey[f"{name}s"])]
        for name in ("width", "height")
    ]
    head = [f"images: {', '.join(counts)}", "smallest", "median", "largest"]
    return table(head, rows)


def _object_table(sizing: Json, classes: list[str]) -> str:
    survey, span = sizing["survey"], sizing["bounds"]["span"]
    where = "in the records" if survey["record_size"] else "in the images"
    scale = "in crops" if sizing["crop"] else f"at {describe_size(sizing['size'])}"
    rows = [
        [
            class_name(classes.index(objects["name"]), objects["name"])
            if objects["name"] in classes
            else escape(objects["name"]),
            f"{objects['count']:,}",
            f"{objects['size']:,.1f}",
            f"<b>{objects['trained']:,.1f}</b>"
            if objects["trained"] >= span
            else f'<span class="bad">{objects["trained"]:,.1f}</span>',
        ]
        for objects in survey["objects"]
    ]
    return table(["objects", "count", f"px {where}", f"px {scale}"], rows)


def _object_note(survey: Json, span: int) -> str:
    """How the objects were counted."""
    text = (
        "Objects are connected pixels of a class in the masks of train and val; the test images "
        f"were not looked at. The pixels are those that the smallest {SMALLEST} % do not exceed, "
        f"as the square root of the area; red is below the {span} that are wanted."
    )
    if survey["masks"] < sum(survey["photos"].values()):
        text += f" {survey['masks']:,} masks were looked at, evenly spread."
    specks = sum(objects["specks"] for objects in survey["objects"])
    if specks:
        rests = f"{specks:,} rest{'s' if specks > 1 else ''} of annotation"
        text += f" Not counted: {rests} less than 3 pixels wide."
    if survey["background"] is not None and not is_background(survey["background"]):
        text += f" Class {survey['background']}, the first, counts as background."
    return f'<p class="soft">{prose(text)}</p>'


def training_section(
    run: Path, config: Json, environment: Json | None, sizing: Json | None, log: Log | None
) -> str:
    """The command, the course of the epochs, what held them back, and every setting."""
    parts = []
    if environment and environment.get("command"):
        parts.append(f"<pre>{flags(str(environment['command']))}</pre>")
    if log is None:
        parts.append(missing("There is no log.csv: no epoch has ended."))
    else:
        parts.append(f"<p>{_pace(config, environment, log)}</p>")
        parts.append(_bottleneck(config, environment, log))
    if (run / "curves.png").is_file():
        parts.append(picture(PurePath("curves.png"), "", kind="plot"))
    else:
        parts.append(
            missing(f"There is no curves.png: python -m scripts.plot_log {quote(str(run))}")
        )
    parts.append(_main_settings(run, config, environment, sizing))
    parts.append(f"<details><summary>All settings</summary>{pairs(config)}</details>")
    return "\n".join(parts)


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


def _bottleneck(config: Json, environment: Json | None, log: Log) -> str:
    """Whether input or arithmetic holds training back, and what to change; nothing for a log that
    does not tell.
    """
    share = waiting(log)
    if share is None:
        return ""
    gpus = (environment or {}).get("gpus")
    lighter = "a smaller --size or --crop, or a lighter --encoder"
    arithmetic = f"a faster GPU, {lighter}" if gpus else f"a GPU, {lighter}"
    memory = "" if config.get("cache") == "memory" else ", --cache memory if the images fit there"
    quicker = f"a lighter --augment, no --mosaic{memory}, or more CPU cores"
    waited = (
        f"{100 * share:.0f} % of the time of training was spent waiting for input (median of the "
        f"epochs from the second on; below {LITTLE:.0%} input costs next to nothing, from "
        f"{MUCH:.0%} on it is the bottleneck)".replace("0%", "0 %")
    )
    if share < LITTLE:
        verdict, cure = "Arithmetic holds training back", f"What makes it faster: {arithmetic}."
    elif share < MUCH:
        verdict = "Arithmetic holds training back more than input, but both do"
        cure = f"What makes it faster: {arithmetic}; {quicker} gain {100 * share:.0f} % at most."
    else:
        verdict = "Input holds training back"
        cure = f"What makes it faster: {quicker}. Quicker arithmetic would gain nothing."
    return f"<p><b>{verdict}</b>: {prose(waited)}. {prose(cure)}</p>"


def _main_settings(run: Path, config: Json, environment: Json | None, sizing: Json | None) -> str:
    """What decides most about a training, of what the run's files tell."""
    values: dict[str, object] = {}
    for key in ("loss", "class_weights"):
        if key in config:
            values[key.replace("_", " ")] = config[key]
    if "augment" in config:
        values["augment"] = config["augment"]
    if config.get("mosaic"):
        values["mosaic"] = config["mosaic"]
    if "fold" in config:
        fold, folds = config["fold"], config.get("folds")
        of_all = f"{fold} of {folds}" if folds else fold
        values["fold"] = "none: train and val as split" if fold is None else of_all
    sources = (environment or {}, sizing or {}, config)
    for key in ("backend", "processes"):
        found = [source[key] for source in sources if key in source]
        if found:
            values[key] = found[0]
    if not values:
        return ""
    pipeline = ""
    if (run / AUGMENT).is_file():
        pipeline = (
            f'<p class="soft">Augmentation, step by step: <a href="{link(PurePath(AUGMENT))}">'
        )
        pipeline += f"{AUGMENT}</a></p>"
    return pairs(values) + pipeline
