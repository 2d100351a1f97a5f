from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.drawing.pet import BREEDS
from scripts.make_pets import main
from segtf.run import config
from segtf.run.config import TrainConfig
from voc_builder.base.colours import VOID
from voc_builder.base.command import parse
from voc_builder.sources.detect import find_samples

COUNT = 20


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 drawn photos in the layout of Oxford-IIIT Pet."""
    folder = tmp_path_factory.mktemp("drawn") / "pets"
    assert draw(folder, COUNT) == 0
    return folder


def draw(out: Path, count: int, *more: str) -> int:
    return main([str(out), "--count", str(count), "--size", "96", *more])


def files_in(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def read_photo(path: Path) -> NDArray[np.uint8]:
    return cv2.imread(str(path))


def read_mask(path: Path) -> NDArray[np.uint8]:
    """What is stored, so that a colour or palette PNG would show."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def entries(path: Path) -> list[tuple[str, int, int, int]]:
    lines = [
        line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    return [(name, int(a), int(b), int(c)) for name, a, b, c in (line.split() for line in lines)]


def test_the_same_seed_draws_the_same_bytes_for_any_count(pets: Path, tmp_path: Path) -> None:
    assert draw(tmp_path / "few", 6) == draw(tmp_path / "other", 6, "--seed", "2") == 0
    drawn = [name for name in files_in(tmp_path / "few") if not name.endswith(".txt")]
    assert len(drawn) == 12
    for name in drawn:
        few, many, other = (tmp_path / "few", pets, tmp_path / "other")
        assert (few / name).read_bytes() == (many / name).read_bytes()
        assert (few / name).read_bytes() != (other / name).read_bytes()


def test_the_layout_is_that_of_oxford_iiit_pet(pets: Path) -> None:
    names = [f"{breed.name}_{number}" for breed in BREEDS for number in (1, 2)]
    assert files_in(pets) == sorted(
        [f"images/{name}.jpg" for name in names]
        + [f"annotations/trimaps/{name}.png" for name in names]
        + [f"annotations/{name}.txt" for name in ("list", "trainval", "test")]
    )


def test_each_photo_is_once_in_the_lists_half_of_each_breed_in_either(pets: Path) -> None:
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
    head = (pets / "annotations/list.txt").read_text().splitlines()[:6]
    assert head[0] == "#Image CLASS-ID SPECIES BREED ID"
    assert all(line.startswith("#") for line in head)


def test_photos_are_jpegs_of_many_shapes_and_trimaps_of_1_2_3_fit_them(pets: Path) -> None:
    shapes = set()
    for path in (pets / "images").iterdir():
        assert path.read_bytes().startswith(b"\xff\xd8")
        height, width, _ = read_photo(path).shape
        trimap = read_mask(pets / f"annotations/trimaps/{path.stem}.png")
        assert trimap.shape == (height, width)
        assert set(np.unique(trimap)) <= {1, 2, 3}
        assert 0.02 < (trimap == 1).mean() < 0.95
        assert max(height, width) <= 96
        shapes.add((height, width))
    assert len(shapes) > 5
    assert any(h > w for h, w in shapes) and any(h < w for h, w in shapes)


def test_the_border_is_a_narrow_band_between_pet_and_background(tmp_path: Path) -> None:
    assert main([str(tmp_path / "set"), "--count", "2", "--size", "240"]) == 0
    for path in (tmp_path / "set/annotations/trimaps").iterdir():
        trimap = read_mask(path)
        pet, background, band = ((trimap == value).astype(np.uint8) for value in (1, 2, 3))
        square = np.ones((3, 3), np.uint8)
        assert not (cv2.dilate(pet, square) & background).any()
        # what is farther from its edge than a few pixels is no band
        assert 2 <= cv2.distanceTransform(band, cv2.DIST_L2, 5).max() <= 4
        assert 0.005 < band.mean() < 0.2


def test_colour_alone_does_not_tell_a_pet_from_what_is_around_it(pets: Path) -> None:
    counts = np.zeros((2, 512))
    drawn = [entries(pets / f"annotations/{name}.txt") for name in ("trainval", "test")]
    for name, *_ in drawn[0]:
        for pet, colours in enumerate(sorted_colours(pets, name)):
            counts[pet] += np.bincount(colours, minlength=512)
    pet_like = counts[1] / counts[1].sum() > counts[0] / counts[0].sum()
    right: list[list[bool]] = [[], []]
    for name, *_ in drawn[1]:
        for pet, colours in enumerate(sorted_colours(pets, name)):
            right[pet] += (pet_like[colours] == pet).tolist()
    assert np.mean([np.mean(of) for of in right]) < 0.8


def sorted_colours(pets: Path, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The colours of background and pet, in 8 steps a channel as one number."""
    steps = read_photo(pets / f"images/{name}.jpg").astype(int) // 32 @ (64, 8, 1)
    trimap = read_mask(pets / f"annotations/trimaps/{name}.png")
    return steps[trimap == 2], steps[trimap == 1]


def test_a_folder_of_dogs_has_white_masks_and_names(tmp_path: Path) -> None:
    assert draw(tmp_path / "dogs", 6, "--layout", "dogs") == 0
    photos = sorted((tmp_path / "dogs/images").iterdir())
    assert len(photos) == 6
    assert all(path.stem[0].islower() for path in photos)
    assert (tmp_path / "dogs/obj.names").read_text() == "background\ndog\n"
    sizes = set()
    for path in photos:
        mask = read_mask(tmp_path / f"dogs/masks/{path.stem}.png")
        assert mask.shape == read_photo(path).shape[:2]
        assert set(np.unique(mask)) == {0, 255}
        sizes.add(mask.shape)
    assert len(sizes) > 2
    assert len(files_in(tmp_path / "dogs")) == 13


def test_its_own_files_are_replaced_when_told_so_and_no_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    assert draw(out, 2) == 0
    assert draw(out, 2) == 2
    assert "exists: choose another folder or add --overwrite" in capsys.readouterr().err
    assert draw(out, 2, "--layout", "dogs", "--overwrite") == 0
    assert not (out / "annotations").exists()
    (out / "images/mine.jpg").write_bytes(b"mine")
    assert draw(out, 2, "--overwrite") == 2
    assert "Received: ['images/mine.jpg']" in capsys.readouterr().err
    assert (out / "images/mine.jpg").read_bytes() == b"mine"


def test_the_recipe_reads_what_is_drawn_with_its_split_and_its_border_as_void(pets: Path) -> None:
    recipe = Path(config.__file__).parents[1] / "recipes/pets.yaml"
    trained = parse(TrainConfig, "test", ["--config", str(recipe), "--data", str(pets)])
    assert (trained.arch, trained.loss, trained.size) == ("unet_plain", "ce", 512)
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


def test_splits_keep_the_masks_of_test_back(tmp_path: Path) -> None:
    assert draw(tmp_path / "dogs", COUNT, "--layout", "splits") == 0
    folders = [Path(name).parent.name for name in files_in(tmp_path / "dogs")]
    counts = {name: folders.count(name) for name in set(folders)}
    assert counts == {"train": 14, "train_mask": 14, "valid": 4, "valid_mask": 4, "test": 2}
    for photo in (tmp_path / "dogs/train").iterdir():
        height, width = read_photo(photo).shape[:2]
        assert abs(width / height - 3 / 4) < 0.02
        mask = read_mask(tmp_path / f"dogs/train_mask/{photo.stem}.png")
        assert mask.shape == (height, width)
        assert set(np.unique(mask)) == {0, 255}
    recipe = Path(config.__file__).parents[1] / "recipes/person.yaml"
    trained = parse(
        TrainConfig, "test", ["--config", str(recipe), "--data", str(tmp_path / "dogs")]
    )
    found = find_samples(tmp_path / "dogs", trained, empty=False)
    assert found.classes == ("background", "person")
    assert sorted(found.splits.values()) == ["train"] * 14 + ["val"] * 4
    assert not found.problems
