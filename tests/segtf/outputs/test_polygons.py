"""Polygons run around every connected area, and painted again they are that area."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.outputs.polygons import (
    EDGE,
    INSIDE,
    Region,
    find_regions,
    outline,
    simplify,
    trace,
)
from tests.segtf.drawn_masks import any_masks, blobs, ellipse
from voc_builder.pixels.geometry import find_crossing, is_flat
from voc_builder.sources.labelme import Annotation, Shape, draw_mask

Polygon = NDArray[np.float64]


def painted(polygons: list[tuple[str, Polygon]], height: int, width: int) -> NDArray[np.uint8]:
    """Class ids after painting as labelme does."""
    shapes = [Shape(label, tuple((x, y) for x, y in polygon)) for label, polygon in polygons]
    annotation = Annotation(Path("a.json"), tuple(shapes), height, width)
    return draw_mask(annotation, ["background", "a"])


OUTSIDE = 0.75  # of a pixel: into the holes


def hole_outlines(region: Region) -> list[Polygon]:
    """The exact polygons of a region's holes, as labelme would paint them."""
    return [simplify(trace(border, OUTSIDE), 0) for border in region.holes]


def only(mask: NDArray[np.uint8]) -> Region:
    (region,) = find_regions(mask, [1])
    return region


@settings(deadline=None, max_examples=60)
@given(any_masks())
def test_regions_are_the_connected_areas(mask: NDArray[np.uint8]) -> None:
    numbers = np.zeros(mask.shape, int)
    for number, region in enumerate(find_regions(mask, [1, 2]), start=1):
        assert not region.cut(numbers)[region.pixels].any(), "a pixel of two regions"
        region.cut(numbers)[region.pixels] = number
        assert (region.cut(mask)[region.pixels] == region.class_id).all()
        assert region.pixels.any(0).all(), "no column of the box empty"
        assert region.pixels.any(1).all(), "no row of the box empty"
        assert region.area == region.pixels.sum()
        assert (
            len(region.holes)
            == scipy.ndimage.label(np.pad(~region.pixels, 1, constant_values=True))[1] - 1
        )
    np.testing.assert_array_equal(numbers > 0, (mask == 1) | (mask == 2))
    expected = sum(scipy.ndimage.label(mask == i, np.ones((3, 3)))[1] for i in (1, 2))
    assert numbers.max() == expected


@settings(deadline=None, max_examples=60)
@given(any_masks(classes=2, largest=25))
def test_an_outline_less_those_of_the_holes_is_painted_as_the_region(
    mask: NDArray[np.uint8],
) -> None:
    for region in find_regions(mask, [1]):
        polygons = [("a", outline(region, 0))]
        polygons += [("background", hole) for hole in hole_outlines(region)]
        found = painted(polygons, *mask.shape)
        np.testing.assert_array_equal(region.cut(found), region.pixels)
        assert found.sum() == region.area


@settings(deadline=None, max_examples=60)
@given(any_masks(classes=2, largest=25), st.sampled_from([INSIDE, OUTSIDE, EDGE]))
def test_paths_never_meet_themselves(mask: NDArray[np.uint8], reach: float) -> None:
    for region in find_regions(mask, [1]):
        for border in (region.outer, *region.holes):
            path = trace(border, reach)
            assert len(path) >= 4
            assert not is_flat(path.tolist())
            assert find_crossing(path.tolist()) is None


@settings(deadline=None, max_examples=60)
@given(any_masks(classes=2, largest=60), st.floats(0, 6))
def test_no_point_that_is_left_out_lies_farther_than_the_tolerance(
    mask: NDArray[np.uint8], tolerance: float
) -> None:
    for region in find_regions(mask, [1]):
        path = trace(region.outer, INSIDE)
        fewer = simplify(path, tolerance)
        assert len(fewer) >= 3
        assert find_crossing(fewer.tolist()) is None
        assert set(map(tuple, fewer.tolist())) <= set(map(tuple, path.tolist()))
        contour = fewer.astype(np.float32)
        far = [abs(cv2.pointPolygonTest(contour, point, True)) for point in path.tolist()]
        assert max(far) <= tolerance + 1e-4


def test_a_pixel_a_line_and_a_box_are_traced_on_their_own_side() -> None:
    pixel = np.array([[0, 0, 0], [0, 1, 0]], np.uint8)
    assert outline(only(pixel), 1).tolist() == [[1.5, 1.25], [1.25, 1.5], [1.5, 1.75], [1.75, 1.5]]
    np.testing.assert_array_equal(painted([("a", outline(only(pixel), 1))], 2, 3), pixel)

    line = np.array([[0, 0, 0, 0], [0, 1, 1, 0]], np.uint8)
    assert trace(only(line).outer, EDGE).tolist() == [
        [1.5, 1],
        [1, 1.5],
        [1.5, 2],
        [2.5, 2],
        [3, 1.5],
        [2.5, 1],
    ]

    box = np.ones((20, 30), np.uint8)
    assert len(outline(only(box), 0)) == 8, "no points on straight lines"
    corners = outline(only(box), 1)
    assert len(corners) == 4
    assert np.abs(np.sort(corners, axis=0) - [[0, 0], [0, 0], [30, 20], [30, 20]]).max() <= 0.5
    np.testing.assert_array_equal(painted([("a", corners)], 20, 30), box)


def test_pixels_that_touch_at_a_corner_are_one_region_and_end_a_hole() -> None:
    mask = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    region = only(mask)
    assert len(region.holes) == 1
    (hole,) = hole_outlines(region)
    filled = painted([("a", outline(region, 0))], 3, 3)
    np.testing.assert_array_equal(filled, [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    np.testing.assert_array_equal(painted([("a", hole)], 3, 3), filled - mask)


@pytest.mark.parametrize("radii", [(60, 60), (150, 60), (120, 80)])
@pytest.mark.parametrize("angle", [0, 35])
def test_large_ellipses_keep_their_area_with_few_points(
    radii: tuple[float, float], angle: float
) -> None:
    mask = ellipse(320, radii, angle)
    polygon = outline(only(mask), 1)
    found = painted([("a", polygon)], 320, 320)
    assert np.logical_and(found, mask).sum() >= 0.98 * np.logical_or(found, mask).sum()
    assert len(polygon) < 40


def test_a_tolerance_too_large_for_a_line_is_lowered_as_far_as_it_must_be() -> None:
    line = np.asarray(cv2.line(np.zeros((60, 120), np.uint8), (10, 10), (110, 45), 1, 4), np.uint8)
    assert len(outline(only(line), 0)) > 100
    assert 4 <= len(outline(only(line), 8)) < 8


def test_other_classes_and_an_empty_mask_have_no_regions() -> None:
    mask = blobs(1, 20, 20)
    assert list(find_regions(mask, [3])) == []
    assert {region.class_id for region in find_regions(mask, [2])} == {2}
