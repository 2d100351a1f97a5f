"""A difference between Keras, SavedModel and ONNX is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtf.exporting.run import parity, require_parity
from segtf.exporting.writers import model_info
from segtf.run.config import TrainConfig
from tests.segtf.tiny_export import REPORT
from voc_builder.base.errors import UserError

IMAGES = np.zeros((2, 10, 10, 3), np.uint8)
Engine = Callable[[np.ndarray], np.ndarray]


def engine(probabilities: Sequence[float]) -> Engine:
    """An engine that gives every pixel the same probabilities."""
    values = np.array(probabilities, np.float32)
    return lambda images: np.broadcast_to(values, (*images.shape[:3], len(values))).copy()


def test_engines_that_agree_pass() -> None:
    steady = engine([0.6, 0.4])
    found = parity({"a": steady, "b": steady, "c": steady}, IMAGES)
    assert [(each.a, each.b) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert all(each.passed and each.largest_difference == 0 for each in found)


def test_a_probability_that_is_off_by_more_than_the_tolerance_fails() -> None:
    (found,) = parity({"a": engine([0.6, 0.4]), "b": engine([0.6002, 0.4])}, IMAGES)
    assert found.largest_difference == pytest.approx(2e-4, rel=1e-3)
    assert found.equal_argmax == 1
    assert not found.passed


def test_one_pixel_of_another_class_among_two_hundred_fails() -> None:
    def other(images: np.ndarray) -> np.ndarray:
        answer = engine([0.5, 0.5])(images)
        answer[:, 0, 0, 1] += 1e-5
        return answer

    (found,) = parity({"a": engine([0.5, 0.5]), "b": other}, IMAGES)
    assert found.equal_argmax == 0.99
    assert not found.passed


@pytest.mark.parametrize(("gap", "equal"), [(3e-7, 1), (1e-5, 0)])
def test_classes_that_differ_by_rounding_alone_are_equal(gap: float, equal: float) -> None:
    engines = {"a": engine([0.5, 0.5 - gap, 0.1]), "b": engine([0.5, 0.5 + gap, 0.1])}
    (found,) = parity(engines, IMAGES)
    assert found.equal_argmax == equal


def test_a_nan_is_no_agreement_and_no_agreement_is_an_error() -> None:
    found = parity({"a": engine([0.6, 0.4]), "b": engine([np.nan, np.nan])}, IMAGES)
    assert not found[0].passed
    with pytest.raises(UserError, match=r"export\.json"):
        require_parity(replace(REPORT, comparisons=found), Path("run"))
    require_parity(REPORT, Path("run"))


@pytest.mark.parametrize(
    ("settings", "shape", "multiple", "fixed"),
    [
        ({"arch": "pspnet", "encoder": "resnet34", "size": 96}, (96, 96), 48, True),
        ({"arch": "unet_plain", "size": 96}, (96, 96), 32, False),
        ({"size": "320x240"}, (320, 240), 1, True),  # padded inside the network
        ({"size": "320x256"}, (320, 256), 32, False),
    ],
)
def test_the_network_of_a_run_is_described_in_full(
    settings: dict[str, object], shape: tuple[int, int], multiple: int, fixed: bool
) -> None:
    config = TrainConfig(**settings)  # type: ignore[arg-type]
    info = model_info(config, {"classes": ["back", "chip"], "sha256": "abc"})
    assert (info.classes, info.colours) == (("back", "chip"), ((0, 0, 0), (128, 0, 0)))
    assert (info.shape, info.multiple, info.fixed) == (shape, multiple, fixed)
    assert info.encoder == ("" if config.arch == "unet_plain" else config.encoder)
