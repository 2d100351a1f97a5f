"""Tiles cover every pixel, and what is blended of them is what the network says."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.inference.tiles import blended_strips, flat_window, gaussian_window, tile_starts

sides = st.integers(1, 90)
shapes = st.tuples(st.integers(4, 32), st.integers(4, 32))
overlaps = st.floats(0, 0.9)


@given(st.integers(1, 5000), st.integers(1, 600), overlaps)
def test_tiles_cover_a_side_and_share_what_they_should(
    length: int, tile: int, overlap: float
) -> None:
    starts = tile_starts(length, tile, overlap)
    if length <= tile:
        assert starts == [0]
        return
    assert (starts[0], starts[-1]) == (0, length - tile)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= max(int(tile * (1 - overlap)), 1)).all()
    assert steps.max() - steps.min() <= 1, "evenly spread"


def test_no_tile_too_many_is_taken() -> None:
    assert tile_starts(2448, 512, 0.25) == [0, 323, 645, 968, 1291, 1613, 1936]
    assert tile_starts(1024, 512, 0.0) == [0, 512]
    assert tile_starts(1024, 512, 0.5) == [0, 256, 512]


def test_the_middle_of_a_tile_counts_most_and_its_corner_a_little() -> None:
    window = gaussian_window(64)
    assert window.argmax() in (31, 32)
    np.testing.assert_allclose(window, window[::-1], rtol=1e-6)
    assert window[0] == pytest.approx(np.exp(-0.5 * (31.5 / 8) ** 2))


def looked_up(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A network that knows each pixel by its colour alone."""
    shades = images.astype(np.float32) / 255
    return shades / np.maximum(shades.sum(-1, keepdims=True), 1e-6)


def whole(network, image: NDArray[np.uint8], **how) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]
    """The strips of an image put together."""
    strips = list(blended_strips(network, lambda a, b: image[a:b], *image.shape[:2], **how))
    edges = [0, *np.cumsum([len(strip) for _, strip in strips]).tolist()]
    assert [top for top, _ in strips] == edges[:-1], "one below the other"
    return np.concatenate([strip for _, strip in strips])


@settings(deadline=None)
@given(sides, sides, shapes, overlaps, st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_what_every_tile_agrees_on_is_the_answer(
    height: int, width: int, tile: tuple[int, int], overlap: float, batch: int, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    blended = whole(looked_up, image, tile=tile, overlap=overlap, batch=batch)
    np.testing.assert_allclose(blended, looked_up(image), atol=1e-5)


@pytest.mark.slow
@settings(deadline=None)
@given(sides, sides, shapes, overlaps, st.booleans(), st.integers(0, 2**32 - 1))
def test_tiles_that_disagree_are_averaged_by_their_weights(
    height: int, width: int, tile: tuple[int, int], overlap: float, flat: bool, seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    window = flat_window if flat else gaussian_window

    def lopsided(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Answers by where a pixel lies in its tile, and by the tile's first pixel."""
        down, across = (np.linspace(0, 1, length, dtype=np.float32) for length in tile)
        answer = np.empty((*images.shape[:3], 2), np.float32)
        answer[..., 0] = down[:, None] * images[:, :1, :1, 0] / 255
        answer[..., 1] = across * images[:, :1, :1, 1] / 255
        return answer

    high, wide = tile
    right, below = max(wide - width, 0), max(high - height, 0)
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    sums = np.zeros((*padded.shape[:2], 2))
    weights = np.zeros(padded.shape[:2])
    square = np.outer(window(high), window(wide)).astype(np.float64)
    for top in tile_starts(height, high, overlap):
        for left in tile_starts(width, wide, overlap):
            place = np.s_[top : top + high, left : left + wide]
            sums[place] += square[..., None] * lopsided(padded[place][None])[0]
            weights[place] += square
    expected = (sums / weights[..., None])[:height, :width]
    found = whole(lopsided, image, tile=tile, overlap=overlap, batch=3, window=window)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_memory_is_that_of_a_row_of_tiles_however_high_the_image_is() -> None:
    def peak(height: int) -> int:
        rows = np.zeros((64, 256, 3), np.uint8)
        tracemalloc.start()
        for _ in blended_strips(looked_up, lambda a, b: rows[: b - a], height, 256, tile=(64, 64)):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(6400) < 1.2 * peak(640)
