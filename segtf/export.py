"""SavedModel and ONNX of a run, and the proof that they answer alike: `python -m segtf.export`."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.architectures import size_multiple
from segtf.config import TrainConfig
from segtf.engines import INFO, keras_predict, saved_model_predict
from segtf.onnx_model import MODEL_FILE as ONNX
from segtf.onnx_model import ModelInfo, OnnxModel, metadata_of, write_metadata
from segtf.run_folder import (
    BEST,
    EXPORT,
    SAVED_MODEL,
    read_config,
    read_data,
    read_run_dataset,
    write_json,
)
from voc_builder.colours import voc_colours
from voc_builder.command import run
from voc_builder.errors import UserError
from voc_builder.files import replacing
from voc_builder.tfrecord import reason_of

OPSET = 18  # the highest that tf2onnx writes
FREE = ("batch", "height", "width")  # names of the sizes that a graph leaves open
LARGEST_DIFFERENCE = 1e-4  # of a probability
EQUAL_ARGMAX = 0.9999  # share of pixels with the same class
PHOTOS = 16  # real photos that the parity is measured on


@dataclass(frozen=True)
class ExportConfig:
    """Write SavedModel and ONNX of a run and prove that they answer as its Keras network does."""

    run: Path
    """Run folder."""


def export_run(folder: Path, photos: NDArray[np.uint8]) -> dict[str, Any]:
    """Writes `saved_model/`, `model.onnx` and `export.json` into the run folder; returns the last.

    `photos`, shape (N, size, size, 3), are what the parity is measured on.
    """
    import tensorflow as tf

    # the GPU's shortened float32 differs from other machines by more than the tolerance
    tf.config.experimental.enable_tensor_float_32_execution(False)
    config = read_config(folder)
    info = model_info(config, read_data(folder))
    _write_saved_model(folder / BEST, folder / SAVED_MODEL, info)
    _write_onnx(folder / SAVED_MODEL, folder / ONNX, info)
    report = {
        **parity(
            {
                "keras": keras_predict(folder / BEST),
                "saved_model": saved_model_predict(folder / SAVED_MODEL),
                "onnx": OnnxModel(folder / ONNX).probabilities,
            },
            photos,
        ),
        "onnx": {"bytes": (folder / ONNX).stat().st_size, "opset": OPSET},
    }
    write_json(report, folder / EXPORT)
    return report


def require_parity(report: dict[str, Any], folder: Path) -> None:
    """Raises `UserError` if, by its `export.json`, a network does not answer alike everywhere."""
    if not report["passed"]:
        raise UserError(
            f"{folder / EXPORT}: Keras, SavedModel and ONNX differ by more than "
            f"{LARGEST_DIFFERENCE} or in more than {1 - EQUAL_ARGMAX:.2%} of pixels: do not use "
            f"{ONNX}; try another --arch or --encoder"
        )


def model_info(config: TrainConfig, data: dict[str, Any]) -> ModelInfo:
    """What must be known to use the network of a run."""
    r_g_b = voc_colours(len(data["classes"])).tolist()
    return ModelInfo(
        classes=tuple(data["classes"]),
        colours=tuple((r, g, b) for r, g, b in r_g_b),
        size=config.side,
        multiple=size_multiple(config.arch),
        fixed=config.arch == "pspnet",
        arch=config.arch,
        encoder="" if config.arch == "unet_plain" else config.encoder,
        dataset_sha256=data["sha256"],
        version=version("segtf"),
        mode="tile" if config.crop else "resize",
    )


def parity(engines: dict[str, Any], photos: NDArray[np.uint8]) -> dict[str, Any]:
    """How far the answers of the engines lie apart, pair by pair, on real photos."""
    names = list(engines)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    largest, equal = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0)
    pixels = photos.shape[0] * photos.shape[1] * photos.shape[2]
    for photo in photos:
        answers = {name: predict(photo[None])[0] for name, predict in engines.items()}
        for a, b in pairs:
            difference = float(np.abs(answers[a] - answers[b]).max())
            # a NaN must not pass for agreement
            largest[a, b] = max(largest[a, b], np.inf if np.isnan(difference) else difference)
            equal[a, b] += int((answers[a].argmax(-1) == answers[b].argmax(-1)).sum())
    comparisons = [
        {
            "a": a,
            "b": b,
            "largest_difference": largest[a, b],
            "equal_argmax": equal[a, b] / pixels,
            "passed": largest[a, b] <= LARGEST_DIFFERENCE and equal[a, b] / pixels >= EQUAL_ARGMAX,
        }
        for a, b in pairs
    ]
    return {
        "photos": len(photos),
        "tolerance": {"probability": LARGEST_DIFFERENCE, "argmax": EQUAL_ARGMAX},
        "comparisons": comparisons,
        "passed": all(comparison["passed"] for comparison in comparisons),
    }


def _write_saved_model(network: Path, out: Path, info: ModelInfo) -> None:
    import keras
    import tensorflow as tf

    from segtf.model import load_model

    model = load_model(network)
    image = tf.TensorSpec(model.inputs[0].shape, tf.uint8, name="image")
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serve",
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[image],
    )
    with replacing(out) as beside:
        try:
            archive.write_out(str(beside), verbose=False)
        except tf.errors.OpError as error:
            raise UserError(f"{out}: cannot be written: {reason_of(error)}") from error
        (beside / INFO).parent.mkdir(exist_ok=True)
        text = json.dumps(metadata_of(info), ensure_ascii=False, indent=2)
        (beside / INFO).write_text(text, encoding="utf-8")


def _write_onnx(saved_model: Path, out: Path, info: ModelInfo) -> None:
    os.environ.setdefault("TF2ONNX_LOG_LEVEL", "ERROR")
    import onnx
    import tensorflow as tf
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    loaded = tf.saved_model.load(str(saved_model))  # kept: it owns the weights
    serve = loaded.signatures["serving_default"]
    (image,) = serve.structured_input_signature[1].values()
    network = tf.function(lambda image: serve(image=image))
    model, _ = tf2onnx.convert.from_function(network, input_signature=[image], opset=OPSET)
    for value in (*model.graph.input, *model.graph.output):
        for dim, name in zip(value.type.tensor_type.shape.dim, FREE, strict=False):
            if dim.dim_param:
                dim.dim_param = name  # instead of numbers that mean nothing
    with replacing(out) as beside:
        onnx.save(model, beside)
        write_metadata(beside, info)


def _command(config: ExportConfig) -> None:
    import tempfile

    from voc_builder.tfrecord import import_tensorflow

    settings = read_config(config.run)
    dataset = read_run_dataset(config.run)
    import_tensorflow()
    from segtf.data import load_splits, loading

    name = "test" if dataset.splits.get("test") else "val"
    with tempfile.TemporaryDirectory(dir=config.run, prefix=".cache-") as disk:
        how = loading(settings, Path(disk), all_shares=True)
        (split,) = load_splits(dataset, (name,), how)
        report = export_run(config.run, np.asarray(split.images[:PHOTOS]))
    require_parity(report, config.run)
    worst = max(c["largest_difference"] for c in report["comparisons"])
    print(f"{config.run / ONNX}: answers as Keras does, probabilities within {worst:.1e}")


def main() -> int:
    """The command line."""
    return run(_command, ExportConfig, "python -m segtf.export")


if __name__ == "__main__":
    raise SystemExit(main())
