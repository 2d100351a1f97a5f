"""Write the network of an ONNX file with half of its bits or a quarter: float16 and int8."""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.inference.onnx_model import INPUT, MODEL_FILE, OnnxModel, Precision, write_metadata

if TYPE_CHECKING:
    import onnx

FILES: dict[Precision, str] = {
    "float32": MODEL_FILE,
    "float16": "model_float16.onnx",
    "int8": "model_int8.onnx",
}
CALIBRATION = 64  # images of train at most
QUANTIZED = ("Conv", "Relu", "Clip")  # kinds of nodes that compute with 8 bits
FLOAT32_FIRST = 0.2  # of the convolutions, from the first on, stay as they are


def write_float16(source: Path, out: Path) -> None:
    """The float32 network at `source` with weights and sums of 16 bits: half the size, for GPUs.
    Input and output stay what they are, and from the softmax on it computes in float32, since
    float16 would make equals of classes that are nearly as probable.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel as Graph

    model = _named(onnx.load(source))
    exact = _after_softmax(model.graph)
    with _quiet():
        model = convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=DEFAULT_OP_BLOCK_LIST,
            node_block_list=exact,
        )
        _go_straight(model.graph, exact)
        graph = Graph(model)
        graph.topological_sort()  # the conversion appends its casts at the end
    onnx.checker.check_model(graph.model)
    onnx.save(graph.model, out)
    _tell(source, out, "float16")


def write_int8(source: Path, out: Path, images: Iterable[NDArray[np.uint8]]) -> None:
    """The float32 network at `source` with weights and activations of 8 bits: a quarter of the
    size, for CPUs. `images`, RGB of shape (H, W, 3) each, are what the ranges of the
    activations are measured on.

    Weights have a scale for each channel, without which depthwise convolutions (MobileNet,
    EfficientNet) lose most, and 7 of the 8 bits: CPUs without VNNI add two products in 16 bits,
    which 8 would overflow, and the same file must answer alike everywhere.

    The first convolutions stay float32, whose ranges differ most from channel to channel and from
    image to image: with all but the very first of them in 8 bits, a U-Net on MobileNetV2 lost ten
    times as much. So do the last one and the softmax, which make the probabilities, and sums of
    branches, which 8 bits would round once more.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.preprocess import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            image = next(self._left, None)
            return None if image is None else {INPUT: image[None]}

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".int8-") as folder, _quiet():
        folded = Path(folder, "folded.onnx")  # batch normalisation is part of the convolutions
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        model = _named(onnx.load(folded))
        onnx.save(model, folded)
        quantize_static(
            str(folded),
            str(out),
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_left_alone(model.graph),
            calibrate_method=CalibrationMethod.MinMax,
        )
    _tell(source, out, "int8")


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model, in which each node has a name to be left alone by."""
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{i}"
    return model


def _left_alone(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes that stay float32: the first convolutions, the last one, and the
    activations behind them, whose input would be rounded to 8 bits otherwise.
    """
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    first = math.ceil(len(convolutions) * FLOAT32_FIRST)
    kept = [*convolutions[:first], *convolutions[-1:]]
    made = {output for node in kept for output in node.output}
    behind = [n for n in graph.node if n.op_type in QUANTIZED and n.input[0] in made]
    return [node.name for node in (*kept, *behind)]


def _after_softmax(graph: onnx.GraphProto) -> list[str]:
    """The names of the softmax and of the nodes that work on what it gives."""
    named: list[str] = []
    reached: set[str] = set()
    for node in graph.node:
        if node.op_type == "Softmax" or reached & set(node.input):
            named.append(node.name)
            reached |= set(node.output)
    return named


def _go_straight(graph: onnx.GraphProto, exact: Collection[str]) -> None:
    """Lets values of the nodes `exact` go on as float32, which were cast to float16 and back."""
    import onnx

    made = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        before = made.get(node.input[0]) if node.op_type == "Cast" else None
        if before is None or before.op_type != "Cast" or before.input[0] not in made:
            continue
        if made[before.input[0]].name in exact:
            straight = onnx.helper.make_node("Identity", before.input, node.output, node.name)
            node.CopyFrom(straight)
    used = {name for node in graph.node for name in node.input}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in used]:
        if node.output[0] not in {value.name for value in graph.output}:
            graph.node.remove(node)


def _tell(source: Path, out: Path, precision: Precision) -> None:
    """Gives the file `out` the metadata of `source`, and its precision."""
    info = OnnxModel(source, provider="cpu").info
    write_metadata(out, dataclasses.replace(info, precision=precision))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice on the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
