from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.drawing.pipes import KINDS, PipeImage, draw_pipe
from scripts.make_pipes import draw_image, main
from voc_builder.build import BuildConfig, build
from voc_builder.pixels.png import decode_mask

HEIGHT, WIDTH, COUNT = 48, 64, 30
Boxes = list[tuple[str, int, int, int, int]]  # kind, left, top, right, bottom


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest sets of seed 1."""
    out = tmp_path_factory.mktemp("drawn") / "pipes"
    flags = ["--count", str(COUNT), "--size", f"{HEIGHT}x{WIDTH}"]
    assert main([str(out), *flags]) == 0
    return out


def images_of(*, boxed: bool, count: int) -> list[PipeImage]:
    """The images that the command draws, with the pixels of each thing."""
    return [draw_image(index, 1, (HEIGHT, WIDTH), boxed=boxed) for index in range(count)]


@pytest.fixture(scope="module")
def images() -> list[PipeImage]:
    return images_of(boxed=True, count=COUNT)


def voc_boxes(path: Path) -> Boxes:
    """With edges between pixels, counted from 0; the file counts pixels from 1."""
    found = []
    for thing in ElementTree.parse(path).getroot().iter("object"):
        xmin, ymin, xmax, ymax = (
            int(thing.findtext(f"bndbox/{name}", "")) for name in ("xmin", "ymin", "xmax", "ymax")
        )
        found.append((thing.findtext("name", ""), xmin - 1, ymin - 1, xmax, ymax))
    return found


def edges(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(mask)
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def test_voc_holds_the_box_around_the_pixels_of_every_thing(
    drawn: Path, images: list[PipeImage]
) -> None:
    for index, one in enumerate(images):
        (label,) = drawn.glob(f"boxes/labels/*/boxes_{index:05d}.txt")
        split, name = label.parent.name, label.stem
        xml = drawn / f"boxes/Annotations/{split}/{name}.xml"
        seen = [(thing.kind, *edges(thing.mask)) for thing in one.things]
        assert voc_boxes(xml) == seen
        root = ElementTree.parse(xml).getroot()
        image = cv2.imread(str(drawn / f"boxes/images/{split}/{root.findtext('filename')}"))
        size = (int(root.findtext(f"size/{side}", "")) for side in ("height", "width"))
        assert image.shape == (*size, 3) == (HEIGHT, WIDTH, 3)


def test_both_sources_of_boxes_read_the_same_masks_and_keep_the_split(
    drawn: Path, tmp_path: Path
) -> None:
    masks = []
    for source in ("yolo", "boxes"):
        out = tmp_path / source
        dataset = build(BuildConfig(drawn / "boxes", out, source=source, records=False))
        assert [len(ids) for ids in dataset.splits.values()] == [24, 3, 3]
        found = (path.read_bytes() for path in sorted(out.glob("SegmentationClass/*")))
        assert set(dataset.classes) == {"__background__", *KINDS}
        masks.append(np.array(dataset.classes)[[decode_mask(mask) for mask in found]])
    np.testing.assert_array_equal(*masks)


def test_masks_hold_the_pixels_of_all_things_and_nothing_else(drawn: Path) -> None:
    for index, one in enumerate(images_of(boxed=False, count=COUNT // 10)):
        (file,) = drawn.glob(f"masks/*_mask/masks_{index:05d}.png")
        mask = decode_mask(file.read_bytes())
        together = np.zeros((HEIGHT, WIDTH), bool)
        for thing in one.things:
            assert not (together & thing.mask).any(), "no thing hides another"
            together |= thing.mask
        np.testing.assert_array_equal(mask, together)
        (boxes,) = drawn.glob(f"mask_boxes/*/masks_{index:05d}.txt")
        assert len(boxes.read_text().splitlines()) == len(one.things)


def test_a_thing_differs_from_the_wall_behind_it() -> None:
    pipe = draw_pipe(np.random.default_rng(5), (HEIGHT, WIDTH))
    empty = pipe.image.copy()
    for draw in KINDS.values():
        mask, colours = draw(np.random.default_rng(5), pipe)
        np.testing.assert_array_equal(pipe.image, empty)
        assert np.abs(colours - empty)[mask].mean() > 10


def test_every_kind_is_there_and_some_images_show_none(images: list[PipeImage]) -> None:
    found = Counter(
        kind for one in images for kind in [thing.kind for thing in one.things] or ["none"]
    )
    assert set(found) == {*KINDS, "none"}


def test_a_filled_box_is_much_larger_than_a_crack_or_a_root() -> None:
    filled: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for index in range(16):
        for thing in draw_image(index, 3, (120, 160), boxed=True).things:
            left, top, right, bottom = thing.box
            filled[thing.kind].append(float(thing.mask[top:bottom, left:right].mean()))
    thin = [fraction for kind in ("crack", "root") for fraction in filled[kind]]
    assert np.mean(thin) < 0.4
    assert np.mean(filled["lateral"]) > 0.55


def test_every_split_has_images_and_none_is_in_two_places(drawn: Path) -> None:
    places = [f"boxes/images/{split}" for split in ("train", "val", "test")]
    places += [f"masks/{split}" for split in ("train", "valid", "test")]
    counts = [len(list((drawn / place).glob("*.jpg"))) for place in places]
    assert counts == [24, 3, 3, 1, 1, 1]
    contents = [path.read_bytes() for path in drawn.rglob("*.jpg")]
    names = [path.name for path in drawn.rglob("*.jpg")]
    assert len(set(contents)) == len(set(names)) == COUNT + COUNT // 10
