"""Boundary IoU against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from segtf.scoring.boundary import boundary_counts
from voc_builder.base.colours import VOID

Mask = NDArray[np.uint8]


def square(top: int, left: int, side: int, size: int = 30) -> Mask:
    mask = np.zeros((size, size), np.uint8)
    mask[top : top + side, left : left + side] = 1
    return mask


def test_equal_masks_agree_and_only_the_band_counts() -> None:
    # 0.02 of the diagonal of 30 x 30 is 0.85 pixels: a band of 1
    mask = square(10, 10, 10)
    both, either = boundary_counts(mask, mask, 2)[1]
    assert both == either == 10**2 - 8**2


def test_a_square_moved_by_one_pixel_keeps_the_crossings_of_its_band() -> None:
    both, either = boundary_counts(square(10, 10, 10), square(10, 11, 10), 2)[1]
    # the upper and the lower side share 9 pixels each, the sides do not meet
    assert (both, either) == (18, 2 * 36 - 18)


def test_the_band_is_two_percent_of_the_diagonal_wide() -> None:
    mask = square(50, 50, 100, size=200)  # 5.66 pixels: 6
    assert boundary_counts(mask, mask, 2)[1].tolist() == [100**2 - 88**2] * 2
    assert boundary_counts(mask, mask, 2, ratio=0.01)[1].tolist() == [100**2 - 94**2] * 2


def test_the_edge_of_the_image_is_an_outline() -> None:
    full = np.zeros((30, 30), np.uint8)
    assert boundary_counts(full, full, 1).tolist() == [[30**2 - 28**2] * 2]


def test_an_object_that_is_missed_has_no_intersection_and_an_absent_class_no_pixels() -> None:
    counts = boundary_counts(square(10, 10, 10), square(0, 0, 0), 3)
    assert counts[1].tolist() == [0, 36]
    assert counts[2].tolist() == [0, 0]


def test_void_around_an_object_forgives_where_its_outline_is() -> None:
    truth = square(8, 8, 14)
    truth[8:22, 8:22] = VOID
    truth[10:20, 10:20] = 1
    for top, side in ((10, 10), (9, 11), (8, 14)):
        both, either = boundary_counts(truth, square(top, top, side), 2)[1]
        assert both == either
    both, either = boundary_counts(truth, square(12, 12, 8), 2)[1]
    assert both < either


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        boundary_counts(np.zeros((3, 3), np.uint8), np.zeros((3, 4), np.uint8), 2)


def slow_band(of_class: NDArray[np.bool_], reach: int) -> NDArray[np.bool_]:
    """The class's pixels that have one of no class, or none at all, within reach."""
    outside = np.pad(~of_class, reach, constant_values=True)
    near = np.zeros_like(of_class)
    height, width = of_class.shape
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            near |= outside[dy : dy + height, dx : dx + width]
    return near & of_class


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    masks = []
    for ids in ([0, 1, 2, VOID], [0, 1, 2]):
        mask = np.full(shape, draw(st.sampled_from(ids)), np.uint8)
        for _ in range(draw(st.integers(0, 4))):
            top, left = draw(st.integers(0, 11)), draw(st.integers(0, 11))
            height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
            mask[top : top + height, left : left + width] = draw(st.sampled_from(ids))
        masks.append(mask)
    return masks[0], masks[1]


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(pairs(), st.sampled_from([0.02, 0.1, 0.25]))
def test_counts_are_those_of_the_definition(pair: tuple[Mask, Mask], ratio: float) -> None:
    truth, prediction = pair
    known = truth != VOID
    reach = max(1, round(ratio * math.hypot(*truth.shape)))
    filled = np.where(known, truth, prediction)
    counts = boundary_counts(truth, prediction, 3, ratio=ratio)
    for class_id in range(3):
        a = slow_band(filled == class_id, reach) & known
        b = slow_band(prediction == class_id, reach) & known
        assert counts[class_id].tolist() == [(a & b).sum(), (a | b).sum()]


@settings(deadline=None, max_examples=50)
@given(arrays(np.uint8, (8, 8), elements=st.integers(0, 2)))
def test_bands_as_wide_as_the_image_give_the_iou_of_all_pixels(truth: Mask) -> None:
    prediction = np.roll(truth, 3, axis=1)
    counts = boundary_counts(truth, prediction, 3, ratio=1.0)
    for class_id in range(3):
        a, b = truth == class_id, prediction == class_id
        assert counts[class_id].tolist() == [(a & b).sum(), (a | b).sum()]
