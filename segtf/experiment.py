"""Train with a few settings of one's own, see the scores, keep the model or not:
`python -m segtf.experiment --config FILE`.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from segtf.inference.onnx_model import MODEL_FILE
from segtf.reports.mlflow import Server, check_server, is_logged, keep_model, log_run, open_server
from segtf.run.config import Optimizer, TrainConfig
from segtf.run.folder import BEST, free_name, read_config, write_json
from segtf.scoring.format import score_text, text_table
from segtf.scoring.operating import target_class
from segtf.scoring.split_scores import SplitScores, read_run_scores
from segtf.train import check_files, command_line, train
from voc_builder.base.command import parse, run
from voc_builder.base.errors import UserError, add_cure
from voc_builder.base.progress import note

PROG = "python -m segtf.experiment"
RECIPES = Path(__file__).with_name("recipes")
RECORD = "experiment.json"  # in a run folder: its id on the server
CHANGED = ("data", "seed", "epochs", "learning_rate", "batch", "optimizer", "loss", "artifacts")
NAME = re.compile(r"(?=.{1,60}\Z)[A-Za-z]+(?:[-' ][A-Za-z]+)*")
NAME_RULE = (
    "a name has at most 60 Latin letters, A to Z, with one hyphen, apostrophe or space between "
    "them, such as Anna-Maria O'Neil"
)
ANSWERS = {"yes": True, "y": True, "no": False, "n": False}
Ask = Callable[[str], str]  # like the built-in `input`
Json = dict[str, Any]


@dataclass(frozen=True)
class ExperimentConfig:
    """Train with a few settings of your own, see IoU and Dice, and keep the model on the MLflow
    server or not. Settings and scores are always logged there.
    """

    recipe: str | None = None
    """Settings that all experiments share: a YAML file for segtf.train, or the name of one of
    segtf/recipes. Runs and models are filed under its name."""
    data: Path | None = None
    """Data set, as for segtf.train; null: the recipe's."""
    seed: int | None = None
    """Seed for initialisation, shuffling and augmentation; null, here and below: the recipe's."""
    epochs: int | None = None
    """Passes over the training images."""
    learning_rate: float | None = None
    """Peak of the learning rate."""
    batch: int | None = None
    """Images per step."""
    optimizer: Optimizer | None = None
    """Optimiser, by Keras's name."""
    loss: str | None = None
    """Sum of loss terms, as for segtf.train."""
    good_iou: float = 0.5
    """IoU of the target class on val, 0 to 1, below which the advice is not to keep the model."""
    name: str | None = None
    """Name of the experimenter, in Latin letters; null: asked for."""
    keep: Literal["yes", "no", "ask"] = "ask"
    """Whether the model is kept on the server."""
    log_run: Path | None = None
    """Instead of training: log this run, whose server could not be reached when it was trained, or
    keep its model after all."""
    artifacts: Path | None = None
    """Folder of runs and data sets, and of the MLflow store if MLFLOW_TRACKING_URI names no server;
    null: the recipe's."""

    def __post_init__(self) -> None:
        if self.recipe is None:
            raise UserError(
                "--recipe: missing; name one, or a file with all settings: "
                f"--config {RECIPES / 'experiment.yaml'}"
            )
        if not 0 <= self.good_iou <= 1:
            raise UserError(f"--good-iou {self.good_iou}: must be at least 0 and at most 1")
        if self.name is not None and not NAME.fullmatch(self.name):
            raise UserError(f"--name {self.name!r}: {NAME_RULE}")

    @property
    def title(self) -> str:
        """The name under which runs and models are filed."""
        return Path(self.recipe or "").stem


def experiment(config: ExperimentConfig, ask: Ask = input, *, command: str | None = None) -> Path:
    """Trains, shows the scores, logs the run and keeps its model if that is wanted; returns the run
    folder. `command` is recorded as for `train`. Raises `UserError`, before training wherever
    possible.
    """
    _check_answers(config)
    settings = _settings(config)
    server = open_server(config.artifacts or settings.artifacts)
    try:
        check_server(server)
        note(f"experiments are logged at {server.place}")
    except UserError as error:
        if config.log_run is not None:
            raise
        note(
            f"warning: {error}: training continues without it and tries again at the end; to fix "
            "it first, press Ctrl-C"
        )
    name = config.name or ask_name(ask)
    settings = _with_name(settings, config, name)
    folder = settings.run_folder if config.log_run is None else config.log_run
    again = _command_to_log(config, folder, name)
    if config.log_run is None:
        _train(settings, again, command)
    _judge(config, server, folder, name, again, ask)
    return folder


def _check_answers(config: ExperimentConfig) -> None:
    """Raises `UserError` naming the flags that are missing where nobody can be asked."""
    missing = [] if config.name else ["--name NAME"]
    missing += ["--keep yes or --keep no"] if config.keep == "ask" else []
    if missing and not sys.stdin.isatty():
        raise UserError(f"there is no terminal to ask at: give {' and '.join(missing)}")


def _settings(config: ExperimentConfig) -> TrainConfig:
    """The recipe with the changes of the experiment; the run's own settings with `log_run`."""
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
        raise UserError(f"{path}: export: false leaves no model to keep: remove it")
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


def _train(settings: TrainConfig, again: str, command: str | None) -> None:
    """Trains; an interrupted run says how it gets to the server later."""
    try:
        train(settings, command=command)
    except (UserError, OSError, KeyboardInterrupt):
        if (settings.run_folder / BEST).is_file():
            note(f"once it is trained and evaluated, log it with: {again}")
        raise


def _judge(
    config: ExperimentConfig, server: Server, folder: Path, name: str, again: str, ask: Ask
) -> None:
    """Shows the scores of a run, logs it, and keeps its model if that is wanted."""
    scores = read_scores(folder)
    print(f"\n{score_columns(scores)}\n\n{advice(scores['val'], config.good_iou)}")
    with add_cure(f"the run is in {folder}: go on with: {again}", (OSError, UserError)):
        try:
            print(_file(config, server, folder, name, again, ask))
        except KeyboardInterrupt:
            note(f"\nstopped: the model is not kept; go on with: {again}")
            raise


def _file(
    config: ExperimentConfig, server: Server, folder: Path, name: str, again: str, ask: Ask
) -> str:
    """Logs a run and keeps its model if that is wanted; returns a line about both."""
    record, where = _logged(server, folder, config.title, name), f"{config.title} at {server.place}"
    if record["version"] is not None:
        return f"the model is kept already, as version {record['version']} of {where}"
    if not _wanted(config, server, folder, ask):
        return (
            f"settings and scores are logged at {server.place}, the model is not kept; to keep it "
            f"after all: {again} --keep yes"
        )
    version = keep_model(server, folder, record["run_id"], model=config.title)
    write_json({**record, "version": version}, folder / RECORD)
    return f"the model is kept as version {version} of {where}"


def _logged(server: Server, folder: Path, title: str, name: str) -> Json:
    """Logs a run, once per server: its id there, and the version of the model if one is kept."""
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


def ask_name(ask: Ask = input) -> str:
    """The experimenter's name, asked for until it is valid. Raises `UserError` at the end of the
    input.
    """
    while True:
        try:
            text = ask("Your name, in Latin letters: ").strip()
        except EOFError:
            raise UserError("no name was given, nothing was trained") from None
        if NAME.fullmatch(text):
            return text
        print(NAME_RULE)


def ask_yes_no(question: str, ask: Ask = input) -> bool | None:
    """The answer to `question`, asked for until it is valid; None at the end of the input."""
    while True:
        try:
            text = ask(f"{question} [yes/no] ").strip().lower()
        except EOFError:
            print()  # the prompt has no end of line
            return None
        if text in ANSWERS:
            return ANSWERS[text]
        print("answer yes or no")


def read_scores(folder: Path) -> dict[str, SplitScores]:
    """The scores on val, and on test if it was evaluated. Raises `UserError`."""
    scores = read_run_scores(folder)
    if "val" not in scores:
        raise UserError(
            f"{folder}: no scores on val: name a run that is trained, or finish it with "
            f"python -m segtf.finish {shlex.quote(str(folder))}"
        )
    return scores


def target_iou(scores: SplitScores) -> tuple[str, float | None]:
    """The target class and its IoU; the mean of all where there is only background."""
    target = target_class(scores.classes)
    if target is None:
        return "the mean", scores.miou
    name = scores.classes[target.class_id]
    return name, scores.iou[name]


def advice(scores: SplitScores, good_iou: float) -> str:
    """Whether a model with these scores on val should be kept."""
    name, iou = target_iou(scores)
    if iou is None:
        return f"{name} is on no image of val, so its IoU is unknown: better not keep the model"
    if iou < good_iou:
        return (
            f"{name} has an IoU of {iou:.4f} on val, below good_iou {good_iou}: better not keep "
            "the model"
        )
    return f"{name} has an IoU of {iou:.4f} on val, good_iou is {good_iou}: worth keeping"


def score_columns(scores: dict[str, SplitScores]) -> str:
    """IoU and Dice of each class and their means as text, a pair of columns for each split."""
    first, splits = scores["val"], list(scores.values())
    target = target_iou(first)[0]
    rows = [["", *(f"{score} {split}" for split in scores for score in ("IoU", "Dice"))]]
    for name in first.classes:
        of_class = [by_class[name] for each in splits for by_class in (each.iou, each.dice)]
        marked = f"{name} (target)" if name == target else name
        rows.append([marked, *map(score_text, of_class)])
    means = [mean for each in splits for mean in (each.miou, each.dice_mean)]
    rows.append(["mean", *map(score_text, means)])
    return text_table(rows)


def _command(config: ExperimentConfig) -> None:
    experiment(config, command=command_line(PROG))


def main() -> int:
    """The command line."""
    return run(_command, ExperimentConfig, PROG)


if __name__ == "__main__":
    raise SystemExit(main())
