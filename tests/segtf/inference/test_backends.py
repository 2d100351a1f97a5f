"""Several networks are asked as one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.inference.backends import Engine, asked_together, open_engine, with_classes
from segtf.inference.ensembles import Ensemble, model_paths
from segtf.inference.predictor import Tta, open_predictor
from tests.segtf.tiny_onnx import INFO, write_channels_model
from voc_builder.base.errors import UserError


def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)


def engine(*answers: float, name: str = "a", side: int = 4, crop: bool = False) -> Engine:
    """Answers so about the pixel at the top left, and that the others are of class 0."""

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = np.zeros((*images.shape[:3], 3), np.float32)
        found[..., 0] = 1
        found[:, 0, 0] = answers
        return found

    return Engine("onnx", INFO.classes, (side, side), crop, predict, None, Path(name))


def corner(network: Engine) -> list[float]:
    return [round(float(value), 4) for value in network.predict(images())[1, 0, 0]]


@pytest.mark.parametrize("ensemble", ["mean", "vote"])
@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
def test_networks_answer_together_as_they_do_about_an_image(
    tmp_path: Path, ensemble: Ensemble, tta: Tta
) -> None:
    paths = [write_channels_model(tmp_path / f"{name}.onnx") for name in "ab"]
    together = asked_together([open_engine(path) for path in paths], ensemble=ensemble, tta=tta)
    predictor = open_predictor(paths, ensemble=ensemble, tta=tta)
    for image, answer in zip(images(), together.predict(images()), strict=True):
        np.testing.assert_allclose(answer, predictor.probabilities(image), atol=1e-6)


def test_the_scores_of_each_precision_have_a_name_of_their_own(tmp_path: Path) -> None:
    kinds = {}
    for precision in ("float32", "float16", "int8"):
        info = dataclasses.replace(INFO, precision=precision)
        model = write_channels_model(tmp_path / f"{precision}.onnx", info=info)
        kinds[precision] = open_engine(model).kind
    assert kinds == {"float32": "onnx", "float16": "onnx_float16", "int8": "onnx_int8"}


def test_what_several_networks_have_in_common_is_kept(tmp_path: Path) -> None:
    here, there = (
        dataclasses.replace(engine(1, 0, 0), kind=kind, run=run)
        for kind, run in (("onnx", tmp_path), ("keras", tmp_path / "." / ""))
    )
    both = asked_together([here, there], ensemble="mean", tta="none")
    assert (both.kind, both.run, both.path) == ("mixed", tmp_path, Path("a,a"))
    elsewhere = dataclasses.replace(here, run=tmp_path / "other")
    assert asked_together([here, elsewhere], ensemble="mean", tta="none").run is None
    assert asked_together([here, here], ensemble="mean", tta="none").kind == "onnx"


def test_networks_of_other_sizes_and_impossible_turns_are_refused() -> None:
    with pytest.raises(UserError, match=r"b .*tiles.* a "):
        asked_together(
            [engine(1, 0, 0), engine(1, 0, 0, name="b", crop=True)], ensemble="mean", tta="none"
        )
    tall = dataclasses.replace(engine(1, 0, 0), shape=(6, 4))
    with pytest.raises(UserError, match=r"--tta d4: .* a is 6 x 4"):
        asked_together([tall], ensemble="mean", tta="d4")


def test_classes_are_put_into_another_order() -> None:
    red, green, blue = INFO.classes
    turned = with_classes(engine(0.2, 0.7, 0.1), (red, blue, green))
    assert turned.classes == (red, blue, green)
    assert corner(turned) == [0.2, 0.1, 0.7]


def test_classes_that_are_not_asked_for_are_left_out() -> None:
    _, green, blue = INFO.classes
    without = with_classes(engine(0.5, 0.2, 0.3), (blue, green))
    assert without.classes == (blue, green)
    np.testing.assert_allclose(corner(without), [0.6, 0.4], rtol=1e-6)
    np.testing.assert_allclose(corner(with_classes(engine(1, 0, 0), (blue, green))), [0.5, 0.5])


def test_a_class_that_no_network_knows_has_no_probability() -> None:
    red, green, blue = INFO.classes
    more = with_classes(engine(0.2, 0.7, 0.1), (red, "violet", green, blue))
    assert corner(more) == [0.2, 0, 0.7, 0.1]


def test_models_are_named_with_commas_but_for_a_file_of_that_name(tmp_path: Path) -> None:
    assert model_paths(Path("a,b/c")) == [Path("a"), Path("b/c")]
    (tmp_path / "a,b").touch()
    assert model_paths(tmp_path / "a,b") == [tmp_path / "a,b"]
    with pytest.raises(UserError, match="no model"):
        model_paths(Path(","))
