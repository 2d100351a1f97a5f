"""Images of any size are answered about, by one network or several, however they are asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.inference import predictor as module
from segtf.inference.decision import most_probable
from segtf.inference.onnx_model import ModelInfo
from segtf.inference.postprocess import Postprocess, Rule
from segtf.inference.prediction import ask as answer_of
from segtf.inference.predictor import (
    TURNS,
    Predictor,
    open_predictor,
    resized_strips,
    turned,
)
from tests.segtf.tiny_onnx import INFO, write_channels_model
from voc_builder.base.errors import UserError

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Asked:
    """Stands for an ONNX model of those classes; keeps the shapes that it was asked about."""

    def __init__(self, answer: Answer, info: ModelInfo = INFO, name: str = "a.onnx") -> None:
        self.answer, self.info, self.path = answer, info, Path(name)
        self.shapes: list[tuple[int, ...]] = []

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.shapes.append(images.shape)
        return self.answer(images)


def channels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype(np.float32) / 255


def always(*probabilities: float) -> Answer:
    return lambda images: np.full(
        (*images.shape[:3], len(probabilities)), probabilities, np.float32
    )


def ask(*models: Asked, **how) -> Predictor:  # type: ignore[no-untyped-def]
    return Predictor(models, **how)  # type: ignore[arg-type]


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_an_image_of_another_shape_is_resized_and_its_mask_resized_back(tmp_path: Path) -> None:
    predictor = open_predictor([write_channels_model(tmp_path / "a.onnx")])
    image = np.zeros((6, 16, 3), np.uint8)
    image[:, :8, 1] = 255
    image[:, 8:, 2] = 255
    np.testing.assert_array_equal(predictor.mask(image), [[1] * 8 + [2] * 8] * 6)


@pytest.mark.parametrize("shape", [(11, 6), (4, 9), (2, 3)])
def test_after_training_on_crops_an_image_is_predicted_in_tiles_of_their_size(
    shape: tuple[int, int],
) -> None:
    model = Asked(channels, dataclasses.replace(INFO, mode="tile"))
    image = noise(*shape)
    np.testing.assert_allclose(ask(model).probabilities(image), image / 255, atol=1e-6)
    assert set(model.shapes) == {(1, *INFO.shape, 3)}


def test_the_user_may_ask_in_another_way_than_training_did() -> None:
    image = noise(8, 12)
    model = Asked(channels)
    np.testing.assert_allclose(ask(model, mode="tile").probabilities(image), image / 255, atol=1e-6)
    assert len(model.shapes) == 3 * 4
    model.shapes.clear()
    ask(model, mode="tile", overlap=0).mask(image)
    assert len(model.shapes) == 2 * 3
    model.shapes.clear()
    ask(model, mode="resize").mask(image)
    assert model.shapes == [(1, *INFO.shape, 3)]
    with pytest.raises(UserError, match="--overlap 1"):
        ask(model, overlap=1)


def test_an_image_is_resized_to_the_height_and_width_of_a_rectangle() -> None:
    model = Asked(channels, dataclasses.replace(INFO, shape=(6, 4), fixed=True))
    image = np.zeros((12, 16, 3), np.uint8)
    image[:6, :, 1] = 255
    image[6:, :, 2] = 255
    np.testing.assert_array_equal(
        ask(model, tta="flips").mask(image), [[1] * 16] * 6 + [[2] * 16] * 6
    )
    assert set(model.shapes) == {(1, 6, 4, 3)}


def test_what_only_a_square_allows_is_refused_with_the_cure() -> None:
    tall = Asked(channels, dataclasses.replace(INFO, shape=(6, 4)), "tall.onnx")
    says = r"--tta d4: .*tall\.onnx.* 6 x 4 .*--tta flips"
    with pytest.raises(UserError, match=says):
        ask(Asked(channels), tall, tta="d4")
    ask(Asked(channels), tta="d4")


@settings(deadline=None)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 5),
)
def test_resized_strips_are_what_opencv_makes_of_the_whole(
    rows: int, columns: int, height: int, width: int, classes: int
) -> None:
    given = np.random.default_rng(rows).random((rows, columns, classes), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUMBERS_A_STRIP", 7 * width * classes)
        strips = list(resized_strips(given, height, width))
    assert [top for top, _ in strips] == list(range(0, height, 7))
    found = np.concatenate([strip for _, strip in strips])
    for class_id in range(classes):
        plane = cv2.resize(given[..., class_id], (width, height), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found[..., class_id], plane, atol=1e-5)


def test_the_mask_is_the_most_probable_class_and_the_lowest_id_of_equals() -> None:
    image = noise(37, 23)
    model = Asked(channels)
    probabilities = ask(model).probabilities(image)
    assert probabilities.shape == (37, 23, 3)
    np.testing.assert_array_equal(ask(model).mask(image), probabilities.argmax(-1))
    even = np.full((3, 5, 3), 0.3, np.float32)
    np.testing.assert_array_equal(most_probable(even), np.zeros((3, 5)))


@pytest.mark.parametrize(("kind", "turns"), [("none", 1), ("flips", 4), ("d4", 8)])
def test_each_turn_is_seen_once_and_the_mean_is_taken(kind: str, turns: int) -> None:
    seen: list[bytes] = []

    def first_corner(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Knows only the upper left pixel, and says so there."""
        seen.append(images.tobytes())
        answer = np.zeros((*images.shape[:3], 3), np.float32)
        answer[:, 0, 0] = channels(images)[:, 0, 0]
        return answer

    image = noise(3, 3)[None]
    found = turned(first_corner, TURNS[kind])(image)[0]  # type: ignore[index]
    assert len(seen) == len(set(seen)) == turns
    corners = [(0, 0), (0, 2), (2, 0), (2, 2)] if turns > 1 else [(0, 0)]
    expected = np.zeros((3, 3, 3), np.float32)
    for corner in corners:
        expected[corner] = channels(image)[0][corner] / len(corners)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_several_networks_of_other_sizes_and_ways_are_averaged_pixel_by_pixel() -> None:
    image = noise(40, 30)
    tiles = Asked(channels, dataclasses.replace(INFO, mode="tile", shape=(8, 8)))
    resized = Asked(channels, dataclasses.replace(INFO, shape=(16, 16)))
    both = ask(tiles, resized)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "NUMBERS_A_STRIP", 3 * 30 * 3)  # other strips than those of tiles
        found = both.probabilities(image)
    expected = (ask(tiles).probabilities(image) + ask(resized).probabilities(image)) / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_most_votes_win_and_equals_are_parted_by_the_mean() -> None:
    image = noise(4, 4)
    sure, unsure = Asked(always(0.9, 0.1, 0.0)), Asked(always(0.4, 0.6, 0.0))
    doubtful = Asked(always(0.0, 0.55, 0.45))
    vote = ask(sure, unsure, doubtful, ensemble="vote")
    assert (vote.mask(image) == 1).all(), "two against one, although the mean is for class 0"
    assert (ask(sure, unsure, doubtful).mask(image) == 0).all()
    np.testing.assert_allclose(vote.probabilities(image).sum(-1), 1, rtol=1e-6)
    assert (ask(sure, unsure, ensemble="vote").mask(image) == 0).all()


def test_networks_that_know_other_classes_answer_for_all_of_them() -> None:
    names = [("background", "chip"), ("background", "defect", "chip")]
    infos = [
        dataclasses.replace(INFO, classes=own, colours=INFO.colours[: len(own)]) for own in names
    ]
    chips = Asked(always(0.2, 0.8), infos[0])
    both = Asked(always(0.5, 0.3, 0.2), infos[1])
    predictor = ask(chips, both, ensemble="per-class")
    assert predictor.classes == ("background", "chip", "defect")
    assert len(predictor.colours) == 3
    expected = np.array([0.2, 0.5, 0.3])  # the least, the mean of two, the only one
    found = predictor.probabilities(noise(5, 6))
    np.testing.assert_allclose(found[2, 3], expected / expected.sum(), rtol=1e-6)


def test_networks_that_do_not_fit_together_are_named() -> None:
    other = Asked(channels, dataclasses.replace(INFO, classes=("red", "green", "blue")), "b.onnx")
    with pytest.raises(UserError, match=r"b\.onnx.*--ensemble per-class"):
        ask(Asked(channels), other)
    with pytest.raises(UserError, match=r"a\.onnx has no background"):
        ask(Asked(channels), other, ensemble="per-class")


def network(*rules: Rule, info: ModelInfo = INFO, answer: Answer = channels) -> Asked:
    return Asked(answer, dataclasses.replace(info, postprocess=Postprocess(rules, 0.5, 0.6)))


def small_component() -> NDArray[np.uint8]:
    """A green image of 4 x 4 with one blue pixel, which is class 2."""
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 1] = 200
    image[1, 1] = (0, 0, 250)
    return image


BLUE = Rule("синий", "pixels", smallest=2)
GREEN = Rule("green", "share", smallest=0.1)


def test_masks_are_post_processed_by_the_rules_of_the_network_unless_switched_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    predictor = ask(network(BLUE))
    assert (predictor.mask(small_component()) == 1).all()
    assert (answer_of(predictor, small_component()).mask == 1).all()
    assert predictor.probabilities(small_component())[1, 1].argmax() == 2
    raw = ask(network(BLUE), postprocess=False)
    mask = raw.mask(small_component())
    assert mask[1, 1] == 2
    np.testing.assert_array_equal(raw.postprocess(mask), mask)
    assert (predictor.postprocess(mask) == 1).all()
    assert mask[1, 1] == 2, "a copy is changed"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("ensemble", ["mean", "vote"])
def test_networks_apply_the_rules_that_all_of_them_have_or_none(
    ensemble: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(network(BLUE), network(BLUE), ensemble=ensemble).rules == (BLUE,)
    assert ask(Asked(channels), Asked(channels), ensemble=ensemble).rules == ()
    assert capsys.readouterr().err == ""
    predictor = ask(network(BLUE), Asked(channels), ensemble=ensemble)
    assert predictor.mask(small_component())[1, 1] == predictor.mask(small_component())[1, 1] == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1


def test_networks_of_other_classes_bring_their_own_rules_by_the_class(
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = (
        dataclasses.replace(INFO, classes=names, colours=INFO.colours[: len(names)])
        for names in (("background", "green"), ("background", "green", "синий"))
    )
    green, both = always(0.2, 0.8), always(0.5, 0.3, 0.2)
    joined = ask(
        network(GREEN, info=first, answer=green),
        network(GREEN, BLUE, info=second, answer=both),
        ensemble="per-class",
    )
    assert joined.rules == (GREEN, BLUE)
    assert capsys.readouterr().err == ""
    different = ask(
        network(info=first, answer=green),
        network(GREEN, BLUE, info=second, answer=both),
        ensemble="per-class",
    )
    assert different.rules == (BLUE,)
    assert "green" in capsys.readouterr().err
