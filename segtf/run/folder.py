"""The folder of a run: its files, settings and data set."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from voc_builder.base.command import old_names, parse
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.tree.voc import Dataset, read_dataset

if TYPE_CHECKING:  # prediction imports the names of files, not the training configuration
    from segtf.run.config import TrainConfig

# files and folders in a run folder
CONFIG, DATA, ENVIRONMENT, EXPORT = "config.yaml", "data.json", "environment.json", "export.json"
LOG, BEST, SAVED_MODEL = "log.csv", "best.keras", "saved_model"
BACKUP, STATE = "backup", "state.json"  # the second lies in the first
OVERLAYS, PROGRESS = "overlays", "progress"  # the second lies in the first
SHOWN = "overlays/scores.json"  # of the masks that the overlays show
PREDICTIONS = "predictions"  # of the images of --predict
AUGMENT = "augment.yaml"  # the augmentation pipeline


def write_config(config: TrainConfig, run: Path) -> None:
    """Writes `config.yaml`; it is also what `--config` reads."""
    from segtf.run.config import OF_THIS_START

    values = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in dataclasses.asdict(config).items()
        if key not in OF_THIS_START
    }
    with replacing(run / CONFIG) as beside:
        beside.write_text(
            yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )


def read_config(run: Path) -> TrainConfig:
    """The settings of a run. Raises `UserError` if `run` is not a run folder."""
    from segtf.run.config import TrainConfig

    path = run / CONFIG
    if not path.is_file():
        raise UserError(f"{run}: not a run folder (no {CONFIG}): name one of artifacts/runs")
    text = path.read_text(encoding="utf-8", errors="replace")
    # older runs have the default size, 512, beside their crop, and old names
    crop = re.search(r"^crop: (\d+)", text, re.MULTILINE)
    size = ["--size", crop[1]] if crop else []
    settings = str(path)
    for old, name in old_names(TrainConfig).items():
        renamed = re.sub(rf"^{old}:", f"{name}:", text, flags=re.MULTILINE)
        if renamed != text:
            settings = text = renamed
    return parse(TrainConfig, str(path), ["--config", settings, *size])


def resumed(config: TrainConfig, given: Collection[str] = ()) -> TrainConfig:
    """The settings that the run began with. Raises `UserError` if one of the fields that were
    `given` has another value in `config`.
    """
    from segtf.run.config import OF_THIS_START

    saved = read_config(config.run_folder)
    asked = [
        f"--{field.name.replace('_', '-')} {getattr(config, field.name)} "
        f"(the run has {getattr(saved, field.name)})"
        for field in dataclasses.fields(config)
        if field.name in given
        and field.name not in ("run", "artifacts", *OF_THIS_START)
        and getattr(config, field.name) != getattr(saved, field.name)
    ]
    if asked:
        raise UserError(f"--resume keeps a run's settings; leave out {', '.join(asked)}")
    here = {name: getattr(config, name) for name in ("run", "artifacts", *OF_THIS_START)}
    return dataclasses.replace(saved, **here)


def free_name(folder: Path) -> str:
    """The name of a run folder, with a number appended if the folder exists."""
    taken = {path.name for path in folder.parent.glob("*")}
    numbered = (f"{folder.name}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (folder.name, *numbered) if name not in taken)


def write_json(values: dict[str, Any], path: Path) -> None:
    """Writes indented JSON. Raises ValueError for NaN, which is not JSON."""
    with replacing(path) as beside:
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        beside.write_text(text + "\n", encoding="utf-8")


def read_data(run: Path) -> dict[str, Any]:
    """The data set that a run was trained on: `path` of its VOC tree, `sha256`, `classes`, number
    of `images` and `pixels` by split. Raises `UserError` if the run has none.
    """
    path = run / DATA
    if not path.is_file():
        raise UserError(f"{run}: not a run folder (no {DATA}): name one of artifacts/runs")
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["path"], values["sha256"], values["classes"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error!r}): train the run again") from None
    return values


def read_run_dataset(run: Path) -> Dataset:
    """The data set that a run was trained on. Raises `UserError` if it is missing or has changed:
    with other splits, images of training would be scored as test images.
    """
    data = read_data(run)
    dataset = read_dataset(Path(data["path"]))
    if dataset.sha256 != data["sha256"]:
        raise UserError(
            f"{dataset.path}: not the data set that {run} was trained on any more (SHA-256 "
            f"{dataset.sha256[:10]}, then {data['sha256'][:10]}): train again"
        )
    return dataset if "fold" not in data else dataset.in_fold(data["fold"])


SIZING = "sizing.json"  # in a run folder


def read_sizing(folder: Path) -> dict[str, Any] | None:
    """The values of `sizing.json`; None if there is none. Raises `UserError` if damaged."""
    path = folder / SIZING
    if not path.is_file():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["paragraph"], values["bounds"]["span"], values["survey"]["objects"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: damaged ({error!r}): delete it, the report goes without"
        ) from None
    return values
