"""A network with fewer bits takes the same images and gives nearly the same probabilities."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from segtf.exporting import precision, quality
from segtf.exporting.precision import (
    add_precision,
    training_images,
    write_float16,
    write_int8,
)
from segtf.exporting.quality import quality_rows, quality_table, require_quality
from segtf.exporting.report import ExportReport, ValScores, read_export
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.postprocess import Postprocess, Rule
from segtf.run.config import TrainConfig
from tests.segtf.tiny_export import REPORT
from tests.segtf.tiny_onnx import INFO, write_channels_model, write_convolutions_model
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image, resize_image

RULES = Postprocess((Rule("синий", "share", 0.01),), 0.5, 0.6)
TOLD = replace(INFO, postprocess=RULES)


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
    for name, wanted in (("half", "float16"), ("quarter", "int8")):
        info = OnnxModel(tmp_path / f"{name}.onnx").info
        assert info == replace(TOLD, precision=wanted)  # type: ignore[arg-type]


class Val(SimpleNamespace):
    """Stands for the split."""

    def __len__(self) -> int:
        return len(self.images)


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Any, ExportReport]:
    """A run folder with a float32 network, val whose truth is its answer, and the report."""
    write_convolutions_model(tmp_path / "model.onnx")
    images = np.stack(images_of(6))
    brightest = OnnxModel(tmp_path).probabilities(images).argmax(-1).astype(np.uint8)
    shapes = dict.fromkeys("abcdef", (16, 16))
    val = Val(name="val", ids=tuple("abcdef"), images=images, masks=brightest, shapes=shapes)
    return tmp_path, val, replace(REPORT, val=ValScores(1.0, dict.fromkeys(INFO.classes, 1.0)))


def test_a_precision_is_written_beside_float32_and_measured_on_val(
    exported: tuple[Path, Any, ExportReport],
) -> None:
    folder, val, before = exported
    report = add_precision(folder, before, "float16", val, ())
    assert report == read_export(folder)
    entry, path = report.precisions["float16"], folder / "model_float16.onnx"
    assert OnnxModel(path).info.precision == "float16"
    assert (entry.file, entry.bytes) == (path.name, path.stat().st_size)
    assert entry.kept
    assert entry.miou_change is not None
    assert -0.01 < entry.miou_change <= 0
    assert set(entry.iou_change or ()) == set(INFO.classes)
    assert (entry.ms or 0) > 0
    require_quality(entry, path, 1.0)


def test_int8_is_calibrated_on_the_images_given(exported: tuple[Path, Any, ExportReport]) -> None:
    folder, val, before = exported
    changes = []
    for images in (list(val.images), [np.full_like(image, 9) for image in val.images]):
        report = add_precision(folder, before, "int8", val, images, accept_loss=True)
        changes.append(report.precisions["int8"].miou_change or 0)
    assert -0.2 < changes[0] < 0
    assert changes[1] < -0.4, "values above the range of dark images are clipped"


def test_a_precision_that_loses_too_much_is_not_kept_unless_the_loss_is_accepted(
    exported: tuple[Path, Any, ExportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, val, before = exported
    path = folder / "model_int8.onnx"
    path.write_bytes(b"of an earlier export")

    def other_network(source: Path, out: Path, images: object) -> None:
        write_channels_model(out, info=replace(INFO, precision="int8"))

    monkeypatch.setattr(precision, "write_int8", other_network)
    val.masks = (val.masks + 1) % 3
    report = add_precision(folder, before, "int8", val, ())
    entry = report.precisions["int8"]
    assert not entry.kept
    assert not path.exists()
    assert "not kept" in quality_table(report)
    with pytest.raises(UserError, match=r"model_int8\.onnx.*--accept-loss"):
        require_quality(entry, path, 1.0)
    report = add_precision(folder, before, "int8", val, (), accept_loss=True)
    assert path.exists()
    require_quality(report.precisions["int8"], path, 1.0)


def test_all_precisions_are_timed_together_whenever_one_is_added(
    exported: tuple[Path, Any, ExportReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, val, report = exported
    asked: list[list[str]] = []

    def in_turn(models: Any, image: Any) -> list[float]:
        asked.append([model.info.precision for model in models])
        return [20.0, 25.0, 10.0][: len(models)]

    monkeypatch.setattr(quality, "milliseconds", in_turn)
    images = list(val.images)
    for name in ("float16", "int8"):
        report = add_precision(folder, report, name, val, images, accept_loss=True)
    assert asked == [["float32", "float16"], ["float32", "float16", "int8"]]
    assert [row[3:5] for row in quality_rows(report)] == [
        ["20.0", "x 1.00"],
        ["25.0", "x 0.80"],
        ["10.0", "x 2.00"],
    ]
    (folder / "model_float16.onnx").unlink()
    report = add_precision(folder, report, "int8", val, images, accept_loss=True)
    assert asked[-1] == ["float32", "int8"]
    assert quality_rows(report)[1][3:5] == ["–", "–"]


def test_networks_take_turns_when_their_speed_is_measured() -> None:
    turns: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def probabilities(self, images: np.ndarray) -> None:
            turns.append(self.name)

    models: list[Any] = [Named("a"), Named("b")]
    assert len(quality.milliseconds(models, images_of(1)[0])) == 2
    assert turns[:6] == list("ababab")


@pytest.mark.slow
@pytest.mark.parametrize("crop", [None, 32])
def test_int8_sees_train_images_as_the_network_does(dataset: Any, crop: int | None) -> None:
    config = TrainConfig(size="64x40") if crop is None else TrainConfig(crop=crop)
    found = list(training_images(dataset, config))
    assert len(found) == len(dataset.splits["train"]) == 16
    assert {image.shape for image in found} == {(*config.shape, 3)}
    whole = [decode_image(dataset.image(i).read_bytes(), i) for i in dataset.splits["train"]]
    if crop is None:
        np.testing.assert_array_equal(found[3], resize_image(whole[3], 64, 40))
    else:
        windows = np.lib.stride_tricks.sliding_window_view(whole[3], (32, 32, 3))
        assert (windows == found[3]).all((-1, -2, -3)).any(), "a part at full resolution"
