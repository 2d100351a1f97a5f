"""Train variations of one setting, several seeds of each, and tabulate them:
python -m scripts.ablation VARIATIONS.yaml --data TREE --flags "--size 128 --epochs 20"
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.compare import CompareConfig, compare
from voc_builder.command import run
from voc_builder.errors import UserError
from voc_builder.progress import note


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
    """Where the runs go; those that are finished there are not trained again."""


def ablation(config: AblationConfig) -> None:
    """Trains what is not trained yet and writes the table. Raises `UserError` for a file that is
    not of variations, and if a training fails.
    """
    folders = []
    for seed in config.seeds.split(","):  # all variations first, so that a row is never alone
        for name, settings in read_variations(config).items():
            folder = config.artifacts / "runs" / f"{name}-seed{seed}"
            folders.append(folder)
            if not (folder / "metrics_val.json").is_file():
                _train(config, name, settings, seed, goes_on=(folder / "config.yaml").is_file())
    print(compare(CompareConfig(tuple(folders), out=config.artifacts)))


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


def _train(
    config: AblationConfig, name: str, settings: dict[str, Any], seed: str, *, goes_on: bool
) -> None:
    command = [sys.executable, "-m", "segtf.train", "--run", f"{name}-seed{seed}"]
    command += ["--artifacts", str(config.artifacts)]
    if goes_on:
        command += ["--resume"]
    else:
        command += ["--data", str(config.data), "--seed", seed, "--no-export"]
        command += shlex.split(config.flags)
        for setting, value in settings.items():
            flag = setting.replace("_", "-")
            command += (
                [f"--{'' if value else 'no-'}{flag}"]
                if isinstance(value, bool)
                else [f"--{flag}", str(value)]
            )
    note(shlex.join(["python", *command[1:]]))
    ended = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise UserError(f"{name}, seed {seed}: not trained: {said}")


def _command(config: AblationConfig) -> None:
    ablation(config)


def main() -> int:
    """The command line."""
    return run(_command, AblationConfig, "python -m scripts.ablation")


if __name__ == "__main__":
    raise SystemExit(main())
