"""Train variations of one configuration with several seeds and tabulate them:
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
DECIDED = ("batch", "learning_rate", "shards", "crops")  # by training where they are null
NO_EFFECT = ("run", "artifacts", "export", "cache", "backup_fraction", *OF_THIS_START)  # on scores


@dataclass(frozen=True)
class AblationConfig:
    """Train every variation with every seed, one after the other, and tabulate them."""

    variations: Path
    """YAML file: the name of each variation and the settings that it changes."""
    data: Path = Path("fishki_labelme")
    """Folder of annotations or VOC tree, the same for all."""
    flags: str = "--size 128 --epochs 20"
    """More flags of segtf.train, the same for all."""
    seeds: str = "1,2,3"
    """Seeds of initialisation, shuffling and augmentation; the split is the same for all."""
    only: str = ""
    """Names of variations to train, separated by commas; empty: all."""
    artifacts: Path = Path("artifacts/ablation")
    """Folder of the runs; finished runs there are kept, unfinished ones are resumed."""


@dataclass(frozen=True)
class _Training:
    """A variation with one seed."""

    folder: Path  # of its run
    flags: list[str]  # of segtf.train

    @property
    def started(self) -> bool:
        return (self.folder / CONFIG).is_file()


def ablation(config: AblationConfig) -> None:
    """Trains what is not trained yet and writes the table. Raises `UserError` for a file without
    variations, for runs that were trained with other settings, and if a training fails.
    """
    variations = read_variations(config)
    trainings = [
        _Training(
            config.artifacts / "runs" / f"{name}-seed{seed}",
            _flags_of(config, settings, seed),
        )
        for seed in config.seeds.split(",")  # a seed of all variations first: rows to compare
        for name, settings in variations.items()
    ]
    _check(trainings)  # before hours of training
    for training in trainings:
        if not training.started or missing_files(training.folder):
            _train(training, config.artifacts)
    folders = tuple(training.folder for training in trainings)
    print(compare(CompareConfig(folders, out=config.artifacts)))


def read_variations(config: AblationConfig) -> dict[str, dict[str, Any]]:
    """The settings of each variation by its name. Raises `UserError`."""
    path = config.variations
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise UserError(f"{path}: must be names with settings, such as 'mosaic: {{mosaic: 0.5}}'")
    names = [name for name in config.only.split(",") if name]
    unknown = ", ".join(sorted(set(names) - set(found)))
    if unknown:
        raise UserError(f"--only {config.only}: {path} has no {unknown}, but {', '.join(found)}")
    return {name: settings for name, settings in found.items() if not names or name in names}


def _flags_of(config: AblationConfig, settings: dict[str, Any], seed: str) -> list[str]:
    flags = ["--data", str(config.data), "--seed", seed, "--no-export", *shlex.split(config.flags)]
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{'' if value else 'no-'}{flag}")
        else:
            flags += [f"--{flag}", str(value)]
    return flags


def _check(trainings: list[_Training]) -> None:
    """Raises `UserError` for flags that are wrong and for runs that had other settings."""
    wrong = []
    for training in trainings:
        try:
            config = parse(TrainConfig, TRAIN, training.flags)
        except UserError as error:
            raise UserError(f"{training.folder.name}: {error}") from None
        differences = _differences(config, training.folder) if training.started else []
        if differences:
            wrong.append(f"{training.folder}: was trained with {', '.join(differences)}")
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise UserError(f"{wrong[0]}{more}: choose another --artifacts")


def _differences(asked: TrainConfig, folder: Path) -> list[str]:
    """The flags in which the run in `folder` differs from `asked`, without those that training
    decides and those without an effect on scores.
    """
    saved, sizing = read_config(folder), read_sizing(folder)
    if asked.crop or asked.size is None:
        asked = replace(asked, size=size_of(asked.shape))
    elif asked.size == "auto" and sizing and sizing["chosen_by"] == "auto":
        asked = replace(asked, size=saved.size, crop=saved.crop)
    differences = []
    for name in (field.name for field in dataclasses.fields(TrainConfig)):
        here, there = (_absolute(getattr(config, name)) for config in (asked, saved))
        if name in NO_EFFECT or here == there or (name in DECIDED and here is None):
            continue
        flag = name.replace("_", "-")
        differences.append(f"--{flag} {getattr(saved, name)}, not {getattr(asked, name)}")
    return differences


def _absolute(value: Any) -> Any:
    return value.resolve() if isinstance(value, Path) else value


def _train(training: _Training, artifacts: Path) -> None:
    """Trains or resumes. Raises `UserError` with the last line of stderr if it fails."""
    command = [sys.executable, "-m", "segtf.train", "--run", training.folder.name]
    command += ["--artifacts", str(artifacts)]
    command += ["--resume"] if training.started else training.flags
    note(shlex.join(["python", *command[1:]]))
    ended = subprocess.run(
        command, check=False, stderr=subprocess.PIPE, encoding="locale", errors="backslashreplace"
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{training.folder.name}: not trained: {last}")


def main() -> int:
    """The command line."""
    return run(ablation, AblationConfig, "python -m scripts.ablation")


if __name__ == "__main__":
    raise SystemExit(main())
