"""From annotated images to a trained, measured, exported network: `python -m segtf.train`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtf.finish import check_places, finish
from segtf.run.architectures import describe_inside, padding_of
from segtf.run.config import TrainConfig, augmentation_file
from segtf.run.folder import (
    AUGMENT,
    BACKUP,
    DATA,
    STATE,
    free_name,
    read_run_dataset,
    resumed,
    write_config,
    write_json,
)
from segtf.run.loss_expression import parse_class_weights
from segtf.run.provenance import TRAINED_ON, refuse_trained_on, trained_on
from segtf.run.size import padded
from segtf.training.cluster import LOST, Absent, barrier, joined, leave
from segtf.training.environment import Start, recorded
from segtf.training.init_from import check_weights
from segtf.training.stopping import Stop
from voc_builder.base.command import given, run
from voc_builder.base.errors import UserError, add_cure
from voc_builder.base.files import making, replacing
from voc_builder.base.progress import note
from voc_builder.base.tensorflow import import_tensorflow
from voc_builder.build import BuildConfig
from voc_builder.cache import build_cached
from voc_builder.sources.config import source_settings

if TYPE_CHECKING:
    import albumentations
    import keras

    from segtf.training.sizing import Sizing
    from voc_builder.tree.voc import Dataset

PROG = "python -m segtf.train"


def command_line(prog: str) -> str:
    """The command line of this process, as `environment.json` keeps it."""
    return shlex.join([*prog.split(), *sys.argv[1:]])


def train(config: TrainConfig, *, command: str | None = None) -> Path:
    """Trains, evaluates on val and test, exports and draws; returns the run folder. With
    `config.resume` the settings are those that the run began with. `command` is recorded in
    `environment.json`. Raises `UserError` for what the user can fix, KeyboardInterrupt on Ctrl-C,
    `Terminated` on SIGTERM.

    TensorFlow keeps the memory of training as long as the process lives; the command line frees it
    before evaluation, see `hand_over`.
    """
    config = train_network(config, command=command)
    if config.process_id == 0:
        _finish(config)
    return config.run_folder


def train_network(config: TrainConfig, *, command: str | None = None) -> TrainConfig:
    """Trains, without evaluation and export; returns the configuration with every default decided.
    Raises what `train` does.
    """
    start = Start(time.time(), command)
    if config.resume:
        config = resumed(config)
    else:
        check_files(config)  # before anything is built
    _use_backend(config)
    if config.processes > 1 and _is_trained(config):
        note(f"training of {config.run_folder} is complete")
        return config
    return _train_together(config, start, Stop())


def check_files(config: TrainConfig) -> None:
    """Raises `UserError` for a file that `config` names and that is missing or of another kind.
    Needs no framework.
    """
    from segtf.data.pipelines import load_pipeline

    augmentation_file(config.augment)  # at once, without albumentations
    check_weights(config)
    check_places(config)
    load_pipeline(config.augment)


def _is_trained(config: TrainConfig) -> bool:
    """Whether a resumed run has only its evaluation left, for which the first process needs no
    others: those that have ended well may never start again.
    """
    state = config.run_folder / BACKUP / STATE
    if not config.resume or not state.is_file():
        return False
    try:
        values = json.loads(state.read_text(encoding="utf-8"))
        return bool(values["epochs"] == config.epochs or values["stopped"])
    except (ValueError, KeyError, TypeError):
        return False  # damaged: reported when it is restored


def _train_together(config: TrainConfig, start: Start, stop: Stop) -> TrainConfig:
    """Trains, with the other processes if there are any; returns the configuration with every
    default decided.
    """
    with (
        making(config.artifacts),
        # an error of its removal must not hide the first error
        tempfile.TemporaryDirectory(
            dir=config.artifacts, prefix=".cache-", ignore_cleanup_errors=True
        ) as disk,
        stop.listening(),
        joined(config, lambda: shutil.rmtree(disk, ignore_errors=True), stop.ask) as watch,
    ):
        if config.process_id > 0:  # the first process builds the data set that all then read
            barrier(config, "built")
        dataset = open_dataset(config)
        if config.process_id == 0:
            barrier(config, "built")
        asked = watch.forwarding(stop) if watch else stop
        return _train(config, dataset, Path(disk), start, stop, asked)


def _use_backend(config: TrainConfig) -> None:
    """Sets the backend of Keras, which reads it when it is imported. Raises `UserError` if Keras
    has another one already.
    """
    os.environ["KERAS_BACKEND"] = config.backend
    if config.deterministic and config.backend == "jax":  # read when JAX is imported
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()
    keras = sys.modules.get("keras")
    if keras is not None and keras.backend.backend() != config.backend:
        raise UserError(
            f"--backend {config.backend}: Keras runs on {keras.backend.backend()} in this process "
            "already: train in another process"
        )


def hand_over(folder: Path) -> int:
    """Replaces this process by `segtf.finish`, which evaluates, exports and draws a trained run:
    that frees the memory of training, which TensorFlow would keep. Returns an exit code where the
    system cannot replace a process.
    """
    command, environment = _command_to_finish(folder)
    for stream in filter(None, (sys.stdout, sys.stderr)):  # None where it is closed
        stream.flush()
    with add_cure(f"training is saved, go on with: {shlex.join(['python', *command[1:]])}"):
        if os.name == "posix":
            os.execve(command[0], command, environment)
        return subprocess.run(command, env=environment, check=False).returncode


def _command_to_finish(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment of `segtf.finish`, which runs on TensorFlow."""
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    # -m would look for modules in the working directory first; -P leaves it out
    here = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
    return [sys.executable, *here, "-m", "segtf.finish", str(folder)], environment


def _finish(config: TrainConfig) -> None:
    """Evaluates, exports and draws in this process, or in another one where this one runs JAX."""
    if config.backend == "tensorflow":
        finish(config.run_folder)
        return
    command, environment = _command_to_finish(config.run_folder)
    ended = subprocess.run(command, env=environment, check=False)
    if ended.returncode not in (0, 1):  # 1: something was left out, as it has said
        raise UserError(
            f"{config.run_folder}: training finished, evaluation failed (see above). Fix it, then "
            f"run: python -m segtf.finish {shlex.quote(str(config.run_folder))}"
        )


def open_dataset(config: TrainConfig) -> Dataset:
    """The data set to train on; for a resumed run the one that it began with."""
    if config.resume:
        return read_run_dataset(config.run_folder)
    dataset = build_cached(
        BuildConfig(
            config.data,
            config.artifacts / "datasets",
            split=config.split,
            split_from=config.split_from,
            seed=config.split_seed,
            unlabelled=config.unlabelled,
            skip_bad=config.skip_bad,
            folds=config.folds,
            **source_settings(config),
        ),
        {"seed": "split_seed"},  # --seed is the one of the weights here
    )
    return dataset if config.fold is None else dataset.in_fold(config.fold)


def _check_dataset(dataset: Dataset, config: TrainConfig) -> None:
    empty = [name for name in ("train", "val") if not dataset.splits[name]]
    if empty:
        raise UserError(
            f"{dataset.path}: no images in {' and '.join(empty)}: choose another --split "
            "or --split-from"
        )
    for name in ("train", "val"):
        if not any(dataset.pixels[name].get(label) for label in dataset.classes):
            raise UserError(
                f"{dataset.path}: the {name} masks are all void: choose another --split or "
                "--split-seed, or annotate them"
            )
    pixels = [dataset.pixels["train"][label] for label in dataset.classes]
    parse_class_weights(config.class_weights, dataset.classes, pixels)  # before anything is lost


def _check_size(dataset: Dataset, config: TrainConfig) -> None:
    if dataset.record_size and (config.crop or dataset.record_size < max(config.shape)):
        needs = f"--size {config.size} needs larger ones"
        if config.crop:
            needs = f"--crop {config.crop} needs them at full resolution"
        raise UserError(
            f"{dataset.path}: its records hold images of {dataset.record_size} x "
            f"{dataset.record_size}, {needs}: build it again without --record-size"
        )


def _named(config: TrainConfig) -> TrainConfig:
    """`config` with the name of a run folder that may be written to. Raises `UserError`."""
    if config.resume or config.overwrite or config.process_id > 0:
        return replace(config, run=config.run_folder.name)
    if config.run is None:
        return replace(config, run=free_name(config.run_folder))
    if config.run_folder.exists():
        raise UserError(
            f"{config.run_folder}: this run exists: continue it with --resume, replace it with "
            "--overwrite, or choose another --run"
        )
    return config


def _train(
    config: TrainConfig,
    dataset: Dataset,
    disk: Path,
    start: Start,
    stop: Stop,
    asked: Callable[[], bool],
) -> TrainConfig:
    """Trains into the run folder; returns the configuration with every default decided."""
    from segtf.training.sizing import decide

    config, sizing = _named(config), None
    _check_dataset(dataset, config)
    if not config.resume:
        refuse_trained_on(config, dataset)
    import_tensorflow()
    from segtf.training.devices import has_gpu, leave_gpus_to_jax

    if not config.resume:
        config, sizing = decide(config, dataset, gpu=None if has_gpu() else False)
    _check_size(dataset, config)
    _warn_of_unused_flags(config)

    if config.backend == "jax":
        leave_gpus_to_jax()  # TensorFlow only reads records here
    from segtf.data.pipelines import check_pipeline
    from segtf.data.records import load_splits, loading
    from segtf.training.fitting import fit
    from segtf.training.prepare import prepare

    if config.resume:
        config = replace(config, augment=str(config.run_folder / AUGMENT))
    pipeline = check_pipeline(config.augment, config.shape)
    config, devices, model = prepare(config, dataset.classes, len(dataset.splits["train"]))
    splits = load_splits(dataset, ("train", "val"), loading(config, disk))
    if sizing and config.process_id == 0:
        # nothing can be refused any more: only now an older run of this name is replaced
        _begin(config, dataset, pipeline, sizing)
    barrier(config, "begun")
    images = ", ".join(f"{len(dataset.splits[split.name])} {split.name}" for split in splits)
    note(
        f"{config.run_folder}: {images} images, {config.arch}, batch {config.batch}, "
        f"{' '.join(devices.gpus) or 'CPU'}, {devices.policy}"
    )
    if not config.crop:
        note(f"images are resized to {describe_inside(config.arch, config.shape)}")
    if config.backend == "tensorflow" and not devices.gpus:
        _report_memory(config, model)
    with recorded(config, start, devices.gpus), stop.waiting():
        fit(config, devices, model, {split.name: split for split in splits}, dataset, asked)
    return config


def _report_memory(config: TrainConfig, model: keras.Model) -> None:
    """Prints the memory that training will take and what is free; warns if it is not enough."""
    from segtf.data.memory import free_memory, taken_memory
    from segtf.training.devices import training_bytes
    from segtf.training.fitting import smaller_steps

    assert config.batch is not None
    inside = padded(config.shape, padding_of(config.arch, config.shape))
    taken, wanted = taken_memory(), training_bytes(model, inside, config.batch)
    free = free_memory()
    note(
        f"memory: training takes about {(taken + wanted) / 1e9:.1f} GB of "
        f"{(taken + free) / 1e9:.1f} GB"
    )
    if wanted > free:
        note(f"warning: that may be too much: {smaller_steps(config)}")


def _warn_of_unused_flags(config: TrainConfig) -> None:
    """Names the settings of crops where images are resized, as --size auto may have chosen."""
    if config.crop is None:
        for name in ("crops", "foreground"):
            if getattr(config, name) != getattr(TrainConfig, name):
                note(f"warning: --{name} has no effect: images are resized; --crop N cuts them")


def _begin(
    config: TrainConfig, dataset: Dataset, pipeline: albumentations.Compose, sizing: Sizing
) -> None:
    """Makes the run folder with its settings. Raises `UserError` if another process made it."""
    from segtf.data.pipelines import write_pipeline
    from segtf.training.sizing import write_sizing

    assert config.batch is not None
    if config.run_folder.exists() and not config.overwrite:
        raise UserError(
            f"{config.run_folder}: another training has begun this run meanwhile: start again, or "
            "choose a --run"
        )
    with replacing(config.run_folder) as beside:
        write_json(_data(dataset, config), beside / DATA)
        write_pipeline(pipeline, beside / AUGMENT)
        write_sizing(beside, sizing, batch=config.batch)
        write_config(config, beside)


def _data(dataset: Dataset, config: TrainConfig) -> dict[str, Any]:
    """The values of `data.json`."""
    return {
        **({} if config.fold is None else {"fold": config.fold}),
        "path": str(dataset.path.resolve()),  # found from any working directory
        "sha256": dataset.sha256,
        "classes": list(dataset.classes),
        "images": {name: len(ids) for name, ids in dataset.splits.items()},
        "pixels": dataset.pixels,
        TRAINED_ON: trained_on(config, dataset),
    }


def _command(config: TrainConfig) -> int:
    if config.resume:
        resumed(config, given(TrainConfig, PROG))  # refuses flags that differ from the run's
    try:
        config = train_network(config, command=command_line(PROG))
    except Absent as error:
        print(f"{PROG}: error: {error}", file=sys.stderr)
        return LOST
    return hand_over(config.run_folder) if config.process_id == 0 else 0


def main() -> int:
    """The command line. Ends the process itself if other processes still train."""
    try:
        code = run(_command, TrainConfig, PROG)
    except Exception:
        traceback.print_exc()
        code = 1
    return leave(code)


if __name__ == "__main__":
    raise SystemExit(main())
