"""Turn class ids into polygons: the outlines of connected areas and of their holes.

Areas are 8-connected, holes therefore 4-connected. Points are (x, y) in pixels from the top left
corner of the image: the centre of its first pixel is (0.5, 0.5).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.pixels.geometry import find_crossing

TOLERANCE = 1.0  # pixels, the default
FINEST = 0.25  # pixels; a tolerance below drops only points on straight lines
INSIDE, EDGE = 0.25, 0.5  # of a pixel, from the centre of a border pixel outward
# the neighbours of a pixel, clockwise from the right
RING = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])


@dataclass(frozen=True)
class Region:
    """A connected area of one class."""

    class_id: int
    top: int  # row and column of the first pixel of its box
    left: int
    pixels: NDArray[np.bool_]  # within the box, shape (h, w)
    outer: NDArray[np.int32]  # border pixels in order, (x, y), shape (N, 2)
    holes: tuple[NDArray[np.int32], ...]  # its pixels around each hole, likewise

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.pixels))

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The box, cut out of an array of the image's size, shape (H, W, ...)."""
        height, width = self.pixels.shape
        return image[self.top : self.top + height, self.left : self.left + width]


def find_regions(mask: NDArray[np.uint8], class_ids: Sequence[int]) -> Iterator[Region]:
    """The connected areas of each of the `class_ids` in class ids, shape (H, W)."""
    for class_id in class_ids:
        wanted = (mask == class_id).view(np.uint8)
        if not wanted.any():
            continue
        numbers = cv2.connectedComponents(wanted, connectivity=8)[1]
        chains, family = cv2.findContours(wanted, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        borders = [chain[:, 0] for chain in chains]
        parents = family[0, :, 3].tolist()  # the number of the border around a hole's, else -1
        holes = defaultdict(list)
        for border, parent in zip(borders, parents, strict=True):
            holes[parent].append(border)
        for number, outer in enumerate(borders):
            if parents[number] < 0:
                left, top, width, height = cv2.boundingRect(outer)
                box = numbers[top : top + height, left : left + width]
                x, y = outer[0]
                yield Region(class_id, top, left, box == numbers[y, x], outer, tuple(holes[number]))


def outline(region: Region, tolerance: float) -> NDArray[np.float64]:
    """The polygon around a region, its holes filled, shape (K, 2), simplified as in `simplify`.

    It runs `INSIDE` the border pixels: Pillow, and so labelme, truncates points to whole pixels and
    also paints the pixels under edges, so that a `tolerance` of 0 gives exactly this region.
    """
    return simplify(trace(region.outer, INSIDE), tolerance)


def trace(border: NDArray[np.int32], reach: float) -> NDArray[np.float64]:
    """The path, shape (M, 2), along border pixels in order, shape (N, 2): a point for each open
    side of a pixel, `reach` of a pixel from its centre towards that side.

    It never meets itself, however thin a region is. With `EDGE` it separates the centres of the
    pixels inside from those outside.
    """
    if len(border) == 1:
        pixels, sides = np.repeat(border, 4, axis=0), np.array([6, 4, 2, 0])
    else:
        back, on = (np.roll(border, shift, axis=0) - border for shift in (1, -1))
        found = _open_sides()[tuple(back.T + 1) + tuple(on.T + 1)]  # (N, 4)
        pixels, sides = np.repeat(border, (found >= 0).sum(1), axis=0), found[found >= 0]
    return pixels + 0.5 + reach * RING[sides]


@cache
def _open_sides() -> NDArray[np.int64]:
    """The indices in `RING` of the up to four open sides of a border pixel, else -1, shape
    (3, 3, 3, 3, 4): by the offsets, plus 1, to the border pixels before and after. They are the
    sides passed counter-clockwise from one to the other, as OpenCV follows borders.
    """
    table = np.full((3, 3, 3, 3, 4), -1)
    for before in range(8):
        for after in range(8):
            turn = (before - after) % 8 or 8
            passed = [(before - step) % 8 for step in range(1, turn)]
            sides = [place for place in passed if place % 2 == 0]
            table[*(RING[before] + 1), *(RING[after] + 1), : len(sides)] = sides
    return table


def simplify(path: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """A path of `trace`, shape (M, 2), reduced to fewer of its points, shape (K, 2): none of the
    others is more than `tolerance` pixels away. If the result would cross itself or be no polygon
    the tolerance is halved; in the end only points on straight lines are dropped.
    """
    path = _without_straight(path)
    while tolerance >= FINEST:
        fewer = _thinned(path, tolerance)
        if len(fewer) > 2 and find_crossing(fewer.tolist()) is None:
            return fewer
        tolerance /= 2
    return path


def _without_straight(path: NDArray[np.float64]) -> NDArray[np.float64]:
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    return path[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def _thinned(path: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """The points of a closed path that the algorithm of Douglas and Peucker (1973) keeps. Distances
    are to segments, not to lines as in OpenCV, so that the tolerance holds at spikes too.
    """
    path = np.roll(path, -_farthest(path, path.mean(0)), axis=0)
    closed = np.concatenate([path, path[:1]])
    kept = np.zeros(len(closed), bool)
    kept[[0, _farthest(path, path[0]), -1]] = True
    while True:
        ends = np.flatnonzero(kept)
        segment = np.repeat(np.arange(len(ends) - 1), np.diff(ends))  # of every point
        distances = _distances(path, closed[ends[segment]], closed[ends[segment + 1]])
        worst = np.maximum.reduceat(distances, ends[:-1])[segment]
        far = np.flatnonzero((distances == worst) & (worst > tolerance))
        if not len(far):
            return path[ends[:-1]]
        kept[far[np.unique(segment[far], return_index=True)[1]]] = True  # one of each segment


def _farthest(points: NDArray[np.float64], place: NDArray[np.float64]) -> int:
    return int(((points - place) ** 2).sum(1).argmax())


def _distances(
    points: NDArray[np.float64], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From each point to its segment; all of shape (N, 2)."""
    ways, offsets = ends - starts, points - starts
    lengths = np.maximum((ways**2).sum(1), 1e-12)  # squared
    places = np.clip((offsets * ways).sum(1) / lengths, 0, 1)
    return np.hypot(*(offsets - places[:, None] * ways).T)
