"""Every part of the prediction bench runs on a small network, and its table has both sides."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts import bench_giant, bench_many, bench_predict
from scripts.bench_predict import BenchConfig
from scripts.bench_seam import measure_seam, whole_mask
from scripts.bench_whole import inputs_of, lay_images
from segtf.inference.onnx_model import OnnxModel
from tests.segtf.tiny_onnx import INFO, write_channels_model
from voc_builder.base.errors import UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with nothing but its ONNX file."""
    (tmp_path / "run").mkdir()
    info = dataclasses.replace(INFO, shape=(16, 16), mode="tile")
    write_channels_model(tmp_path / "run/model.onnx", info=info)
    return tmp_path / "run"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        colours = rng.integers(0, 256, (5, 6, 3), np.uint8)
        pixels = colours.repeat(8, axis=0).repeat(8, axis=1)
        Image.fromarray(pixels).save(tmp_path / f"photos/{name}.png")
    return tmp_path / "photos"


def measured(only: str, out: Path, **settings: Any) -> tuple[str, dict[str, Any]]:
    bench_predict.bench_predict(BenchConfig(only=only, out=out, **settings))
    figures = json.loads((out / "bench_predict.json").read_text(encoding="utf-8"))
    return (out / "bench_predict.md").read_text(encoding="utf-8"), figures[only]


def test_prediction_is_measured_in_tiles_and_squeezed(
    run: Path, images: Path, tmp_path: Path
) -> None:
    text, figures = measured(
        "whole", tmp_path / "out", run=run, images=images, side=64, count=2, rounds=2
    )
    assert {mode: each["calls"] for mode, each in figures.items()} == {"tile": 25, "resize": 1}
    assert all(len(each["ours"]) == len(each["bare"]) == 2 for each in figures.values())
    assert "2 images of 64 x 64" in text
    assert "at most 1.15 times the bare calls, in tiles:" in text


def test_the_bare_calls_see_what_prediction_sees(run: Path, images: Path, tmp_path: Path) -> None:
    (path,) = lay_images(sorted(images.iterdir()), tmp_path / "laid", 40, 1)
    model = OnnxModel(run)
    seen: list[Any] = []

    def watch(images: Any) -> Any:
        seen.append(images.copy())
        return OnnxModel.probabilities(model, images)

    model.probabilities = watch  # type: ignore[method-assign]
    from segtf.inference.predictor import Predictor
    from voc_builder.pixels.image_rows import open_image

    with open_image(path) as image:
        Predictor([model], overlap=0.5).mask(image)
    for found, wanted in zip(seen, inputs_of(path, (16, 16), "tile", 0.5), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_images_are_laid_side_by_side_as_they_are(images: Path, tmp_path: Path) -> None:
    found = sorted(images.iterdir())
    first, second = lay_images(found, tmp_path / "laid", 61, 2)
    with Image.open(first) as laid, Image.open(found[1]) as part:
        assert laid.size == (61, 61)
        corner = np.asarray(laid)[:40, 48:61].astype(int)
        assert np.abs(corner - np.asarray(part)[:, :13]).mean() < 6, "JPEG"
    assert first.read_bytes() != second.read_bytes()


def test_tiles_agree_with_the_whole_image_where_the_network_sees_single_pixels(
    run: Path, images: Path, tmp_path: Path
) -> None:
    paths = lay_images(sorted(images.iterdir()), tmp_path / "laid", 61, 2)
    table = measure_seam(run, paths, overlap=0.25)
    assert table.figures == {"Gaussian": [1.0, 1.0], "flat": [1.0, 1.0]}
    assert "99.5%: met" in table.verdict
    odd = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    np.testing.assert_array_equal(whole_mask(OnnxModel(run), odd), odd.argmax(-1))


def test_the_memory_of_a_large_image_is_that_beyond_one_of_a_tile(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = {"512.tif": 100 * 10**6, "900.tif": 160 * 10**6}
    monkeypatch.setattr(bench_giant, "peak_of", lambda flags, model, image, out: peaks[image.name])
    text, figures = measured("memory", tmp_path / "out", run=run, giant=900)
    assert figures["mask"] == {"one_tile": 100 * 10**6, "photo": 160 * 10**6}
    assert "| mask and overlay | 100 | 160 | 60 |" in text
    assert "met (0.06 GB)" in text


def test_the_image_of_stripes_is_predicted_and_its_process_watched(tmp_path: Path) -> None:
    model = bench_giant.write_colour_network(tmp_path / "model.onnx")
    image = bench_giant.write_stripes(tmp_path / "photo.tif", 600)
    held = np.ones(10**9 // 8)  # by the process that watches
    peak = bench_giant.peak_of(["--save", "mask"], model, image, tmp_path / "out")
    del held
    assert 20 * 10**6 < peak < 9 * 10**8
    with Image.open(tmp_path / "out/masks/photo.png") as mask:
        rows, columns = np.indices((600, 600))
        np.testing.assert_array_equal(np.asarray(mask), (rows + columns) // 700 % 3)


@pytest.mark.parametrize(("more", "said"), [(0.04, "met (4.0%)"), (0.5, "missed (50.0%)")])
def test_the_memory_of_many_images_is_that_beyond_few(
    more: float,
    said: str,
    run: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def peak_of(flags: list[str], model: Path, folder: Path, out: Path) -> int:
        count = len(list(folder.iterdir()))
        return 200 * 10**6 + int(count > 2 and "coco" in flags[1]) * int(200 * 10**6 * more)

    monkeypatch.setattr(bench_many, "peak_of", peak_of)
    text, figures = measured(
        "many", tmp_path / "out", run=run, images=images, many=(2, 5), many_side=40
    )
    assert figures["mask"] == {"2": 200 * 10**6, "5": 200 * 10**6}
    assert f"| mask,coco,rle | 200 | {200 * (1 + more):.0f} | {200 * more:.0f} |" in text
    assert said in text
    with pytest.raises(UserError, match="--many takes two rising numbers"):
        measured("many", tmp_path / "out", run=run, images=images, many=(5, 5))


def test_a_part_that_is_not_there_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no part 'half', but whole, engines, seam, memory, many"):
        measured("half", tmp_path, run=run)
