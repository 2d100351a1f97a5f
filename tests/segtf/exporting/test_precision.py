"""A network with fewer bits takes the same images and gives nearly the same probabilities."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from segtf.exporting.precision import write_float16, write_int8
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.postprocess import Postprocess, Rule
from tests.segtf.tiny_onnx import INFO, write_convolutions_model

RULES = Postprocess((Rule("синий", "share", 0.01),), 0.5, 0.6)
TOLD = dataclasses.replace(INFO, postprocess=RULES)


def images_of(count: int, side: int = 16) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (side, side, 3), np.uint8) for _ in range(count)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_convolutions_model(tmp_path / "model.onnx", info=TOLD)


def agree(one: Path, other: Path) -> tuple[float, float]:
    """Share of pixels of equal class and largest difference, at a size that neither has seen."""
    images = np.stack(images_of(4, 24))
    a, b = (OnnxModel(path).probabilities(images) for path in (one, other))
    assert a.shape == b.shape == (4, 24, 24, 3)
    assert b.dtype == np.float32
    return float((a.argmax(-1) == b.argmax(-1)).mean()), float(np.abs(a - b).max())


def test_float16_keeps_the_ends_of_the_graph_and_the_softmax(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "model_float16.onnx"
    write_float16(source, out)
    equal, difference = agree(source, out)
    assert equal > 0.99
    assert 0 < difference < 0.02
    model = onnx.load(out)
    onnx.checker.check_model(model)
    kinds = {weight.name: weight.data_type for weight in model.graph.initializer}
    assert {kinds[name] for name in ("w1", "w2", "w3", "w4")} == {TensorProto.FLOAT16}
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8
    cast = next(n for n in model.graph.node if "Softmax" not in n.op_type and "x4" in n.input)
    assert cast.attribute[0].i == TensorProto.FLOAT
    assert not any(node.op_type == "Cast" and "soft" in node.input for node in model.graph.node), (
        "float32 from the softmax on"
    )


def test_int8_quantises_what_lies_between_the_first_and_the_last_convolution(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model_int8.onnx"
    level = logging.getLogger().level
    write_int8(source, out, images_of(8))
    assert logging.getLogger().level == level
    equal, difference = agree(source, out)
    assert equal > 0.95
    assert difference > 0
    graph = onnx.load(out).graph
    made = {output: node for node in graph.node for output in node.output}
    weights = {
        node.name: made[node.input[1]].op_type if node.input[1] in made else "float"
        for node in graph.node
        if node.op_type == "Conv"
    }
    inside = "DequantizeLinear"
    assert weights["first"] == weights["last"] == "float"
    assert weights["depthwise"] == weights["pointwise"] == inside
    scales = {weight.name: onnx.numpy_helper.to_array(weight).size for weight in graph.initializer}
    assert scales["w2_scale"] == 16, "each channel of a depthwise convolution has its own"
    assert sorted(tmp_path.iterdir()) == sorted([source, out])


def test_both_say_what_they_are_and_keep_the_rest_of_the_metadata(
    source: Path, tmp_path: Path
) -> None:
    write_float16(source, tmp_path / "half.onnx")
    write_int8(source, tmp_path / "quarter.onnx", images_of(2))
    for name, precision in (("half", "float16"), ("quarter", "int8")):
        info = OnnxModel(tmp_path / f"{name}.onnx").info
        assert info == dataclasses.replace(TOLD, precision=precision)  # type: ignore[arg-type]
