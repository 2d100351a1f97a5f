"""An ONNX file whose answer can be worked out by hand: a class for each colour channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from segtf.inference.onnx_model import ModelInfo, write_metadata

INFO = ModelInfo(
    classes=("red", "green", "синий"),
    colours=((0, 0, 0), (128, 0, 0), (0, 128, 0)),
    shape=(4, 4),
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
    shape: tuple[int | str, int | str] = ("height", "width"),
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
        [helper.make_tensor_value_info(given, dtype, ["batch", *shape, 3])],
        [helper.make_tensor_value_info(made, TensorProto.FLOAT, ["batch", *shape, 3])],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255])],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    if info is not None:
        write_metadata(path, info)
    return path


def write_convolutions_model(path: Path, *, info: ModelInfo = INFO) -> Path:
    """An ONNX file with what networks are made of: four convolutions, one of them depthwise, a
    pooling, a resizing to a free size and a softmax. The most probable class is the brightest
    channel, softly.
    """
    rng = np.random.default_rng(0)
    first = np.zeros((16, 3, 3, 3), np.float32)
    first[np.arange(16), np.arange(16) % 3, 1, 1] = rng.uniform(0.5, 1.5, 16)
    depthwise = np.zeros((16, 1, 3, 3), np.float32)
    depthwise[:, 0, 1, 1] = np.geomspace(0.05, 8, 16)  # as unequal as in MobileNet
    scale = (first.max((1, 2, 3)) * depthwise.max((1, 2, 3)))[:, None]
    second = np.eye(16, dtype=np.float32)[..., None, None] / scale[None, :, :, None].reshape(
        1, 16, 1, 1
    )
    last = np.zeros((3, 16, 1, 1), np.float32)
    last[np.arange(16) % 3, np.arange(16)] = 12 / 5
    weights = {"w1": first, "w2": depthwise, "w3": second, "w4": last}
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["raw"], to=TensorProto.FLOAT),
        node("Mul", ["raw", "scale"], ["unit"]),
        node("Transpose", ["unit"], ["x0"], perm=[0, 3, 1, 2]),
        node("Conv", ["x0", "w1"], ["c1"], name="first", pads=[1] * 4),
        node("Relu", ["c1"], ["x1"]),
        node("Conv", ["x1", "w2"], ["c2"], name="depthwise", pads=[1] * 4, group=16),
        node("Relu", ["c2"], ["x2"]),
        node("Conv", ["x2", "w3"], ["x3"], name="pointwise"),
        node("MaxPool", ["x3"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", ["half", "", "twice"], ["up"], mode="nearest"),
        node("Add", ["up", "x3"], ["sum"]),
        node("Conv", ["sum", "w4"], ["x4"], name="last"),
        node("Softmax", ["x4"], ["soft"], name="softmax", axis=1),
        node("Transpose", ["soft"], ["probabilities"], perm=[0, 2, 3, 1]),
    ]
    shape = ["batch", "height", "width", 3]
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, shape)],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255]),
            helper.make_tensor("twice", TensorProto.FLOAT, [4], [1, 1, 2, 2]),
            *(onnx.numpy_helper.from_array(w, name) for name, w in weights.items()),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    write_metadata(path, info)
    return path
