"""What predictions become for the annotator is what labelme opens and what is built from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segtf.outputs.labelme_json import labelme_annotation
from tests.segtf.drawn_masks import any_masks, blobs, ellipse
from voc_builder.base.errors import UserError
from voc_builder.sources.labelme import draw_mask, read_annotation, read_image
from voc_builder.sources.labelme_checks import check_annotation

CLASSES = ("background", "chip", "дефект")
PARTS = ("roof", "grass", "road")  # without a background


def write(folder: Path, mask: NDArray[np.uint8], classes: Sequence[str], **how: Any) -> Path:
    """The JSON of class ids and its image."""
    Image.fromarray(np.repeat(mask[..., None], 3, axis=2)).save(folder / "a.png")
    path = folder / "a.json"
    content = labelme_annotation(mask, classes, "a.png", **how)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def built(path: Path, classes: Sequence[str]) -> NDArray[np.uint8]:
    """The mask that a data set gets of it; no shape may be wrong in any way."""
    read = read_annotation(path)
    mask = draw_mask(read, classes)
    assert check_annotation(read, classes, mask.shape) == []
    return mask


def ious(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> list[float]:
    """Of every class in either of two masks."""
    return [
        float(((one == i) & (other == i)).sum() / ((one == i) | (other == i)).sum())
        for i in np.union1d(one, other)
    ]


def kinds(path: Path) -> list[tuple[str, str]]:
    return [(shape.label, shape.shape_type) for shape in read_annotation(path).shapes]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labelme")


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(any_masks(), st.sampled_from([CLASSES, PARTS]), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_polygons_are_painted_again_to_the_same_mask(
    folder: Path, mask: NDArray[np.uint8], classes: Sequence[str], tolerance: float
) -> None:
    found = built(write(folder, mask, classes, tolerance=tolerance), classes)
    assert min(ious(found, mask)) >= 0.98
    if tolerance == 0:
        np.testing.assert_array_equal(found, mask)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(any_masks(), st.sampled_from([CLASSES, PARTS]))
def test_masks_are_painted_again_to_the_very_pixels(
    folder: Path, mask: NDArray[np.uint8], classes: Sequence[str]
) -> None:
    path = write(folder, mask, classes, shapes="mask")
    np.testing.assert_array_equal(built(path, classes), mask)
    assert {kind for _, kind in kinds(path)} <= {"mask"}


@pytest.mark.parametrize("shapes", ["polygon", "mask"])
def test_labelme_opens_it_and_paints_the_same(tmp_path: Path, shapes: str) -> None:
    pytest.importorskip("labelme", reason="pip install labelme==6.3.1")
    from labelme._label_file import LabelFile
    from labelme.utils import shapes_to_label

    mask = blobs(5, 90, 120)
    path = write(tmp_path, mask, CLASSES, shapes=shapes)
    opened = LabelFile(str(path))
    assert opened.image_path == "a.png"
    assert (
        opened.image_data == (tmp_path / "a.png").read_bytes() == read_image(read_annotation(path))
    )
    ids = {name: class_id for class_id, name in enumerate(CLASSES)}
    painted, objects = shapes_to_label(mask.shape, opened.shapes, ids)
    np.testing.assert_array_equal(painted, built(path, CLASSES))
    assert len(np.unique(objects[objects > 0])) == len(opened.shapes) > 5
    assert {"polygon", "mask"} >= {shape["shape_type"] for shape in opened.shapes} >= {shapes}


def test_an_image_of_background_alone_has_no_shapes_and_one_of_a_first_class_has() -> None:
    mask = np.zeros((4, 6), np.uint8)
    assert labelme_annotation(mask, CLASSES, "a.png")["shapes"] == []
    (shape,) = labelme_annotation(mask, PARTS, "a.png")["shapes"]
    assert (shape["label"], shape["shape_type"]) == ("roof", "polygon")


def test_what_lies_in_a_hole_comes_after_what_is_around_it(tmp_path: Path) -> None:
    mask = ellipse(100, (45, 45), 0)
    mask[ellipse(100, (30, 30), 0) > 0] = 2
    mask[ellipse(100, (15, 15), 0) > 0] = 1
    path = write(tmp_path, mask, CLASSES)
    assert kinds(path) == [("chip", "polygon"), ("дефект", "polygon"), ("chip", "polygon")]
    assert min(ious(built(path, CLASSES), mask)) >= 0.98


def test_a_hole_that_shows_the_background_makes_a_mask_and_no_other_shape(tmp_path: Path) -> None:
    mask = ellipse(100, (45, 45), 0)
    mask[ellipse(100, (30, 30), 0) > 0] = 0
    mask[ellipse(100, (15, 15), 0) > 0] = 2
    path = write(tmp_path, mask, CLASSES)
    assert kinds(path) == [("chip", "mask"), ("дефект", "polygon")]
    assert min(ious(built(path, CLASSES), mask)) >= 0.98


def test_areas_side_by_side_leave_no_gap_and_keep_few_points(tmp_path: Path) -> None:
    mask = blobs(3, 200, 200, classes=2, smooth=15) + 1
    found = built(write(tmp_path, mask, CLASSES), CLASSES)
    assert (found > 0).all()
    assert min(ious(found, mask)) >= 0.98
    points = sum(len(shape.points) for shape in read_annotation(tmp_path / "a.json").shapes)
    exact = labelme_annotation(mask, CLASSES, "a.png", tolerance=0)["shapes"]
    assert points < sum(len(shape["points"]) for shape in exact) / 4


def test_void_is_ignored_in_labelme_too(tmp_path: Path) -> None:
    mask = np.full((20, 20), 255, np.uint8)
    mask[5:15, 5:15] = 1
    path = write(tmp_path, mask, CLASSES)
    assert [label for label, _ in kinds(path)] == ["__ignore__", "chip"]
    np.testing.assert_array_equal(built(path, CLASSES), mask)


def test_thin_lines_single_pixels_and_edges_stay(tmp_path: Path) -> None:
    mask = np.zeros((12, 16), np.uint8)
    mask[1, 1] = mask[0, 15] = mask[11, 0] = 1  # pixels, two of them in corners
    mask[3, :] = 2  # from edge to edge
    mask[4:12, 9] = 1
    mask[np.arange(5, 11), np.arange(1, 7)] = 2  # diagonal
    path = write(tmp_path, mask, CLASSES, tolerance=5)
    np.testing.assert_array_equal(built(path, CLASSES), mask)


def test_a_polygon_that_is_painted_as_another_area_becomes_a_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by versions of Pillow that paint too much between the spikes of a polygon."""
    mask = ellipse(60, (25, 15), 30)

    def boxed(self: ImageDraw.ImageDraw, xy: Any, fill: int, outline: int) -> None:
        xs, ys = zip(*xy, strict=True)
        self.rectangle((min(xs), min(ys), max(xs), max(ys)), fill=fill, outline=outline)

    with monkeypatch.context() as patch:
        patch.setattr(ImageDraw.ImageDraw, "polygon", boxed)
        path = write(tmp_path, mask, CLASSES)
    assert kinds(path) == [("chip", "mask")]
    np.testing.assert_array_equal(built(path, CLASSES), mask)


@pytest.mark.parametrize(
    ("how", "part"),
    [
        ({"shapes": "box"}, "one of polygon, mask. Received: box"),
        ({"tolerance": -1}, "Received: -1"),
        ({"tolerance": float("nan")}, "Received: nan"),
    ],
)
def test_what_cannot_be_drawn_is_refused(how: dict[str, Any], part: str) -> None:
    with pytest.raises(UserError, match=part):
        labelme_annotation(np.zeros((2, 2), np.uint8), CLASSES, "a.png", **how)
