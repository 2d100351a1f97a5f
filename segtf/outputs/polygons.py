"""Turn class ids into polygons: the outline of every connected area, and those of its holes.

Pixels belong together where they touch, be it at a corner alone, so holes end where they touch at a
corner. Points are (x, y) in pixels from the image's top left corner: the middle of its first pixel
is (0.5, 0.5).
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

TOLERANCE = 1.0  # pixels that a polygon may leave out or take in, unless told otherwise
FINEST = 0.25  # pixels; a tolerance below that drops nothing but points on straight lines
INSIDE, EDGE, OUTSIDE = 0.25, 0.5, 0.75  # of a pixel, from the middle of a border pixel outward
# the neighbours of a pixel, clockwise from the right
RING = np.array([(1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1)])


@dataclass(frozen=True)
class Region:
    """A connected area of one class."""

    class_id: int
    top: int  # row and column of the first pixel of its box
    left: int
    pixels: NDArray[np.bool_]  # which pixels of the box belong to it, shape (h, w)
    outer: NDArray[np.int32]  # its outermost pixels one after the other, (x, y), shape (N, 2)
    holes: tuple[NDArray[np.int32], ...]  # its pixels around each hole, each of shape (N, 2)

    @property
    def area(self) -> int:
        """Pixels."""
        return int(np.count_nonzero(self.pixels))

    def cut(self, image: NDArray[Any]) -> NDArray[Any]:
        """The part of something of the image's size, shape (H, W, ...), that is the box."""
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

    It runs `INSIDE` the border pixels: Pillow, and so labelme, cuts points to whole pixels and
    paints those under the edges too, so that where `tolerance` is 0 just this region is filled.
    """
    return simplify(trace(region.outer, INSIDE), tolerance)


def hole_outlines(region: Region, tolerance: float) -> list[NDArray[np.float64]]:
    """The polygons of a region's holes, each of shape (K, 2); they run inside the holes as
    `outline` does inside the region, so that painting them after it leaves just the region.
    """
    return [simplify(trace(border, OUTSIDE), tolerance) for border in region.holes]


def trace(border: NDArray[np.int32], reach: float) -> NDArray[np.float64]:
    """The path, shape (M, 2), along border pixels one after the other, shape (N, 2): a point for
    each side of a pixel that lies open, `reach` of a pixel from its middle to that side.

    It never meets itself, however thin a region is. With `EDGE` it runs between the pixels inside
    and those outside, and no pixel's middle lies on its wrong side.
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
    """The places in `RING` of the up to four sides of a border pixel that lie open, else -1, shape
    (3, 3, 3, 3, 4): by the offsets, plus 1, to the border pixel before and to the one after. They
    are the sides passed on the way from one to the other against the clock, as OpenCV follows
    borders.
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
    """A path of `trace`, shape (M, 2), with fewer points of its own, shape (K, 2): none of those
    left out lies over `tolerance` pixels away. Where the result would cross itself or be no polygon
    the tolerance is halved; at last only points on straight lines are left out.
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
    """The points of a closed path that Douglas and Peucker (1973) keep, with the distance to the
    piece between two kept points, not to its line, so that it holds at spikes too.
    """
    path = np.roll(path, -_farthest(path, path.mean(0)), axis=0)
    closed = np.concatenate([path, path[:1]])
    kept = np.zeros(len(closed), bool)
    kept[[0, _farthest(path, path[0]), -1]] = True
    while True:
        ends = np.flatnonzero(kept)
        piece = np.repeat(np.arange(len(ends) - 1), np.diff(ends))  # of every point
        distances = _distances(path, closed[ends[piece]], closed[ends[piece + 1]])
        worst = np.maximum.reduceat(distances, ends[:-1])[piece]
        far = np.flatnonzero((distances == worst) & (worst > tolerance))
        if not len(far):
            return path[ends[:-1]]
        kept[far[np.unique(piece[far], return_index=True)[1]]] = True  # one of each piece


def _farthest(points: NDArray[np.float64], place: NDArray[np.float64]) -> int:
    return int(((points - place) ** 2).sum(1).argmax())


def _distances(
    points: NDArray[np.float64], starts: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """From points to straight pieces, each of its own start and end; all of shape (N, 2)."""
    ways, offsets = ends - starts, points - starts
    lengths = np.maximum((ways**2).sum(1), 1e-12)  # squared
    shares = np.clip((offsets * ways).sum(1) / lengths, 0, 1)
    return np.hypot(*(offsets - shares[:, None] * ways).T)
