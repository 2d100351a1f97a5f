from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.drawing.pets import BREEDS
from scripts.make_pets import main
from segtf.run import config
from segtf.run.config import TrainConfig
from voc_builder.base.colours import VOID
from voc_builder.base.command import parse
from voc_builder.sources.detect import find_samples

COUNT = 20
RECIPES = Path(config.__file__).parents[1] / "recipes"


def draw(out: Path, count: int, *more: str) -> int:
    return main([str(out), "--count", str(count), "--size", "96", *more])


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 drawn images in the layout of Oxford-IIIT Pet."""
    folder = tmp_path_factory.mktemp("drawn") / "pets"
    assert draw(folder, COUNT) == 0
    return folder


def files_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def read_image(path: Path) -> NDArray[np.uint8]:
    return cv2.imread(str(path))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """As stored, so that a colour or palette PNG would show."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def entries(path: Path) -> list[tuple[str, int, int, int]]:
    lines = [line for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [(name, int(a), int(b), int(c)) for name, a, b, c in (line.split() for line in lines)]


def test_an_image_is_the_same_for_any_count(pets: Path, tmp_path: Path) -> None:
    assert draw(tmp_path, 6, "--overwrite") == 0
    drawn = [name for name in files_in(tmp_path) if not name.endswith(".txt")]
    assert len(drawn) == 12
    for name in drawn:
        assert (tmp_path / name).read_bytes() == (pets / name).read_bytes()


def test_the_layout_is_that_of_oxford_iiit_pet(pets: Path) -> None:
    names = [f"{breed.name}_{number}" for breed in BREEDS for number in (1, 2)]
    assert files_in(pets) == sorted(
        [f"images/{name}.jpg" for name in names]
        + [f"annotations/trimaps/{name}.png" for name in names]
        + [f"annotations/{name}.txt" for name in ("list", "trainval", "test")]
    )


def test_the_lists_hold_each_image_once_and_half_of_each_breed_in_either(pets: Path) -> None:
    whole, train, test = (
        entries(pets / f"annotations/{name}.txt") for name in ("list", "trainval", "test")
    )
    assert sorted(train + test) == sorted(whole)
    assert {name for name, *_ in whole} == {path.stem for path in (pets / "images").iterdir()}
    assert len(train) == len(test)
    assert {kind for _, kind, *_ in train} == {kind for _, kind, *_ in test} == set(range(1, 11))
    for name, kind, species, breed in whole:
        assert species == (1 if name[0].isupper() else 2)  # a cat's has a capital
        assert breed <= kind
    assert len({tuple(ids) for _, *ids in whole}) == 10


def test_trimaps_of_1_2_3_fit_jpegs_of_several_shapes(pets: Path) -> None:
    shapes = set()
    for path in (pets / "images").iterdir():
        assert path.read_bytes().startswith(b"\xff\xd8")
        trimap = read_mask(pets / f"annotations/trimaps/{path.stem}.png")
        assert trimap.shape == read_image(path).shape[:2]
        assert set(np.unique(trimap)) == {1, 2, 3}
        assert 0.02 < (trimap == 1).mean() < 0.95
        assert max(trimap.shape) <= 96
        shapes.add(trimap.shape)
    assert len(shapes) > 5
    assert any(h > w for h, w in shapes) and any(h < w for h, w in shapes)


def test_the_border_is_a_narrow_band_between_pet_and_background(tmp_path: Path) -> None:
    assert main([str(tmp_path / "set"), "--count", "2", "--size", "500"]) == 0
    for path in (tmp_path / "set/annotations/trimaps").iterdir():
        trimap = read_mask(path)
        pet, background, band = ((trimap == value).astype(np.uint8) for value in (1, 2, 3))
        assert not (cv2.dilate(pet, np.ones((3, 3), np.uint8)) & background).any()
        assert 2 <= cv2.distanceTransform(band, cv2.DIST_L2, 5).max() <= 6
        assert 0.005 < band.mean() < 0.2


def test_dogs_have_masks_of_0_and_255_and_class_names(tmp_path: Path) -> None:
    assert draw(tmp_path / "dogs", 6, "--layout", "dogs") == 0
    images = sorted((tmp_path / "dogs/images").iterdir())
    assert len(images) == 6
    assert all(path.stem[0].islower() for path in images)
    assert (tmp_path / "dogs/obj.names").read_text() == "background\ndog\n"
    for path in images:
        mask = read_mask(tmp_path / f"dogs/masks/{path.stem}.png")
        assert mask.shape == read_image(path).shape[:2]
        assert set(np.unique(mask)) == {0, 255}
    assert len(files_in(tmp_path / "dogs")) == 13


def test_the_recipe_reads_the_lists_as_splits_and_the_border_as_void(pets: Path) -> None:
    recipe = RECIPES / "pets.yaml"
    trained = parse(TrainConfig, "test", ["--config", str(recipe), "--data", str(pets)])
    found = find_samples(pets, trained, empty=False)
    assert found.classes == ("background", "pet")
    assert not found.problems
    lists = {name: entries(pets / f"annotations/{name}.txt") for name in ("trainval", "test")}
    for list_name, split in (("trainval", "train"), ("test", "test")):
        assert {found.splits[name] for name, *_ in lists[list_name]} == {split}
    for sample in found.samples:
        trimap = read_mask(pets / f"annotations/trimaps/{sample.id}.png")
        ids = sample.draw_mask(found.classes, *trimap.shape)
        np.testing.assert_array_equal(ids, np.choose(trimap, (VOID, 1, 0, VOID)))


def test_the_recipe_reads_folders_as_splits_of_which_test_has_no_masks(tmp_path: Path) -> None:
    out = tmp_path / "dogs"
    assert draw(out, COUNT, "--layout", "splits") == 0
    folders = [Path(name).parent.name for name in files_in(out)]
    counts = {name: folders.count(name) for name in set(folders)}
    assert counts == {"train": 14, "train_mask": 14, "valid": 4, "valid_mask": 4, "test": 2}
    for image in (out / "train").iterdir():
        height, width = read_image(image).shape[:2]
        assert abs(width / height - 3 / 4) < 0.02
        mask = read_mask(out / f"train_mask/{image.stem}.png")
        assert mask.shape == (height, width)
        assert set(np.unique(mask)) == {0, 255}
    recipe = RECIPES / "person.yaml"
    trained = parse(TrainConfig, "test", ["--config", str(recipe), "--data", str(out)])
    found = find_samples(out, trained, empty=False)
    assert found.classes == ("background", "person")
    assert sorted(found.splits.values()) == ["train"] * 14 + ["val"] * 4
    assert not found.problems
