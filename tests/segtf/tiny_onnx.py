"""An ONNX file whose answer can be worked out by hand: a class for each colour channel."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from segtf.onnx_model import ModelInfo, write_metadata

INFO = ModelInfo(
    classes=("red", "green", "синий"),
    colours=((0, 0, 0), (128, 0, 0), (0, 128, 0)),
    size=4,
    multiple=2,
    fixed=False,
    arch="unet",
    encoder="efficientnetb0",
    dataset_sha256="ab" * 32,
    version="0.1.0",
)


def write_channels_model(
    path: Path,
    *,
    info: ModelInfo | None = INFO,
    dtype: int = TensorProto.UINT8,
    size: int | str = "size",
    names: tuple[str, str] = ("image", "probabilities"),
) -> Path:
    """An ONNX file in which the probabilities are the three channels divided by 255."""
    given, made = names
    nodes = [
        helper.make_node("Cast", [given], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "scale"], [made]),
    ]
    graph = helper.make_graph(
        nodes,
        "channels",
        [helper.make_tensor_value_info(given, dtype, ["batch", size, size, 3])],
        [helper.make_tensor_value_info(made, TensorProto.FLOAT, ["batch", size, size, 3])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255])],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    if info is not None:
        write_metadata(path, info)
    return path
