"""Score a run, a SavedModel or an ONNX file on a split: `python -m segtf.evaluate RUN`."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from segtf import metrics
from segtf.run_folder import read_data, read_run_dataset, write_json
from voc_builder.command import run
from voc_builder.errors import UserError

if TYPE_CHECKING:
    from segtf.data import Split
    from segtf.engines import Engine
    from voc_builder.voc import Dataset

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, S, S, 3) -> (N, S, S, C)


@dataclass(frozen=True)
class EvaluateConfig:
    """Score a run, a SavedModel or an ONNX file on a split."""

    model: Path
    """Run folder, SavedModel folder or ONNX file."""
    split: Literal["train", "val", "test"] = "test"
    """Photos to score on."""
    data: Path | None = None
    """VOC tree with TFRecords; null: the one that the run was trained on."""
    out: Path | None = None
    """Folder for metrics_SPLIT.json and confusion_SPLIT.png; null: the run's, for its own data."""
    batch: int = 4
    """Photos at once."""


@dataclass(frozen=True)
class Evaluation:
    """What the scores of a split are computed from."""

    counts: metrics.Counts  # (C, C), all photos
    photos: tuple[tuple[str, metrics.Counts], ...]  # id and counts of each


def evaluate_split(predict: Predict, split: Split, classes: int, batch: int) -> Evaluation:
    """Confusion matrices of `predict` over a split at its training size."""
    from voc_builder.progress import progress

    empty = np.zeros((classes, classes), np.int64)
    photos = dict.fromkeys(split.ids, empty)  # tiles of one photo come together again
    for start in progress(
        range(0, len(split), batch), -(-len(split) // batch), f"{split.name} batches scored"
    ):
        stop = min(start + batch, len(split))
        predictions = predict(np.asarray(split.images[start:stop])).argmax(-1).astype(np.uint8)
        for i, prediction in enumerate(predictions, start=start):
            found = metrics.confusion(split.masks[i], prediction, classes)
            photos[split.ids[i]] = photos[split.ids[i]] + found
    return Evaluation(sum(photos.values(), empty), tuple(photos.items()))


def scores(evaluation: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """Every score of DESIGN's `metrics_SPLIT.json` by its name; a class that is neither there nor
    predicted has none (null).
    """
    counts = evaluation.counts
    return {
        "images": len(evaluation.photos),
        "classes": list(classes),
        "iou": _by_class(classes, metrics.iou(counts)),
        "dice": _by_class(classes, metrics.dice(counts)),
        "miou": _number(metrics.miou(counts)),
        "dice_mean": _number(metrics.mean(metrics.dice(counts))),
        "pixel_accuracy": _number(metrics.pixel_accuracy(counts)),
        "iou_micro_imagewise": _number(
            metrics.iou_micro_imagewise(of_photo for _, of_photo in evaluation.photos)
        ),
        "confusion": counts.tolist(),
        "photos": [
            {
                "id": photo_id,
                "miou": _number(metrics.miou(of_photo)),
                "iou": _by_class(classes, metrics.iou(of_photo)),
            }
            for photo_id, of_photo in evaluation.photos
        ],
    }


def score_table(values: dict[str, Any]) -> str:
    """IoU and Dice of each class as text columns."""
    width = max(len(name) for name in (*values["classes"], "micro, imagewise"))
    rows = [("class", "IoU", "Dice")]
    rows += [
        (name, _text(values["iou"][name]), _text(values["dice"][name]))
        for name in values["classes"]
    ]
    rows += [
        ("mean", _text(values["miou"]), _text(values["dice_mean"])),
        ("pixel accuracy", _text(values["pixel_accuracy"]), ""),
        ("micro, imagewise", _text(values["iou_micro_imagewise"]), ""),
    ]
    return "\n".join(f"{name:<{width}}  {iou:>6}  {dice:>6}".rstrip() for name, iou, dice in rows)


def write_evaluation(
    values: dict[str, Any], split: str, out: Path, *, model: str, size: int, data: dict[str, str]
) -> None:
    """Writes `metrics_SPLIT.json` and `confusion_SPLIT.png` into the folder `out`; for a SavedModel
    or an ONNX file `metrics_SPLIT_saved_model.json`, `metrics_SPLIT_onnx.json` and so on.
    """
    from segtf.figures import draw_confusion

    record = {"split": split, "size": size, "model": model, "data": data, **values}
    name = split if model == "keras" else f"{split}_{model}"  # a run keeps those of its training
    write_json(record, out / f"metrics_{name}.json")
    draw_confusion(np.array(values["confusion"]), values["classes"], out / f"confusion_{name}.png")


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """The scores of a model on a split, written where `config` says."""
    from voc_builder.tfrecord import import_tensorflow

    if config.batch < 1:
        raise UserError(f"--batch {config.batch}: must be at least 1")
    tf = import_tensorflow()
    from segtf.data import Loading, load_splits
    from segtf.engines import open_engine

    engine = open_engine(config.model)
    dataset = _dataset_for(config, engine)
    if dataset.classes != engine.classes:
        raise UserError(
            f"{config.model} knows the classes {', '.join(engine.classes)}; {dataset.path} has "
            f"{', '.join(dataset.classes)}: score it on data of its own classes"
        )
    if not dataset.splits.get(config.split):
        raise UserError(f"--split {config.split}: {dataset.path} has no photos in it")
    # in the run folder, which is written to anyway: the data set may be read-only
    with tempfile.TemporaryDirectory(dir=engine.run, prefix=".cache-") as disk:
        how = Loading(engine.size, engine.crop, disk=Path(disk))
        (split,) = load_splits(dataset, (config.split,), how)
        try:
            found = evaluate_split(engine.predict, split, len(dataset.classes), config.batch)
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(
                f"--batch {config.batch}: out of memory: try {max(config.batch // 2, 1)}"
            ) from error
    values = scores(found, dataset.classes)
    own = engine.run is not None and dataset.sha256 == read_data(engine.run)["sha256"]
    out = config.out or (engine.run if own else None)
    if out is not None:
        write_evaluation(
            values,
            config.split,
            out,
            model=engine.kind,
            size=engine.size,
            data={"path": str(dataset.path), "sha256": dataset.sha256},
        )
    return values


def _dataset_for(config: EvaluateConfig, engine: Engine) -> Dataset:
    from voc_builder.voc import read_dataset

    about = {} if engine.run is None else read_data(engine.run)
    if config.data is not None:
        dataset = read_dataset(config.data)
        own = dataset.sha256 == about.get("sha256")
        # val as split is part of what a fold's network was trained on
        return dataset.in_fold(about["fold"]) if own and "fold" in about else dataset
    if engine.run is None:
        raise UserError(f"{config.model}: lies in no run folder: name its data set with --data")
    return read_run_dataset(engine.run)


def _by_class(classes: Sequence[str], values: metrics.Scores) -> dict[str, float | None]:
    return {name: _number(value) for name, value in zip(classes, values, strict=True)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _command(config: EvaluateConfig) -> None:
    values = evaluate(config)
    print(f"{config.split}: {values['images']} photos\n{score_table(values)}")


def main() -> int:
    """The command line."""
    return run(_command, EvaluateConfig, "python -m segtf.evaluate")


if __name__ == "__main__":
    raise SystemExit(main())
