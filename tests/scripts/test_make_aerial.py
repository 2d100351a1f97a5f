from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.drawing.land import CLASSES, PLACES, Land, cast_shadows, draw_land
from scripts.make_aerial import kinds, main
from voc_builder.__main__ import main as build_main


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("aerial") / "out"
    assert main([str(out), "--count", "5", "--size", "64"]) == 0
    return out


def test_a_place_is_the_same_for_any_count(drawn: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path / "two"), "--count", "2", "--size", "64"]) == 0
    paths = [path.relative_to(tmp_path / "two") for path in tmp_path.glob("two/*/*")]
    assert len(paths) == 8
    for path in paths:
        assert (tmp_path / "two" / path).read_bytes() == (drawn / path).read_bytes()
    assert list(kinds(7, seed=3)) == list(kinds(60, seed=3))[:7]


def test_three_dates_share_the_size_of_one_mask_of_class_ids(drawn: Path) -> None:
    assert (drawn / "obj.names").read_text().split() == list(CLASSES)
    assert CLASSES == ("building", "clutter", "vegetation", "water", "ground", "car")
    names = [f"{number:04d}" for number in range(1, 6)]
    files = [path.relative_to(drawn).as_posix() for path in sorted(drawn.glob("*/*"))]
    masks = [f"annotations/{name}.png" for name in names]
    assert files == masks + [f"images/{name}_{date}.jpg" for name in names for date in (1, 2, 3)]
    for name in names:
        mask = cv2.imread(str(drawn / f"annotations/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (64, 64)
        assert mask.max() < len(CLASSES)
        dates = [cv2.imread(str(drawn / f"images/{name}_{date}.jpg")) for date in (1, 2, 3)]
        assert {image.shape for image in dates} == {(64, 64, 3)}
        for one, other in [(0, 1), (0, 2), (1, 2)]:
            assert np.abs(dates[one].astype(int) - dates[other]).mean() > 4


def test_the_dates_of_a_place_are_in_one_split(drawn: Path, tmp_path: Path) -> None:
    flags = ["--source", "masks", "--mask-pattern", r"(.*)_\d+", "--split", "60/20/20"]
    assert build_main(["build", str(drawn), str(tmp_path / "voc"), *flags, "--no-records"]) == 0
    lists = tmp_path / "voc/ImageSets/Segmentation"
    places = {}
    for split in ("train", "val", "test"):
        names = (lists / f"{split}.txt").read_text().split()
        places[split] = {name.partition("_")[0] for name in names}
        assert len(names) == 3 * len(places[split])
    assert sorted(map(len, places.values())) == [1, 1, 3]


def test_every_class_is_in_some_places_and_few_are_in_all() -> None:
    shown = [
        np.bincount(
            draw_land(np.random.default_rng(number), PLACES[kind], 64).ids.ravel(), minlength=6
        )
        > 0
        for number, kind in enumerate(kinds(15, seed=1))
    ]
    fractions = dict(zip(CLASSES, np.mean(shown, axis=0), strict=True))
    assert min(fractions.values()) >= 0.2
    assert max(fractions["water"], fractions["car"]) < 0.95


def test_a_shadow_is_as_long_as_the_height_and_falls_away_from_the_sun() -> None:
    ids = np.zeros((100, 100), np.uint8)
    height, growth = np.zeros((100, 100), np.float32), np.zeros((100, 100), np.float32)
    height[40:60, 40:60] = 10
    land = Land(ids, np.zeros((100, 100, 3), np.float32), height, growth, scale=2.0)
    lit = cast_shadows(land, math.pi, length=1.0)  # 20 pixels towards the left
    assert lit[50, 22:38].max() < 0.1
    for row, column in [(50, 17), (50, 63), (50, 50), (36, 50), (64, 50), (36, 30)]:
        assert lit[row, column] > 0.9
