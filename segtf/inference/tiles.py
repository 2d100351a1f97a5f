"""Cut an image of any size into overlapping tiles and blend their probabilities, row by row.

Images are RGB uint8, probabilities float32 in [0, 1], lengths pixels. Memory holds one row of tiles
and as many rows of pixels, however high the image is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.run.size import HeightWidth

# of a tile's side, the Gaussian's standard deviation, as in nnU-Net (Isensee et al. 2021,
# https://doi.org/10.1038/s41592-020-01008-z)
SIGMA = 1 / 8
Network = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, h, w, 3) -> (N, h, w, C)


def tile_starts(length: int, tile: int, overlap: float) -> list[int]:
    """The starts of tiles along a side: evenly spaced, the last ends with the image, neighbours
    overlap by at least a fraction `overlap` (0 to below 1) of a tile. A side that is not longer
    than a tile has one.
    """
    if length <= tile:
        return [0]
    stride = max(int(tile * (1 - overlap)), 1)
    count = -(-(length - tile) // stride) + 1
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def gaussian_window(side: int) -> NDArray[np.float32]:
    """Weights along a side of a tile, shape (side,), 1 in the middle: pixels far from the edge have
    more context and count more.
    """
    offsets = np.arange(side) - (side - 1) / 2
    return np.exp(-0.5 * (offsets / (SIGMA * side)) ** 2).astype(np.float32)


def flat_window(side: int) -> NDArray[np.float32]:
    """The weights of a plain mean, shape (side,)."""
    return np.ones(side, np.float32)


def blended_strips(
    network: Network,
    read_rows: Callable[[int, int], NDArray[np.uint8]],
    height: int,
    width: int,
    *,
    tile: HeightWidth,
    overlap: float = 0.25,
    batch: int = 1,
    window: Callable[[int], NDArray[np.float32]] = gaussian_window,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The strips of an image from top to bottom: first row, and probabilities, shape (h, width, C).
    `tile` is height and width of the tiles.

    `read_rows` gives the image's rows from one to below another, shape (h, width, 3), and is called
    from top to bottom. Every batch has `batch` tiles; an image smaller than a tile is mirrored at
    its edges.
    """
    high, wide = tile
    tops, lefts = tile_starts(height, high, overlap), tile_starts(width, wide, overlap)
    down = _summed(window(high), tops, max(height, high))
    across = _summed(window(wide), lefts, max(width, wide))
    weights = (window(high)[:, None] * window(wide))[..., None]
    sums: NDArray[np.float32] | None = None  # of the rows from `top` on
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        rows = _mirrored(read_rows(top, min(top + high, height)), tile)
        for left, probabilities in _answers(network, rows, lefts, tile, batch):
            if sums is None:
                shape = (high, max(width, wide), probabilities.shape[-1])
                sums = np.zeros(shape, np.float32)
            sums[:, left : left + wide] += probabilities * weights
        assert sums is not None
        done = following - top
        yield (
            top,
            sums[:done, :width] / down[top:following, None, None] / across[None, :width, None],
        )
        sums[: high - done] = sums[done:]
        sums[high - done :] = 0


def _summed(
    weights: NDArray[np.float32], starts: Sequence[int], length: int
) -> NDArray[np.float32]:
    """The sum of the weights of all tiles along a side at each pixel, shape (length,)."""
    sums = np.zeros(length, np.float32)
    for start in starts:
        sums[start : start + len(weights)] += weights
    return sums


def _mirrored(rows: NDArray[np.uint8], tile: HeightWidth) -> NDArray[np.uint8]:
    """The rows, mirrored below and at the right to at least the size of a tile."""
    below, right = max(tile[0] - rows.shape[0], 0), max(tile[1] - rows.shape[1], 0)
    if not below and not right:
        return rows
    padded = cv2.copyMakeBorder(rows, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    return np.asarray(padded, np.uint8)


def _answers(
    network: Network, rows: NDArray[np.uint8], lefts: Sequence[int], tile: HeightWidth, batch: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The first column of each tile in a row of tiles, and its probabilities."""
    for first in range(0, len(lefts), batch):
        some = lefts[first : first + batch]
        images = np.zeros((batch, *tile, 3), np.uint8)  # the last batch is padded with black
        for image, left in zip(images, some, strict=False):
            image[:] = rows[:, left : left + tile[1]]
        yield from zip(some, network(images), strict=False)
