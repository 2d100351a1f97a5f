"""Train variations of one setting, several seeds of each, and tabulate them:
python -m scripts.ablation VARIATIONS.yaml --data TREE --flags "--size 128 --epochs 20"
"""

from __future__ import annotations

import dataclasses
import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from segtf.compare import CompareConfig, compare
from segtf.reports.runs import missing_files
from segtf.run.config import OF_THIS_START, TrainConfig
from segtf.run.folder import CONFIG, read_config, read_sizing
from segtf.run.size import size_of
from voc_builder.base.command import parse, run
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

TRAIN = "python -m segtf.train"
DECIDED = ("batch", "learning_rate", "shares", "crops")  # by training, where they are null
SCORELESS = ("run", "artifacts", "export", "cache", "backup_share", *OF_THIS_START)


@dataclass(frozen=True)
class AblationConfig:
    """Train every variation with every seed, one after the other, and tabulate them."""

    variations: Path
    """YAML file: a name for each variation, and the settings in which it differs."""
    data: Path = Path("fishki_labelme")
    """Folder of annotations or VOC tree, the same for all."""
    flags: str = "--size 128 --epochs 20"
    """Further flags of segtf.train for all."""
    seeds: str = "1,2,3"
    """Seeds of first weights, order and augmentation; the split is the same for all."""
    only: str = ""
    """Names of variations to train, with commas; all if empty."""
    artifacts: Path = Path("artifacts/ablation")
    """Where the runs go; those that are finished there are not trained again, others go on."""


@dataclass(frozen=True)
class _Training:
    """A variation with a seed."""

    name: str  # of its run
    folder: Path
    flags: list[str]  # of segtf.train


def ablation(config: AblationConfig) -> None:
    """Trains what is not trained yet and writes the table. Raises `UserError` for a file that is
    not of variations, for runs that were trained with other settings, and if a training fails.
    """
    variations = read_variations(config)
    trainings = [
        _Training(
            f"{name}-seed{seed}",
            config.artifacts / "runs" / f"{name}-seed{seed}",
            _flags(config, settings, seed),
        )
        for seed in config.seeds.split(",")  # all variations first, so that a row is never alone
        for name, settings in variations.items()
    ]
    _refuse_others(trainings)  # before the first of them takes its hours
    for one in trainings:
        begun = (one.folder / CONFIG).is_file()
        if not begun or missing_files(one.folder):
            _train(one, config.artifacts, goes_on=begun)
    print(compare(CompareConfig(tuple(one.folder for one in trainings), out=config.artifacts)))


def read_variations(config: AblationConfig) -> dict[str, dict[str, Any]]:
    """The settings of each variation by its name. Raises `UserError`."""
    try:
        found = yaml.safe_load(config.variations.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{config.variations}: cannot be read as YAML: {reason}") from None
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise UserError(
            f"{config.variations}: must be names with settings, such as 'mosaic: {{mosaic: 0.5}}'"
        )
    names = [name for name in config.only.split(",") if name]
    unknown = sorted(set(names) - set(found))
    if unknown:
        raise UserError(
            f"--only {config.only}: {config.variations} has no {', '.join(unknown)}, but "
            f"{', '.join(found)}"
        )
    return {name: settings for name, settings in found.items() if not names or name in names}


def _flags(config: AblationConfig, settings: dict[str, Any], seed: str) -> list[str]:
    flags = ["--data", str(config.data), "--seed", seed, "--no-export", *shlex.split(config.flags)]
    for setting, value in settings.items():
        flag = setting.replace("_", "-")
        flags += (
            [f"--{'' if value else 'no-'}{flag}"]
            if isinstance(value, bool)
            else [f"--{flag}", str(value)]
        )
    return flags


def _refuse_others(trainings: list[_Training]) -> None:
    """Raises `UserError` for runs that these flags would not have led to."""
    others = []
    for one in trainings:
        try:
            asked = parse(TrainConfig, TRAIN, one.flags)
        except UserError as error:
            raise UserError(f"{one.name}: {error}") from None
        unlike = _unlike(asked, one.folder) if (one.folder / CONFIG).is_file() else []
        if unlike:
            others.append(f"{one.folder}: was trained otherwise: {', '.join(unlike)}")
    if others:
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise UserError(f"{others[0]}{more}: choose another --artifacts")


def _unlike(asked: TrainConfig, folder: Path) -> list[str]:
    """Flags that a run begun with `asked` would not share with the run in `folder`, but for what
    training decides by itself and what changes no score.
    """
    saved = read_config(folder)
    sizing = read_sizing(folder)
    if asked.crop or asked.size is None:
        asked = replace(asked, size=size_of(asked.shape))
    elif asked.size == "auto" and sizing and sizing["chosen_by"] == "auto":
        asked = replace(asked, size=saved.size, crop=saved.crop)
    pairs = {
        field.name: (getattr(asked, field.name), getattr(saved, field.name))
        for field in dataclasses.fields(TrainConfig)
        if field.name not in SCORELESS
    }
    return [
        f"--{name.replace('_', '-')} {there}, not {here}"
        for name, (here, there) in pairs.items()
        if _whole(here) != _whole(there) and not (name in DECIDED and here is None)
    ]


def _whole(value: Any) -> Any:
    return value.resolve() if isinstance(value, Path) else value


def _train(training: _Training, artifacts: Path, *, goes_on: bool) -> None:
    """Raises `UserError` with what it said last if it fails."""
    command = [sys.executable, "-m", "segtf.train", "--run", training.name]
    command += ["--artifacts", str(artifacts)]
    command += ["--resume"] if goes_on else training.flags
    note(shlex.join(["python", *command[1:]]))
    # what Python says is in the encoding of the locale, what TensorFlow says may not be
    ended = subprocess.run(
        command,
        check=False,
        stderr=subprocess.PIPE,
        encoding="locale",
        errors="backslashreplace",
    )
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise UserError(f"{training.name}: not trained: {said}")


def _command(config: AblationConfig) -> None:
    ablation(config)


def main() -> int:
    """The command line."""
    return run(_command, AblationConfig, "python -m scripts.ablation")


if __name__ == "__main__":
    raise SystemExit(main())
