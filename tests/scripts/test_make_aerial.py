from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.drawing.land import BUILDING, CLASSES, GROUND, VEGETATION, draw_ground
from scripts.drawing.sunlight import FINE, cast_shadows, choose_dates, draw_photo
from scripts.make_aerial import draw_dates, kinds, main
from voc_builder.__main__ import main as build_main


def aerial(out: Path, *more: str) -> int:
    return main([str(out), "--count", "5", "--size", "64", *more])


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("aerial") / "out"
    assert aerial(out) == 0
    return out


def test_the_same_seed_draws_the_same_bytes_and_another_seed_does_not(
    drawn: Path, tmp_path: Path
) -> None:
    assert aerial(tmp_path / "again") == 0
    assert aerial(tmp_path / "other", "--seed", "2", "--count", "1") == 0
    first, other = contents(drawn), contents(tmp_path / "other")
    assert contents(tmp_path / "again") == first
    drawings = other.keys() - {"obj.names"}
    assert len(drawings) == 4
    assert all(other[name] != first[name] for name in drawings)


def test_a_place_is_the_same_for_any_count(drawn: Path, tmp_path: Path) -> None:
    assert aerial(tmp_path / "two", "--count", "2") == 0
    first = contents(drawn)
    assert contents(tmp_path / "two").items() <= first.items()
    assert list(kinds(7, seed=3)) == list(kinds(60, seed=3))[:7]


def test_three_photos_share_the_size_of_one_mask_of_ids(drawn: Path) -> None:
    assert (drawn / "obj.names").read_text().split() == list(CLASSES)
    assert CLASSES == ("building", "clutter", "vegetation", "water", "ground", "car")
    names = [f"{number:04d}" for number in range(1, 6)]
    assert sorted(contents(drawn)) == sorted(
        [
            "obj.names",
            *(f"annotations/{name}.png" for name in names),
            *(f"images/{name}_{date}.jpg" for name in names for date in (1, 2, 3)),
        ]
    )
    for name in names:
        mask = cv2.imread(str(drawn / f"annotations/{name}.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (64, 64)
        assert mask.dtype == np.uint8
        assert mask.max() < len(CLASSES)
        photos = [cv2.imread(str(drawn / f"images/{name}_{date}.jpg")) for date in (1, 2, 3)]
        assert {photo.shape for photo in photos} == {(64, 64, 3)}
        for one, other in [(0, 1), (0, 2), (1, 2)]:
            assert np.abs(photos[one].astype(int) - photos[other]).mean() > 4


def test_a_data_set_is_built_from_it_with_the_dates_of_a_place_in_one_split(
    drawn: Path, tmp_path: Path
) -> None:
    flags = ["--source", "masks", "--mask-pattern", r"(.*)_\d+", "--split", "60/20/20"]
    assert build_main(["build", str(drawn), str(tmp_path / "voc"), *flags, "--no-records"]) == 0
    lists = tmp_path / "voc/ImageSets/Segmentation"
    places = {}
    for split in ("train", "val", "test"):
        names = (lists / f"{split}.txt").read_text().split()
        places[split] = {name.partition("_")[0] for name in names}
        assert len(names) == 3 * len(places[split])
    assert sorted(map(len, places.values())) == [1, 1, 3]


def test_every_class_is_somewhere_and_some_are_not_everywhere() -> None:
    shown = []
    for number, kind in enumerate(kinds(15, seed=1), start=1):
        mask, _ = draw_dates(number, kind, 64, seed=1)
        shown.append(np.bincount(mask.ravel(), minlength=6) > 0)
    shares = np.mean(shown, axis=0)
    assert shares.min() >= 0.2
    for name in ("building", "clutter", "water", "car"):
        assert shares[CLASSES.index(name)] < 0.95, name


def test_a_tower_shades_the_ground_away_from_the_sun_as_far_as_the_sun_is_low() -> None:
    height = np.zeros((100, 100), np.float32)
    height[40:60, 40:60] = 10
    # two pixels a metre, the sun in the east at 45 degrees: 20 pixels of shade in the west
    shade = cast_shadows(height, 2.0, 0.0, math.radians(45))
    assert shade[50, 22:38].max() < 0.1
    for row, column in [(50, 17), (50, 63), (50, 50), (36, 50), (64, 50), (36, 30)]:
        assert shade[row, column] > 0.9


def test_what_stands_higher_hides_what_is_drawn_later_below_it() -> None:
    land = draw_ground(np.random.default_rng(0), 40, 20.0)
    left, lower = land.xs < 0, land.ys > 0
    land.put(left, BUILDING, (0.5, 0.5, 0.5), 5.0)
    land.put(lower, VEGETATION, (0.2, 0.4, 0.2), 3.0)
    expected = np.where(left, BUILDING, np.where(lower, VEGETATION, GROUND))
    np.testing.assert_array_equal(land.ids, expected)
    assert not land.is_free(-5, -5, 1)
    assert land.is_free(5, -5, 1)
    assert not land.is_free(9.5, -5, 1)  # partly beyond the edge


def test_the_season_colours_what_grows_and_nothing_else() -> None:
    land = draw_ground(np.random.default_rng(0), 2 * 64 * FINE, 40.0)
    land.growth[...] = land.xs < 0
    summer = replace(choose_dates(np.random.default_rng(0))[0], season=(1.0, 1.0, 1.0))
    photos = [
        draw_photo(np.random.default_rng(0), land, date, 64).astype(int)
        for date in (summer, replace(summer, season=(1.3, 1.0, 0.7)))
    ]
    change = (photos[1] - photos[0]).mean(axis=0)  # of columns, of each colour
    assert change[:30, 0].mean() > 5
    assert change[:30, 2].mean() < -5
    assert np.abs(change[34:]).max() < 0.5


def test_an_existing_folder_is_kept_unless_overwrite_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "images/0007_1.jpg"
    old.parent.mkdir()
    old.write_bytes(b"a photo")
    assert aerial(tmp_path, "--count", "1") == 2
    assert "exists: choose another folder or add --overwrite" in capsys.readouterr().err
    assert old.exists()
    assert aerial(tmp_path, "--count", "1", "--overwrite") == 0
    assert not old.exists()
    assert capsys.readouterr().out == f"{tmp_path}: 1 places, 3 photos each, 64 x 64\n"


@pytest.mark.parametrize("name", ["mine.jpg", "images/0001_4.jpg", "images/mine/a", "masks/a"])
def test_a_folder_with_files_of_the_user_s_own_is_never_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_bytes(b"mine")
    assert aerial(tmp_path, "--overwrite") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "not overwritten: choose another folder or move them" in error
    assert mine.read_bytes() == b"mine"
