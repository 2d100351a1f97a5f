"""SavedModel and ONNX of a run, and the proof that they answer alike: `python -m segtf.export`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segtf.exporting.export_precision import (
    add_precision,
    read_export,
    training_images,
)
from segtf.exporting.postprocess_choice import Answers
from segtf.exporting.precision import FILES
from segtf.exporting.quality import changes, quality_table, require_quality, scores_on_val
from segtf.exporting.run import IMAGES, Json, export_run, network_hash, on_val, require_parity
from segtf.inference.backends import keras_predict
from segtf.inference.onnx_model import MODEL_FILE as ONNX
from segtf.inference.onnx_model import OnnxModel, Precision
from segtf.inference.postprocess import describe
from segtf.run.config import TrainConfig
from segtf.run.folder import (
    BEST,
    EXPORT,
    read_config,
    read_data,
    read_run_dataset,
    write_json,
)
from voc_builder.base.command import run
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from segtf.data.records import Split


@dataclass(frozen=True)
class ExportConfig:
    """Write SavedModel and ONNX of a run and prove that they answer as its Keras network does."""

    run: Path
    """Run folder."""
    precision: Precision = "float32"
    """float32: model.onnx; float16, for GPUs: model_float16.onnx; int8, for CPUs: model_int8.onnx,
    calibrated on images of train."""
    accept_loss: bool = False
    """Keep float16 or int8 even if it loses more than 0.01 of the mean IoU on val."""


def export(config: ExportConfig) -> Json:
    """Exports a run in the precision that is wanted; returns its `export.json`. Raises `UserError`
    for a network that does not answer alike, and for a precision that loses too much.
    """
    from voc_builder.base.tensorflow import import_tensorflow

    folder, settings = config.run, read_config(config.run)
    dataset = read_run_dataset(folder)
    if not (folder / BEST).is_file():
        raise UserError(f"{folder}: no {BEST}: no epoch of this run has ended yet")
    import_tensorflow()
    from segtf.data.records import load_splits, loading

    report = read_export(folder)
    current = (
        config.precision != "float32"
        and (folder / ONNX).is_file()
        and report.get("network") == network_hash(folder / BEST)
        and report["onnx"]["bytes"] == (folder / ONNX).stat().st_size
    )
    wanted = ["val"] if current or not dataset.splits.get("test") else ["val", "test"]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".cache-") as disk:
        how = loading(settings, Path(disk), all_shares=True)
        splits = load_splits(dataset, wanted, how)
        if not current:
            report = _from_keras(folder, splits, settings)
        require_parity(report, folder)
        if config.precision != "float32":
            train = training_images(dataset, settings)
            report = add_precision(
                folder, config.precision, splits[0], train, accept_loss=config.accept_loss
            )
    return report


def _from_keras(folder: Path, splits: list[Split], config: TrainConfig) -> Json:
    """Exports float32, and measures what it loses on val, the first of the splits."""
    val, classes = splits[0], read_data(folder)["classes"]
    answers = Answers()
    scores = scores_on_val(answers.keeping(keras_predict(folder / BEST)), val, classes)
    report = export_run(
        folder, np.asarray(splits[-1].images[:IMAGES]), on_val(scores, answers, val, config)
    )
    after = scores_on_val(OnnxModel(folder / ONNX).probabilities, val, classes)
    report["precisions"]["float32"] |= changes(scores, after)
    write_json(report, folder / EXPORT)
    return report


def _command(config: ExportConfig) -> None:
    from segtf.reports.report import write_report

    report = export(config)
    worst = max(c["largest_difference"] for c in report["comparisons"])
    print(f"{config.run / ONNX}: answers as Keras does, probabilities within {worst:.1e}")
    print(f"{quality_table(report)}\npost-processing: {describe(report['postprocess'])}")
    write_report(config.run)
    entry = report["precisions"][config.precision]
    require_quality(entry, config.run / FILES[config.precision], report["val"]["miou"])


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(_command, ExportConfig, "python -m segtf.export", argv)


if __name__ == "__main__":
    raise SystemExit(main())
