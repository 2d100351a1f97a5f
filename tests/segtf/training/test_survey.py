"""Objects are counted and measured in the masks of train and val alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.training import survey as of_ours
from segtf.training.survey import Objects, survey
from voc_builder.base.errors import UserError
from voc_builder.pixels.png import encode_mask
from voc_builder.tree.voc import MASKS, Dataset

CLASSES = ("__background__", "chip", "defect")
Mask = NDArray[np.uint8]


def mask(height: int = 100, width: int = 100, **squares: list[tuple[int, int, int]]) -> Mask:
    """Background with squares: class by name, and for each its top, left and side."""
    ids = np.zeros((height, width), np.uint8)
    for name, places in squares.items():
        for top, left, side in places:
            class_id = 255 if name == "void" else CLASSES.index(name)
            ids[top : top + side, left : left + side] = class_id
    return ids


def dataset(
    folder: Path,
    *,
    classes: tuple[str, ...] = CLASSES,
    record_size: int | None = None,
    **splits: list[Mask],
) -> Dataset:
    """A data set of those masks; nothing else of it is on the disk."""
    ids = {name: tuple(f"{name}{i}" for i in range(len(masks))) for name, masks in splits.items()}
    (folder / MASKS).mkdir(parents=True)
    for name, masks in splits.items():
        for image_id, ids_of in zip(ids[name], masks, strict=True):
            (folder / MASKS / f"{image_id}.png").write_bytes(encode_mask(ids_of))
    counted: Mapping[str, dict[str, int]] = {
        name: {c: int(sum((m == i).sum() for m in masks)) for i, c in enumerate(classes)}
        for name, masks in splits.items()
    }
    ids = {"val": (), "test": (), **ids}
    pixels = {name: counted.get(name, {}) for name in ("train", "val", "test")}
    return Dataset(folder, classes, ids, {}, record_size, pixels, {}, "0a")


def test_the_objects_of_each_class_are_counted_and_measured_at_their_fifth_percentile(
    tmp_path: Path,
) -> None:
    one = mask(chip=[(0, 0, 40), (50, 50, 20)], defect=[(10, 10, 5)])
    two = mask(200, 50, chip=[(0, 0, 30)])
    found = survey(dataset(tmp_path, train=[one], val=[two]))
    sizes, areas = [np.sqrt(40**2 - 5**2), 20, 30], 100 * 100  # both images have as many pixels
    size = float(np.percentile(sizes, 5))
    assert found.objects == (
        Objects("chip", 3, 0, pytest.approx(size), pytest.approx(size / np.sqrt(areas))),
        Objects("defect", 1, 0, 5.0, 0.05),
    )
    assert found.smallest == found.objects[1]
    assert found.heights == (100, 150, 200)
    assert found.widths == (50, 75, 100)
    assert found.images == {"train": 1, "val": 1}


def test_the_test_split_is_never_looked_at(tmp_path: Path) -> None:
    tiny = mask(defect=[(10, 10, 3)])
    data = dataset(tmp_path, train=[mask(defect=[(0, 0, 30)])], test=[tiny])
    data.mask("test0").write_bytes(b"no PNG: it would be refused")
    assert survey(data).objects == (Objects("defect", 1, 0, 30.0, 0.3),)


def test_void_cuts_no_object_and_is_none(tmp_path: Path) -> None:
    found = survey(dataset(tmp_path, train=[mask(chip=[(0, 0, 20)], void=[(50, 50, 9)])]))
    assert [(o.name, o.count) for o in found.objects] == [("chip", 1)]


def test_corners_touch_and_an_object_of_two_classes_is_two(tmp_path: Path) -> None:
    touching = mask(chip=[(0, 0, 10), (10, 10, 10)], defect=[(20, 20, 10)])
    found = survey(dataset(tmp_path, train=[touching]))
    assert [(o.name, o.count) for o in found.objects] == [("chip", 1), ("defect", 1)]


def test_rests_of_annotation_without_a_block_of_3_by_3_are_specks_not_objects(
    tmp_path: Path,
) -> None:
    ids = mask(chip=[(20, 20, 40), (0, 0, 2), (0, 97, 3)])
    ids[90, 10:60] = 1  # a line that an object painted later left over
    (chip,) = survey(dataset(tmp_path, train=[ids])).objects
    assert (chip.count, chip.specks) == (2, 2)
    assert chip.size == pytest.approx(np.percentile([3, 40], 5))


def test_a_class_of_thin_lines_alone_has_them_as_objects(tmp_path: Path) -> None:
    ids = mask()
    ids[10, 10:46] = 2
    (line,) = survey(dataset(tmp_path, train=[ids])).objects
    assert (line.count, line.specks, line.size) == (1, 0, 6.0)


@pytest.mark.parametrize(
    ("classes", "share", "background"),
    [
        (("__background__", "chip"), 0.2, "__background__"),  # by its name
        (("фон", "chip"), 0.9, "фон"),  # by its pixels
        (("building", "ground"), 0.2, None),  # aerial images have no background
    ],
)
def test_class_0_is_no_object_if_it_is_called_background_or_has_the_most_pixels(
    classes: tuple[str, ...], share: float, background: str | None, tmp_path: Path
) -> None:
    ids = np.ones((100, 100), np.uint8)
    ids[:, : round(100 * share)] = 0
    found = survey(dataset(tmp_path, classes=classes, train=[ids]))
    assert found.background == background
    assert [o.name for o in found.objects] == [c for c in classes if c != background]


def test_records_of_smaller_images_shrink_the_objects_with_them(tmp_path: Path) -> None:
    data = dataset(tmp_path, record_size=50, train=[mask(200, 200, defect=[(0, 0, 40)])])
    found = survey(data)
    assert found.objects == (Objects("defect", 1, 0, 10.0, 0.2),)
    assert found.heights == found.widths == (50, 50, 50)


def test_of_many_masks_an_evenly_spread_part_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_ours, "MOST_MASKS", 3)
    masks = [mask(chip=[(0, 0, 10 + i)]) for i in range(9)]
    found = survey(dataset(tmp_path, train=masks))
    assert found.images["train"] == 9
    assert found.masks == 3
    assert found.objects[0].size == pytest.approx(np.percentile([10, 13, 16], 5))


def test_no_objects_are_no_smallest_ones(tmp_path: Path) -> None:
    found = survey(dataset(tmp_path, train=[mask()]))
    assert found.objects == ()
    assert found.smallest is None


def test_a_mask_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    data = dataset(tmp_path, train=[mask()])
    data.mask("train0").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match=r"train0\.png: no mask that can be read"):
        survey(data)


@pytest.mark.slow
def test_masks_of_six_megapixels_take_a_fraction_of_a_second_each(tmp_path: Path) -> None:
    large = mask(2448, 2448, chip=[(300, 300, 1800)], defect=[(900, 900, 60), (1500, 1500, 400)])
    data = dataset(tmp_path, train=[large] * 10)
    started = time.process_time()  # of all threads together, however busy the machine is
    survey(data)
    assert time.process_time() - started < 10 * 0.25
