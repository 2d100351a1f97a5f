"""Record the command, the packages and the duration of a training, and say how to resume it."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segtf.run.config import TrainConfig
from segtf.run.folder import BACKUP, BEST, CONFIG, ENVIRONMENT, write_json
from voc_builder.base.errors import UserError, add_cure
from voc_builder.base.progress import note

PACKAGES = (
    *("segtf", "tensorflow", "keras", "segmentation-models", "albumentations", "numpy"),
    *("opencv-python-headless", "tf2onnx", "onnx", "onnxruntime"),
)


@dataclass(frozen=True)
class Start:
    """When this process began to train, and its command line if it has one."""

    time: float  # seconds since the epoch
    command: str | None


@contextlib.contextmanager
def recorded(config: TrainConfig, start: Start, gpus: tuple[str, ...]) -> Iterator[None]:
    """Writes `environment.json`, and the seconds at the end; an error within says how to resume."""
    from segtf.training.backup import has_backup

    environment = _environment(config.run_folder, start, gpus)
    again = command_to_resume(config)
    with add_cure(f"training is saved, go on with: {again}"):
        try:
            if config.process_id == 0:
                write_json(environment, config.run_folder / ENVIRONMENT)
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):  # it must not hide the first error
                _add_seconds(config, environment, start)
            if isinstance(error, KeyboardInterrupt):
                note(f"stopped; go on with: {again}")
            best = shlex.quote(str(config.run_folder / BEST))
            if isinstance(error, UserError) and has_backup(config.run_folder / BACKUP):
                raise UserError(
                    f"{error}; training is saved: go on with {again}, or, with other settings, "
                    f"begin another run with --encoder-weights {best}"
                ) from error
            raise
        _add_seconds(config, environment, start)


def _add_seconds(config: TrainConfig, environment: dict[str, Any], start: Start) -> None:
    if config.process_id == 0 and (config.run_folder / CONFIG).is_file():
        seconds = environment["seconds"] + time.time() - start.time
        path = config.run_folder / ENVIRONMENT
        write_json({**environment, "seconds": round(seconds, 1)}, path)


def command_to_resume(config: TrainConfig) -> str:
    """The command line that resumes a run, in this process of several."""
    elsewhere = [] if config.artifacts == Path("artifacts") else ["--artifacts", config.artifacts]
    processes = ["--processes", config.processes, "--process-id", config.process_id]
    cluster = [*processes, "--coordinator", config.coordinator] if config.processes > 1 else []
    parts = ["--run", config.run_folder.name, *elsewhere, "--resume", *cluster]
    return f"python -m segtf.train {shlex.join(map(str, parts))}"


def _environment(folder: Path, start: Start, gpus: tuple[str, ...]) -> dict[str, Any]:
    """The values of `environment.json`. A resumed run keeps its first command, if one was recorded,
    and adds up its seconds.
    """
    import keras

    values: dict[str, Any] = {} if start.command is None else {"command": start.command}
    values |= {"resumed": [], "seconds": 0.0}
    values["started"] = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(start.time))
    if (folder / ENVIRONMENT).is_file():
        values = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        values["resumed"] = [*values["resumed"], start.command or "not recorded"]
    return {
        **values,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "backend": keras.backend.backend(),
        "gpus": list(gpus),
    }
