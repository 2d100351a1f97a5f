"""From annotated photos to a trained, measured, exported network: `python -m segtf.train`."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtf.config import (
    BEST,
    DATA,
    ENVIRONMENT,
    LOG,
    OVERLAYS,
    TrainConfig,
    read_run_dataset,
    resumed,
    write_config,
    write_json,
)
from voc_builder.cache import build_cached
from voc_builder.command import given, run
from voc_builder.errors import UserError
from voc_builder.progress import note
from voc_builder.tfrecord import import_tensorflow

if TYPE_CHECKING:
    from segtf.data import Split
    from voc_builder.voc import Dataset

PROG = "python -m segtf.train"
PACKAGES = (
    *("segtf", "tensorflow", "keras", "segmentation-models", "albumentations", "numpy"),
    *("opencv-python-headless", "tf2onnx", "onnx", "onnxruntime"),
)


def train(config: TrainConfig) -> Path:
    """Trains, evaluates on val and test, exports and draws; returns the run folder. With
    `config.resume` the settings are those that the run began with. Raises `UserError` for what the
    user can mend, KeyboardInterrupt on Ctrl-C.
    """
    started = time.time()
    config = resumed(config) if config.resume else config
    dataset = _dataset(config)
    _check(dataset, config.size)
    import_tensorflow()
    config = _named(config)
    config.artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.artifacts, prefix=".cache-") as disk:
        splits = _trained(config, dataset, Path(disk), started)
        _finish(config.run_folder, dataset, splits)
    return config.run_folder


def _dataset(config: TrainConfig) -> Dataset:
    """The data set to train on; for a resumed run the very one that it began with."""
    if config.resume:
        return read_run_dataset(config.run_folder)
    return build_cached(
        config.data,
        config.artifacts / "datasets",
        classes=config.classes,
        split=config.split,
        seed=config.seed,
        group_by=config.group_by,
        unlabelled=config.unlabelled,
        skip_bad=config.skip_bad,
    )


def _check(dataset: Dataset, size: int) -> None:
    empty = [name for name in ("train", "val") if not dataset.splits[name]]
    if empty:
        raise UserError(
            f"{dataset.path}: no photos in {' and '.join(empty)}: choose another --split"
        )
    if dataset.record_size and dataset.record_size < size:
        raise UserError(
            f"{dataset.path}: its records hold photos of {dataset.record_size} x "
            f"{dataset.record_size}, --size {size} wants more: build it again without --record-size"
        )


def _named(config: TrainConfig) -> TrainConfig:
    """`config` with the name of a run folder that may be written to."""
    if config.resume or config.overwrite:
        return replace(config, run=config.run_folder.name)
    if config.run is None:
        name = config.run_folder.name
        taken = {path.name for path in config.run_folder.parent.glob("*")}
        numbered = (f"{name}-{number}" for number in range(2, len(taken) + 3))
        return replace(config, run=next(n for n in (name, *numbered) if n not in taken))
    if config.run_folder.exists():
        raise UserError(
            f"{config.run_folder}: this run exists: go on with --resume, replace it with "
            "--overwrite, or choose another --run"
        )
    return config


def _trained(config: TrainConfig, dataset: Dataset, disk: Path, started: float) -> dict[str, Split]:
    """Fits the network into the run folder; returns the splits that it did not train on."""
    from segtf.data import load_splits
    from segtf.fitting import fit, prepare

    folder = config.run_folder
    config, devices, model = prepare(config, len(dataset.classes), len(dataset.splits["train"]))
    names = tuple(name for name, ids in dataset.splits.items() if ids)
    splits = {split.name: split for split in load_splits(dataset, names, config.size, disk)}
    # only now, when nothing is left to be refused, does an older run of this name go
    if config.overwrite and folder.exists():
        shutil.rmtree(folder)
    if not config.resume:
        write_json(_about(dataset), folder / DATA)
        write_config(config, folder)
    environment = _environment(folder, started)
    write_json(environment, folder / ENVIRONMENT)
    note(
        f"{folder}: {', '.join(f'{len(s)} {name}' for name, s in splits.items())} photos, "
        f"{config.arch}, batch {config.batch}, {' '.join(devices.gpus) or 'CPU'}, {devices.policy}"
    )
    try:
        fit(config, devices, model, splits.pop("train"), splits["val"], dataset.classes)
    except KeyboardInterrupt:
        elsewhere = (
            "" if config.artifacts == Path("artifacts") else f" --artifacts {config.artifacts}"
        )
        note(f"stopped; go on with: python -m segtf.train --run {folder.name}{elsewhere} --resume")
        raise
    finally:
        seconds = environment["seconds"] + time.time() - started
        write_json({**environment, "seconds": round(seconds, 1)}, folder / ENVIRONMENT)
    return splits


def _finish(folder: Path, dataset: Dataset, splits: dict[str, Split]) -> None:
    """Scores, export, pictures and report of the best network of a run."""
    from segtf.engines import keras_predict
    from segtf.evaluate import evaluate_split, score_table, scores, write_evaluation
    from segtf.export import PHOTOS, export_run, require_parity
    from segtf.figures import draw_curves
    from segtf.report import write_report

    draw_curves(folder / LOG, folder / "curves.png")
    predict = keras_predict(folder / BEST)
    for name, split in splits.items():
        values = scores(evaluate_split(predict, split, len(dataset.classes), 1), dataset.classes)
        write_evaluation(
            values,
            name,
            folder,
            model="keras",
            size=split.images.shape[1],
            data={"path": str(dataset.path), "sha256": dataset.sha256},
        )
        print(f"\n{name}: {len(split)} photos, best network\n{score_table(values)}")
    last = splits.get("test", splits["val"])
    report = export_run(folder, last.images[:PHOTOS])
    _draw_overlays(folder, dataset, last)
    print(f"\n{write_report(folder)}")
    require_parity(report, folder)


def _draw_overlays(folder: Path, dataset: Dataset, split: Split) -> None:
    """Every photo of a split at its full size, as the ONNX file sees it, the truth outlined."""
    from segtf.onnx_model import OnnxModel
    from segtf.predict import draw_photo, read_photo, write_file
    from voc_builder.images import encode_jpeg
    from voc_builder.png import decode_mask
    from voc_builder.progress import progress

    model = OnnxModel(folder)
    for photo_id in progress(split.ids, len(split), f"{split.name} overlays"):
        truth = decode_mask(dataset.mask(photo_id).read_bytes())
        _, overlay = draw_photo(model, read_photo(dataset.photo(photo_id)), truth=truth)
        write_file(folder / OVERLAYS / f"{photo_id}.jpg", encode_jpeg(overlay))


def _about(dataset: Dataset) -> dict[str, Any]:
    return {
        "path": str(dataset.path.resolve()),  # found from any working directory
        "sha256": dataset.sha256,
        "classes": list(dataset.classes),
        "images": {name: len(ids) for name, ids in dataset.splits.items()},
        "pixels": dataset.pixels,
    }


def _environment(folder: Path, started: float) -> dict[str, Any]:
    """What runs where; a resumed run keeps its first command and adds up its seconds."""
    import tensorflow as tf

    command = shlex.join(["python", "-m", "segtf.train", *sys.argv[1:]])
    before: dict[str, Any] = {"command": command, "resumed": [], "seconds": 0.0}
    before["started"] = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(started))
    if (folder / ENVIRONMENT).is_file():
        before = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        before["resumed"] = [*before["resumed"], command]
    return {
        **before,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "gpus": [gpu.name for gpu in tf.config.list_physical_devices("GPU")],
    }


def _command(config: TrainConfig) -> None:
    if config.resume:
        resumed(config, given(TrainConfig, PROG))  # refuses flags that the run does not have
    train(config)


def main() -> int:
    """The command line."""
    return run(_command, TrainConfig, PROG)


if __name__ == "__main__":
    raise SystemExit(main())
