"""SavedModel and ONNX answer as Keras does, and a difference is not passed over."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from segtf.config import TrainConfig
from segtf.export import model_info, parity, require_parity
from segtf.onnx_model import OnnxModel
from segtf.run_folder import read_data
from voc_builder.errors import UserError

PHOTOS = np.zeros((2, 10, 10, 3), np.uint8)


def steady(images: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.float32([0.6, 0.4]), (*images.shape[:3], 2)).copy()


def test_engines_that_agree_pass() -> None:
    report = parity({"a": steady, "b": steady, "c": steady}, PHOTOS)
    assert report["passed"]
    assert [(c["a"], c["b"]) for c in report["comparisons"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert {c["largest_difference"] for c in report["comparisons"]} == {0.0}


def test_a_probability_that_is_off_by_more_than_the_tolerance_fails() -> None:
    report = parity({"a": steady, "b": lambda images: steady(images) + np.float32(2e-4)}, PHOTOS)
    (comparison,) = report["comparisons"]
    assert comparison["largest_difference"] == pytest.approx(2e-4, rel=1e-3)
    assert comparison["equal_argmax"] == 1
    assert not report["passed"]


def test_one_pixel_of_another_class_among_two_hundred_fails() -> None:
    def other(images: np.ndarray) -> np.ndarray:
        answer = steady(images) * 0 + np.float32(0.5)
        answer[:, 0, 0, 1] += 1e-5
        return answer

    def even(images: np.ndarray) -> np.ndarray:
        return steady(images) * 0 + np.float32(0.5)

    report = parity({"a": even, "b": other}, PHOTOS)
    assert report["comparisons"][0]["equal_argmax"] == 0.99
    assert not report["passed"]


def test_a_nan_is_no_agreement_and_no_agreement_is_an_error() -> None:
    report = parity({"a": steady, "b": lambda images: steady(images) * np.nan}, PHOTOS)
    with pytest.raises(UserError, match=r"differ by more than 0\.0001 or in more than 0\.01% of"):
        require_parity(report, Path("run"))


def test_the_network_of_a_run_is_described_in_full() -> None:
    data = {"classes": ["back", "chip"], "sha256": "abc"}
    config = TrainConfig(arch="pspnet", encoder="resnet34", size=96)
    info = model_info(config, data)
    assert (info.classes, info.colours) == (("back", "chip"), ((0, 0, 0), (128, 0, 0)))
    assert (info.size, info.multiple, info.fixed) == (96, 48, True)
    plain = model_info(dataclasses.replace(config, arch="unet_plain"), data)
    assert (plain.encoder, plain.multiple, plain.fixed) == ("", 32, False)


@pytest.mark.slow
def test_the_export_of_a_run_passes_on_real_photos_and_takes_any_size(run: Path) -> None:
    report = json.loads((run / "export.json").read_text())
    assert report["passed"]
    assert report["photos"] == 2
    model = OnnxModel(run)
    assert model.info.dataset_sha256 == read_data(run)["sha256"]
    assert model.probabilities(np.zeros((3, 96, 160, 3), np.uint8)).shape == (3, 96, 160, 3)


@pytest.mark.slow
def test_the_onnx_file_names_its_input_its_output_and_the_sizes_left_open(run: Path) -> None:
    import onnx

    graph = onnx.load(run / "model.onnx").graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    free = ["batch", "height", "width", 3]
    assert shapes == {"image": free, "probabilities": free}


@pytest.mark.slow
def test_the_saved_model_stands_alone(run: Path) -> None:
    from voc_builder.tfrecord import import_tensorflow

    tf = import_tensorflow()
    serve = tf.saved_model.load(str(run / "saved_model")).signatures["serving_default"]
    answer = serve(image=tf.zeros((1, 64, 96, 3), tf.uint8))["probabilities"]
    assert answer.shape == (1, 64, 96, 3)
    np.testing.assert_allclose(answer.numpy().sum(-1), 1, atol=1e-5)
