"""Write the network of a run as SavedModel and ONNX, with the metadata to run it."""

from __future__ import annotations

import json
import logging
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segtf.inference.backends import INFO
from segtf.inference.onnx_model import ModelInfo, metadata_of, write_metadata
from segtf.run.architectures import has_encoder, is_fixed, is_padded, size_multiple
from segtf.run.config import TrainConfig
from voc_builder.base.colours import voc_colours
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.tensorflow import reason_of

OPSET = 18  # the highest that tf2onnx writes
FREE = ("batch", "height", "width")  # names of the free sizes of a graph


def model_info(config: TrainConfig, data: dict[str, Any]) -> ModelInfo:
    """The metadata of the network of a run, from its settings and `data.json`."""
    r_g_b = voc_colours(len(data["classes"])).tolist()
    return ModelInfo(
        classes=tuple(data["classes"]),
        colours=tuple((r, g, b) for r, g, b in r_g_b),
        shape=config.shape,
        multiple=1 if is_padded(config.arch, config.shape) else size_multiple(config.arch),
        fixed=is_fixed(config.arch, config.shape),
        arch=config.arch,
        encoder=config.encoder if has_encoder(config.arch) else "",
        dataset_sha256=data["sha256"],
        version=version("segtf"),
        mode="tile" if config.crop else "resize",
    )


def write_saved_model(network: Path, out: Path, info: ModelInfo) -> None:
    """Convert a `.keras` file to the SavedModel folder `out`."""
    import keras
    import tensorflow as tf

    from segtf.networks.model import load_model

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


def write_onnx(saved_model: Path, out: Path, info: ModelInfo) -> None:
    """Convert a SavedModel folder to the ONNX file `out`."""
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
                dim.dim_param = name  # instead of meaningless numbers
    with replacing(out) as beside:
        onnx.save(model, beside)
        write_metadata(beside, info)
