"""What is cut out keeps its colours and loses the background, with a soft edge between."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.outputs.matting import cut_out
from tests.segtf.drawn_masks import blobs, ellipse
from voc_builder.base.errors import UserError

RED, GREEN = (200, 40, 30), (20, 220, 60)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (height, width, 3), np.uint8)


def probabilities(objects: NDArray[np.floating]) -> NDArray[np.float32]:
    """Of two classes, the background first."""
    return np.stack([1 - objects, objects], axis=-1).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 80),
    st.integers(1, 80),
    st.sampled_from([0.0, 1.0, 6.0]),
    st.booleans(),
)
def test_opaque_inside_transparent_outside_and_soft_in_a_narrow_band(
    seed: int, height: int, width: int, blur: float, unsure: bool
) -> None:
    image, mask = noise(height, width), blobs(seed, height, width, classes=2, smooth=8)
    objects = mask.astype(np.float64)
    if unsure:
        objects = 0.45 + 0.1 * objects
    if blur:
        objects = cv2.GaussianBlur(objects, (0, 0), blur)
    cut = cut_out(image, probabilities(objects))
    assert (cut.shape, cut.dtype) == ((height, width, 4), np.uint8)
    inside = (1 - objects.astype(np.float32) <= 0.5).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))  # 3 pixels around
    larger = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))  # 3 from the pixels' edges
    deep = cv2.erode(inside, larger) > 0
    np.testing.assert_array_equal(cut[deep], np.dstack([image, np.full_like(mask, 255)])[deep])
    far = cv2.dilate(inside, disc) == 0
    assert not cut[far, 3].any()
    farther = cv2.dilate(inside, disc, iterations=2) == 0
    assert not cut[farther].any(), "the background can be uncovered"


def test_the_edge_of_class_ids_rises_over_a_few_pixels_and_evenly() -> None:
    mask = np.zeros((10, 40), np.uint8)
    mask[:, 20:] = 1
    alpha = cut_out(noise(10, 40), mask)[..., 3].astype(int)
    assert (alpha == alpha[0]).all()
    assert (np.diff(alpha[0]) >= 0).all()
    np.testing.assert_allclose(alpha[0] + alpha[0, ::-1], 255, atol=1)
    assert 2 <= np.count_nonzero((alpha[0] > 0) & (alpha[0] < 255)) <= 4


def test_a_slanting_edge_has_no_steps() -> None:
    mask = np.tri(60, 120, -10, np.uint8).repeat(2, axis=1)[:, :120]  # two pixels a row
    alpha = cut_out(noise(60, 120), mask)[..., 3]
    across = alpha[30:50].astype(float)
    edges = [np.interp(127.5, row[::-1], np.arange(120)[::-1]) for row in across]
    assert np.abs(np.diff(edges) - 2).max() < 0.3


def test_opacity_follows_the_probability_within_the_band() -> None:
    steep, flat = (np.clip(0.5 + slope * (np.arange(500) - 249.5), 0, 1) for slope in (0.25, 0.05))
    image = noise(500, 500)
    of_steep, of_flat = (
        cut_out(image, probabilities(np.tile(row, (500, 1))))[250, :, 3] for row in (steep, flat)
    )
    for alpha in (of_steep, of_flat):
        assert (np.diff(alpha.astype(int)) >= 0).all()
        np.testing.assert_allclose(alpha.astype(int) + alpha[::-1], 255, atol=1)
    soft = [np.count_nonzero((alpha > 0) & (alpha < 255)) for alpha in (of_steep, of_flat)]
    assert soft == [4, 6], "of 500 pixels at most 2 to each side, and one more"


def test_no_colour_of_the_background_is_left_along_the_edge() -> None:
    mask = ellipse(120, (40, 30), 20)
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.2)[..., None]  # a lens's
    image = np.rint(share * RED + (1 - share) * GREEN).astype(np.uint8)
    wide = cv2.dilate(mask, np.ones((3, 3), np.uint8))  # a pixel too much, as masks often are
    cut = cut_out(image, wide)
    seen = cut[cut[..., 3] > 0].astype(int)
    assert np.abs(image[cut[..., 3] > 200].astype(int) - RED).max() > 60, "the fringe to remove"
    assert np.abs(seen[:, :3] - RED).max() < 25


def test_a_line_too_thin_to_have_an_inside_keeps_its_colours() -> None:
    mask = np.zeros((40, 40), np.uint8)
    mask[:, 20] = 1
    image = noise(40, 40)
    cut = cut_out(image, mask)
    np.testing.assert_array_equal(cut[:, 20, :3], image[:, 20])
    assert (cut[:, 20, 3] > 40).all()


def test_what_touches_the_images_edge_is_opaque_there() -> None:
    mask = np.ones((30, 30), np.uint8)
    image = noise(30, 30)
    np.testing.assert_array_equal(cut_out(image, mask)[..., :3], image)
    assert (cut_out(image, mask)[..., 3] == 255).all()
    mask[:, :15] = 0
    assert (cut_out(image, mask)[:, 20:, 3] == 255).all()
    assert not cut_out(image, np.zeros((30, 30), np.uint8)).any()


def test_several_classes_may_be_the_background() -> None:
    mask = np.array([0, 1, 2, 3], np.uint8).repeat(20)[None].repeat(20, axis=0)
    middle = np.arange(10, 80, 20)
    image = noise(20, 80)
    hot = np.eye(4, dtype=np.float32)[mask]
    for prediction in (mask, hot):
        alpha = cut_out(image, prediction, (0, 2))[10, middle, 3]
        assert alpha.tolist() == [0, 255, 0, 255]
    thirds = np.full((20, 80, 3), (0.4, 0.3, 0.3), np.float32)  # rather something than nothing
    assert (cut_out(image, thirds)[..., 3] == 255).all()


def test_what_has_no_background_or_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="background"):
        cut_out(noise(4, 4), np.zeros((4, 4), np.uint8), ())
    with pytest.raises(ValueError, match=r"\(4, 4, 3\) and \(4, 5\)"):
        cut_out(noise(4, 4), np.zeros((4, 5), np.uint8))
