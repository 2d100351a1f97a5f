"""Train with a few settings of one's own, see the scores, keep the model or not:
`python -m segtf.experiment --config FILE`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segtf.inference.onnx_model import MODEL_FILE
from segtf.questions import NAME_RULE, Ask, ask_name, ask_yes_no, is_name
from segtf.reports.mlflow import Server, check_server, is_logged, keep_model, log_run, open_server
from segtf.run.config import Optimizer, TrainConfig
from segtf.run.folder import BEST, free_name, read_config, write_json
from segtf.train import check_files, train
from segtf.verdict import advice, read_scores, score_columns
from voc_builder.base.command import parse, run
from voc_builder.base.errors import UserError, add_cure
from voc_builder.base.progress import note

PROG = "python -m segtf.experiment"
RECIPES = Path(__file__).with_name("recipes")
RECORD = "experiment.json"  # in a run folder: under which id its server has it
CHANGED = ("data", "seed", "epochs", "learning_rate", "batch", "optimizer", "loss", "artifacts")
Json = dict[str, Any]


@dataclass(frozen=True)
class ExperimentConfig:
    """Train with a few settings of your own, see IoU and Dice, and keep the model on the MLflow
    server or not. Settings and scores are always written down there.
    """

    recipe: str | None = None
    """What all experiments have in common: a YAML file for segtf.train, or the name of one of
    segtf/recipes. Runs and models are filed under its name."""
    data: Path | None = None
    """Data set, as for segtf.train; null: the recipe's."""
    seed: int | None = None
    """Decides first weights, order and augmentation; null, here and below: as the recipe has it."""
    epochs: int | None = None
    """Passes over the training images."""
    learning_rate: float | None = None
    """Peak of the learning rate."""
    batch: int | None = None
    """Images a step."""
    optimizer: Optimizer | None = None
    """Optimiser, by Keras's name."""
    loss: str | None = None
    """Sum of loss terms, as for segtf.train."""
    good_iou: float = 0.5
    """IoU on val, 0 to 1, of the class that is target, below which keeping the model is advised
    against."""
    name: str | None = None
    """Who experiments, in Latin letters; null: asked for."""
    keep: Literal["yes", "no", "ask"] = "ask"
    """Whether the model is kept on the server."""
    log_run: Path | None = None
    """Instead of training: put this run on the server, which could not be reached when it was
    trained, or keep its model after all."""
    artifacts: Path | None = None
    """Where runs, data sets and the store go if MLFLOW_TRACKING_URI names no server; null: the
    recipe's."""

    def __post_init__(self) -> None:
        if self.recipe is None:
            raise UserError(
                "--recipe: name what is to be trained, or a file with all settings: "
                f"--config {RECIPES / 'experiment.yaml'}"
            )
        if not 0 <= self.good_iou <= 1:
            raise UserError(f"--good-iou {self.good_iou}: must be at least 0 and at most 1")
        if self.name is not None and not is_name(self.name):
            raise UserError(f"--name {self.name!r}: {NAME_RULE}")

    @property
    def title(self) -> str:
        """Under which name runs and models are filed."""
        return Path(self.recipe or "").stem


def experiment(config: ExperimentConfig, ask: Ask = input) -> Path:
    """Trains, shows the scores, writes the run down and keeps its model if that is wanted; returns
    the run folder. Raises `UserError`, before training whatever can be known by then.
    """
    _check_answers(config)
    settings = _settings(config)
    server = open_server(config.artifacts or settings.artifacts)
    try:
        check_server(server)
        note(f"experiments are written down at {server.place}")
    except UserError as error:
        if config.log_run is not None:
            raise
        note(
            f"warning: {error}: training goes on without it, and ends by trying again; to mend it "
            "first, press Ctrl-C"
        )
    name = config.name or ask_name(ask)
    settings = _with_name(settings, config, name)
    folder = settings.run_folder if config.log_run is None else config.log_run
    again = _command_to_log(config, folder, name)
    if config.log_run is None:
        _train(settings, again)
    _judge(config, server, folder, name, again, ask)
    return folder


def _check_answers(config: ExperimentConfig) -> None:
    """Raises `UserError` naming the flags that are missing where nobody can be asked."""
    missing = [] if config.name else ["--name NAME"]
    missing += ["--keep yes or --keep no"] if config.keep == "ask" else []
    if missing and not sys.stdin.isatty():
        raise UserError(f"there is no terminal to ask at: give {' and '.join(missing)}")


def _settings(config: ExperimentConfig) -> TrainConfig:
    """The recipe with what the experiment changes; of a run that is trained its own settings."""
    if config.log_run is not None:
        return read_config(config.log_run)
    recipe = config.recipe or ""
    preset = RECIPES / f"{recipe}.yaml"
    path = preset if re.fullmatch(r"\w+", recipe) and preset.is_file() else Path(recipe)
    if not path.is_file():
        known = sorted(each.stem for each in RECIPES.glob("*.yaml") if each.stem != "experiment")
        raise UserError(f"--recipe {recipe}: neither one of {', '.join(known)} nor a YAML file")
    settings = parse(TrainConfig, str(path), ["--config", str(path)])
    changed = {name: getattr(config, name) for name in CHANGED}
    changed = {name: value for name, value in changed.items() if value is not None}
    settings = dataclasses.replace(settings, **changed, resume=False, overwrite=False)
    if config.keep == "yes" and not settings.export:
        raise UserError(f"{path}: export: false leaves no model that could be kept: leave it out")
    check_files(settings)
    return settings


def _with_name(settings: TrainConfig, config: ExperimentConfig, name: str) -> TrainConfig:
    """The settings with a run folder of its own, named after recipe and experimenter."""
    words = [config.title, *re.findall("[a-z]+", name.lower())]
    settings = dataclasses.replace(settings, run="-".join(words))
    return dataclasses.replace(settings, run=free_name(settings.run_folder))


def _command_to_log(config: ExperimentConfig, folder: Path, name: str) -> str:
    parts = ["--log-run", folder, "--recipe", config.recipe, "--name", name]
    if config.good_iou != ExperimentConfig.good_iou:
        parts += ["--good-iou", config.good_iou]
    if config.artifacts is not None:
        parts += ["--artifacts", config.artifacts]
    return f"{PROG} {shlex.join(map(str, parts))}"


def _train(settings: TrainConfig, again: str) -> None:
    """Trains; says of a run that was stopped or refused how it gets to the server later."""
    try:
        train(settings)
    except (UserError, OSError, KeyboardInterrupt):
        if (settings.run_folder / BEST).is_file():
            note(f"once it is trained and scored, put it on the server with: {again}")
        raise


def _judge(
    config: ExperimentConfig, server: Server, folder: Path, name: str, again: str, ask: Ask
) -> None:
    """Shows the scores of a run, writes it down, and keeps its model if that is wanted."""
    scores = read_scores(folder)
    print(f"\n{score_columns(scores)}\n\n{advice(scores['val'], config.good_iou)}")
    with add_cure(f"the run is in {folder}: go on with: {again}", (OSError, UserError)):
        try:
            print(_filed(config, server, folder, name, again, ask))
        except KeyboardInterrupt:
            note(f"\nstopped: the model is not kept; go on with: {again}")
            raise


def _filed(
    config: ExperimentConfig, server: Server, folder: Path, name: str, again: str, ask: Ask
) -> str:
    """Writes a run down and keeps its model if that is wanted; says what the server has now."""
    record = _logged(server, folder, config.title, name)
    if record["version"] is not None:
        version = record["version"]
        return (
            f"the model is kept already, as version {version} of {config.title} at {server.place}"
        )
    if not _wanted(config, server, folder, ask):
        return (
            f"settings and scores are written down at {server.place}, the model is not kept; to "
            f"keep it after all: {again} --keep yes"
        )
    version = keep_model(server, folder, record["run_id"], model=config.title)
    write_json({**record, "version": version}, folder / RECORD)
    return f"the model is kept as version {version} of {config.title} at {server.place}"


def _logged(server: Server, folder: Path, title: str, name: str) -> Json:
    """What the server has of a run: its id, and the version of the model that was kept."""
    path = folder / RECORD
    record: Json = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if record.get("server") != server.place or not is_logged(record["run_id"]):
        run_id = log_run(server, folder, experiment=title, name=name)
        record = {"server": server.place, "run_id": run_id, "version": None}
        write_json(record, path)
    return record


def _wanted(config: ExperimentConfig, server: Server, folder: Path, ask: Ask) -> bool:
    if not (folder / MODEL_FILE).is_file():
        note(f"{folder}: no {MODEL_FILE}, so there is no model to keep")
        return False
    if config.keep != "ask":
        return config.keep == "yes"
    return bool(ask_yes_no(f"Keep the model on the server ({server.place})?", ask))


def _command(config: ExperimentConfig) -> None:
    experiment(config)


def main() -> int:
    """The command line."""
    return run(_command, ExperimentConfig, PROG)


if __name__ == "__main__":
    raise SystemExit(main())
