from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from scripts.drawing.pipe_photo import Photo
from scripts.drawing.pipe_things import KINDS
from scripts.make_pipes import draw_photo, main, splits
from segtf.run import config
from voc_builder.build import BuildConfig, build
from voc_builder.pixels.png import decode_mask

RECIPE = Path(config.__file__).parents[1] / "recipes/pipes.yaml"
HEIGHT, WIDTH, COUNT = 48, 64, 30
Boxes = list[tuple[str, float, float, float, float]]  # kind, left, top, right, bottom


def pipes(out: Path, *more: str) -> int:
    return main([str(out), "--count", str(COUNT), "--size", f"{HEIGHT}x{WIDTH}", *more])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest sets of seed 1."""
    out = tmp_path_factory.mktemp("drawn") / "pipes"
    assert pipes(out) == 0
    return out


def photos_of(seed: int, *, boxed: bool, count: int = COUNT) -> list[Photo]:
    """What the command draws, with where each thing is seen."""
    return [draw_photo(index, seed, (HEIGHT, WIDTH), boxed=boxed) for index in range(count)]


@pytest.fixture(scope="module")
def photos() -> list[Photo]:
    return photos_of(1, boxed=True)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def yolo_boxes(path: Path) -> Boxes:
    names = yaml.safe_load((path.parents[2] / "data.yaml").read_text())["names"]
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        number, *values = line.split()
        x, y, width, height = (float(value) for value in values)
        left, top = (x - width / 2) * WIDTH, (y - height / 2) * HEIGHT
        found.append((names[int(number)], left, top, left + width * WIDTH, top + height * HEIGHT))
    return found


def voc_boxes(path: Path) -> Boxes:
    """With edges between pixels, counted from 0; the file counts pixels from 1."""
    found = []
    for thing in ElementTree.parse(path).getroot().iter("object"):
        xmin, ymin, xmax, ymax = (
            float(thing.findtext(f"bndbox/{name}", "")) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        found.append((thing.findtext("name", ""), xmin - 1, ymin - 1, xmax, ymax))
    return found


def edges(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def test_the_same_seed_draws_the_same_bytes_over_old_ones_and_another_seed_does_not(
    drawn: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pipes"
    for name in ("boxes/images/val/boxes_00999.jpg", "masks/test_mask/masks_00001.png"):
        (out / name).parent.mkdir(parents=True)
        (out / name).touch()
    assert pipes(out, "--overwrite") == 0
    assert files(out) == files(drawn)
    other = draw_photo(0, 2, (HEIGHT, WIDTH), boxed=True)
    assert (other.image != draw_photo(0, 1, (HEIGHT, WIDTH), boxed=True).image).any()


def test_yolo_and_voc_hold_the_box_around_every_thing_as_it_is_seen(
    drawn: Path, photos: list[Photo]
) -> None:
    for index, photo in enumerate(photos):
        (label,) = drawn.glob(f"boxes/labels/*/boxes_{index:05d}.txt")
        split, name = label.parent.name, label.stem
        xml = drawn / f"boxes/Annotations/{split}/{name}.xml"
        seen = [(thing.kind, *edges(thing.mask)) for thing in photo.things]
        assert voc_boxes(xml) == seen
        for yolo, expected in zip(yolo_boxes(label), seen, strict=True):
            assert yolo[0] == expected[0]
            np.testing.assert_allclose(yolo[1:], expected[1:], atol=0.01)
        root = ElementTree.parse(xml).getroot()
        image = cv2.imread(str(drawn / f"boxes/images/{split}/{root.findtext('filename')}"))
        size = (int(root.findtext(f"size/{side}", "")) for side in ("height", "width"))
        assert image.shape == (*size, 3) == (HEIGHT, WIDTH, 3)


def test_both_sources_of_boxes_read_the_same_masks_and_keep_the_split(
    drawn: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load(RECIPE.read_text())
    trees, sources = {}, (recipe["source"], "boxes")
    for source in sources:
        out, merge = tmp_path / source, recipe["merge"]
        dataset = build(
            BuildConfig(drawn / "boxes", out, source=source, merge=merge, records=False)
        )
        assert [len(ids) for ids in dataset.splits.values()] == [24, 3, 3]
        assert dataset.classes == ("background", "object")
        trees[source] = files(tmp_path / source / "SegmentationClass")
    assert sources == ("yolo", "boxes")
    assert trees["yolo"] == trees["boxes"]


def test_masks_hold_the_pixels_of_all_things_and_nothing_else(drawn: Path) -> None:
    for index, photo in enumerate(photos_of(1, boxed=False, count=COUNT // 10)):
        (file,) = drawn.glob(f"masks/*_mask/masks_{index:05d}.png")
        mask = decode_mask(file.read_bytes())
        together = np.zeros((HEIGHT, WIDTH), bool)
        for thing in photo.things:
            assert not (together & thing.mask).any(), "no thing hides another"
            together |= thing.mask
        np.testing.assert_array_equal(mask, together)
        (boxes,) = drawn.glob(f"mask_boxes/*/masks_{index:05d}.txt")
        assert len(boxes.read_text().splitlines()) == len(photo.things)


def test_a_thing_is_where_the_photo_differs_from_the_same_pipe_without_it() -> None:
    """Masks are of what is drawn: within them the photo is changed, outside it is not."""
    from scripts.drawing.pipe_things import draw_thing
    from scripts.drawing.pipe_wall import draw_scene

    scene = draw_scene(np.random.default_rng(5), 2 * HEIGHT, 2 * WIDTH)
    empty = scene.canvas.copy()
    for kind in KINDS:
        layer = draw_thing(np.random.default_rng(5), scene, kind)
        np.testing.assert_array_equal(scene.canvas, empty)
        assert layer.cover.min() >= 0
        assert layer.cover.max() <= 1
        assert layer.colour[layer.cover == 0].max() == 0
        assert np.abs(layer.colour - empty)[layer.cover > 0.9].mean() > 1e-4


def test_every_kind_is_there_and_some_photos_show_none(photos: list[Photo]) -> None:
    found = Counter(
        kind for photo in photos for kind in [thing.kind for thing in photo.things] or ["none"]
    )
    assert set(found) == {*KINDS, "none"}


def test_a_filled_box_is_much_larger_than_a_crack_or_a_root() -> None:
    filled: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for index in range(8):
        for thing in draw_photo(index, 3, (120, 160), boxed=True).things:
            left, top, right, bottom = thing.box
            filled[thing.kind].append(float(thing.mask[top:bottom, left:right].mean()))
    thin = [share for kind in ("crack", "root") for share in filled[kind]]
    assert np.mean(thin) < 0.4
    assert np.mean(filled["lateral"]) > 0.55


def test_every_split_has_photos_and_none_is_in_two_places(drawn: Path) -> None:
    places = [f"boxes/images/{split}" for split in ("train", "val", "test")]
    places += [f"masks/{split}" for split in ("train", "valid", "test")]
    counts = [len(list((drawn / place).glob("*.jpg"))) for place in places]
    assert counts == [24, 3, 3, 1, 1, 1]
    contents = [path.read_bytes() for path in drawn.rglob("*.jpg")]
    names = [path.name for path in drawn.rglob("*.jpg")]
    assert len(set(contents)) == len(set(names)) == COUNT + COUNT // 10


@pytest.mark.parametrize(
    ("count", "val", "test", "expected"),
    [(400, 0.1, 0.1, (320, 40, 40)), (40, 0.2, 0.3, (20, 8, 12)), (3, 0.2, 0.3, (1, 1, 1))],
)
def test_splits_have_their_shares(
    count: int, val: float, test: float, expected: tuple[int, int, int]
) -> None:
    found = Counter(splits(count, val, test))
    assert (found["train"], found["val"], found["test"]) == expected


def test_an_existing_folder_is_kept_unless_overwrite_is_given(
    drawn: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(drawn)
    assert pipes(drawn) == 2
    assert "exists: choose another folder or add --overwrite" in capsys.readouterr().err
    assert files(drawn) == before


@pytest.mark.parametrize(
    "name", ["mine.jpg", "boxes/images/train/mine.jpg", "masks/train/boxes_00001.jpg", "boxes/sub"]
)
def test_a_folder_with_files_of_the_user_s_own_is_never_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    assert pipes(tmp_path, "--overwrite") == 2
    assert f"not overwritten: choose another folder or move them. Received: ['{name}']" in (
        capsys.readouterr().err
    )
    assert (tmp_path / name).read_bytes() == b"mine"
