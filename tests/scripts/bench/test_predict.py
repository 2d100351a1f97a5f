from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.bench.measure import peak_memory, write_colour_network
from scripts.bench.predict import PredictBench, inputs_of, lay_images, main, measure_seam
from scripts.bench.predict_memory import write_stripes
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import Predictor
from tests.segtf.tiny_onnx import INFO, write_channels_model
from voc_builder.pixels.image_rows import open_image


@pytest.fixture
def channels(tmp_path: Path) -> Path:
    """An ONNX file whose classes are the colour channels, in tiles of 16 x 16."""
    info = dataclasses.replace(INFO, shape=(16, 16), mode="tile")
    return write_channels_model(tmp_path / "model.onnx", info=info)


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    """A folder of three images of 48 x 40 in patches of 8 x 8."""
    folder = tmp_path / "patches"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        colours = rng.integers(0, 256, (5, 6, 3), np.uint8)
        pixels = colours.repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.mark.slow
def test_every_part_measures_both_sides(run: Path, images: Path, tmp_path: Path) -> None:
    flags = ["--images", str(images), "--out", str(tmp_path), "--side", "160", "--count", "2"]
    flags += ["--rounds", "2", "--sizes", "64", "--giant", "900"]
    assert main([str(run), *flags, "--many", "1", "3", "--many-side", "32"]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert list(figures) == ["machine", "whole", "engines", "seam", "memory"]
    calls = {mode: found["calls"] for mode, found in figures["whole"].items()}
    assert calls == {"tile": 9, "resize": 1}
    assert all(len(found["ours"]) == len(found["bare"]) == 2 for found in figures["whole"].values())
    assert list(figures["engines"]) == ["onnxruntime", "SavedModel", "Keras"]
    assert all(found["64 x 64"] > 0 for found in figures["engines"].values())
    assert {name: len(found) for name, found in figures["seam"].items()} == {
        "Gaussian": 2,
        "flat": 2,
    }
    assert all(min(found.values()) > 10**7 for found in figures["memory"].values())
    assert len(figures["memory"]) == 2


def test_the_bare_calls_get_the_inputs_of_prediction(
    channels: Path, patches: Path, tmp_path: Path
) -> None:
    (path,) = lay_images(patches, tmp_path / "laid", 40, 1)
    model = OnnxModel(channels)
    given: list[Any] = []

    def watch(images: Any) -> Any:
        given.append(images.copy())
        return OnnxModel.probabilities(model, images)

    model.probabilities = watch  # type: ignore[method-assign]
    with open_image(path) as image:
        Predictor([model], overlap=0.5).mask(image)
    for found, wanted in zip(given, inputs_of(path, (16, 16), "tile", 0.5), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_images_are_laid_side_by_side_in_their_own_size(patches: Path, tmp_path: Path) -> None:
    first, second = lay_images(patches, tmp_path / "laid", 61, 2)
    with Image.open(first) as laid, Image.open(patches / "b.png") as part:
        assert laid.size == (61, 61)
        corner = np.asarray(laid)[:40, 48:61].astype(int)
        assert np.abs(corner - np.asarray(part)[:, :13]).mean() < 6, "JPEG"
    assert first.read_bytes() != second.read_bytes()


def test_tiles_agree_with_the_whole_image_for_a_network_of_single_pixels(
    channels: Path, patches: Path, tmp_path: Path
) -> None:
    config = PredictBench(channels, patches, side=61, count=2)
    table = measure_seam(config, tmp_path)
    assert table.figures == {"Gaussian": [1.0, 1.0], "flat": [1.0, 1.0]}


@pytest.mark.slow
def test_stripes_are_predicted_and_the_peak_is_that_of_the_child(tmp_path: Path) -> None:
    model = write_colour_network(tmp_path / "model.onnx", 512)
    image = write_stripes(tmp_path / "stripes.tif", 1500)
    held = np.ones(10**9 // 8)  # by the parent
    command = ["-m", "segtf.predict", str(model), str(image), "--out", str(tmp_path / "out")]
    peak = peak_memory([*command, "--save", "mask", "--mode", "tile"])
    del held
    assert 20 * 10**6 < peak < 9 * 10**8
    with Image.open(tmp_path / "out/masks/stripes.png") as mask:
        wanted = np.broadcast_to(np.arange(1500) // 700 % 3, (1500, 1500))
        np.testing.assert_array_equal(np.asarray(mask), wanted)


@pytest.mark.parametrize("flags", [["--only", "half"], ["--many", "5", "5"], ["--rounds", "0"]])
def test_settings_that_leave_nothing_to_measure_are_refused(
    flags: list[str], channels: Path, tmp_path: Path
) -> None:
    assert main([str(channels), "--out", str(tmp_path / "out"), *flags]) == 2
