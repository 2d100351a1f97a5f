"""Exact tests of polygons: are they flat, do they cross themselves."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]

ROWS = 512  # edges that are compared with all others at once, which limits the memory
# relative rounding error of an orientation in doubles (J. R. Shewchuk, Adaptive Precision
# Floating-Point Arithmetic and Fast Robust Geometric Predicates, 1997)
ORIENTATION_ERROR = (3 + 16 * 2**-53) * 2**-53


def is_flat(points: Sequence[Point], *, tolerance: float = 1e-6) -> bool:
    """Whether all points lie on one line, within `tolerance` pixels."""
    corners = np.asarray(points, np.float64)
    offsets = corners - corners[0]
    far = offsets[np.argmax((offsets**2).sum(1))]
    length = float(np.hypot(*far))
    if length <= tolerance:
        return True
    return bool(
        (np.abs(offsets[:, 0] * far[1] - offsets[:, 1] * far[0]) <= tolerance * length).all()
    )


def find_crossing(points: Sequence[Point]) -> tuple[int, int] | None:
    """The first two edges of a polygon that meet, by the indices of their first points; None for a
    simple polygon (OGC Simple Features): neighbouring edges share their corner alone, other edges
    no point. A repeated point counts once. Exact for all doubles.
    """
    corners = np.asarray(points, np.float64)
    kept = np.flatnonzero((corners != np.roll(corners, 1, axis=0)).any(1))
    corners = corners[kept]
    count = len(corners)
    if count < 3:
        return None
    found = [pair for start in range(0, count, ROWS) for pair in _meeting(corners, start)]
    found += _folded(corners)
    if not found:
        return None
    first, second = min(found)
    return int(kept[first]), int(kept[second])


def _meeting(corners: NDArray[np.float64], start: int) -> list[tuple[int, int]]:
    """The first pair of edges i < j, not neighbours, that share a point; i from `start` on."""
    ends = np.roll(corners, -1, axis=0)
    low, high = np.minimum(corners, ends), np.maximum(corners, ends)
    count, mine = len(corners), slice(start, start + ROWS)
    near = (low[mine, None] <= high[None]).all(2) & (low[None] <= high[mine, None]).all(2)
    i, j = np.nonzero(near)
    i += start
    apart = (j > i + 1) & ((i > 0) | (j < count - 1))
    i, j = i[apart], j[apart]
    a, b, c, d = corners[i], ends[i], corners[j], ends[j]
    # boxes overlap and each edge has the ends of the other on both sides, or on its line
    sides = (_side(a, b, c) * _side(a, b, d) <= 0) & (_side(c, d, a) * _side(c, d, b) <= 0)
    return [(int(i[k]), int(j[k])) for k in np.flatnonzero(sides)[:1]]


def _folded(corners: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of neighbouring edges where the second runs back over the first."""
    before, after = np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0)
    back = ((before - corners) * (after - corners)).sum(1) > 0
    spikes = np.flatnonzero(back & (_side(before, corners, after) == 0))
    return [(int(k - 1) % len(corners), int(k)) for k in spikes]


def _side(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64]
) -> NDArray[np.int8]:
    """1 or -1 for the sides of the line through a and b on which c lies, 0 on the line."""
    left = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1])
    right = (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    difference = left - right
    signs = np.sign(difference).astype(np.int8)
    unsure = np.abs(difference) <= ORIENTATION_ERROR * (np.abs(left) + np.abs(right))
    for k in np.flatnonzero(unsure):
        (ax, ay), (bx, by), (cx, cy) = (map(Fraction, point[k].tolist()) for point in (a, b, c))
        exact = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        signs[k] = (exact > 0) - (exact < 0)
    return signs
