"""Export a run as SavedModel and ONNX and compare their answers: `python -m segtf.export`."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segtf.exporting.postprocess_choice import MaskStore
from segtf.exporting.precision import FILES, add_precision, training_images
from segtf.exporting.quality import (
    quality_table,
    require_quality,
    scores_on_val,
    with_changes,
)
from segtf.exporting.report import ExportReport, write_export
from segtf.exporting.run import (
    IMAGES,
    export_run,
    network_hash,
    on_val,
    previous_export,
    require_parity,
)
from segtf.inference.backends import keras_predict
from segtf.inference.onnx_model import MODEL_FILE, OnnxModel, Precision
from segtf.inference.postprocess import describe
from segtf.run.config import TrainConfig
from segtf.run.folder import BEST, read_config, read_data, read_run_dataset
from voc_builder.base.command import run
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from segtf.data.records import Split


@dataclass(frozen=True)
class ExportConfig:
    """Export the network of a run as SavedModel and ONNX, and check that both answer as the Keras
    network does."""

    run: Path
    """Run folder."""
    precision: Precision = "float32"
    """float32: model.onnx; float16, for GPUs: model_float16.onnx; int8, for CPUs: model_int8.onnx,
    calibrated on train images."""
    accept_loss: bool = False
    """Keep float16 or int8 even if it loses more than 0.01 of the mean IoU on val."""


def export(config: ExportConfig) -> ExportReport:
    """Export a run in the wanted precision; float32 only if `model.onnx` is not up to date. Raises
    `UserError` if engines disagree or the run has no network yet.
    """
    from voc_builder.base.tensorflow import import_tensorflow

    folder, settings = config.run, read_config(config.run)
    dataset = read_run_dataset(folder)
    if not (folder / BEST).is_file():
        raise UserError(f"{folder}: no {BEST}: no epoch of this run has ended yet")
    import_tensorflow()
    from segtf.data.records import load_splits, loading

    report = None if config.precision == "float32" else _current_export(folder)
    names = ["val"] if report or not dataset.splits.get("test") else ["val", "test"]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".cache-") as disk:
        how = loading(settings, Path(disk), all_shards=True)
        splits = load_splits(dataset, names, how)
        report = report or _export_float32(folder, splits, settings)
        require_parity(report, folder)
        if config.precision != "float32":
            train = training_images(dataset, settings)
            report = add_precision(
                folder, report, config.precision, splits[0], train, accept_loss=config.accept_loss
            )
    return report


def _current_export(folder: Path) -> ExportReport | None:
    """The report of the last export, if `model.onnx` is of the run's network."""
    report = previous_export(folder)
    if report is None or not (folder / MODEL_FILE).is_file():
        return None
    same = report.onnx_bytes == (folder / MODEL_FILE).stat().st_size
    return report if same and report.network == network_hash(folder) else None


def _export_float32(folder: Path, splits: list[Split], config: TrainConfig) -> ExportReport:
    """Exports float32 and measures what it loses on val, the first of the splits."""
    val, classes, masks = splits[0], read_data(folder)["classes"], MaskStore()
    before = scores_on_val(masks.keeping(keras_predict(folder / BEST)), val, classes)
    images = np.asarray(splits[-1].images[:IMAGES])
    report = export_run(folder, images, on_val(before, masks, val, config))
    after = scores_on_val(OnnxModel(folder / MODEL_FILE).probabilities, val, classes)
    float32 = with_changes(report.precisions["float32"], before, after)
    report = replace(report, precisions={**report.precisions, "float32": float32})
    write_export(report, folder)
    return report


def _command(config: ExportConfig) -> None:
    from segtf.reports.report import write_report

    report = export(config)
    worst = max(comparison.largest_difference for comparison in report.comparisons)
    print(f"{config.run / MODEL_FILE}: answers as Keras does, probabilities within {worst:.1e}")
    print(f"{quality_table(report)}\npost-processing: {describe(report.postprocess)}")
    write_report(config.run)
    entry = report.precisions[config.precision]
    require_quality(entry, config.run / FILES[config.precision], report.val.miou)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(_command, ExportConfig, "python -m segtf.export", argv)


if __name__ == "__main__":
    raise SystemExit(main())
