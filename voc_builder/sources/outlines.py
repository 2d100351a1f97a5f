"""Paint objects by their outlines, small ones over large ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.colours import IGNORE, VOID
from voc_builder.base.problems import Problem, Severity
from voc_builder.sources.checks import check_label, check_size
from voc_builder.sources.sample import Sample

Point = tuple[float, float]
NEAR = 1.0  # pixels by which an outline may leave the image, because of rounding


class Object(Protocol):
    """An object of an image."""

    @property
    def label(self) -> str:
        """Its class, or `__ignore__`."""

    @property
    def place(self) -> int:
        """Its index in the file."""

    def area(self, height: int, width: int) -> float:
        """Its size, pixels."""

    def paint(self, mask: NDArray[np.uint8], class_id: int) -> None:
        """Set its pixels in a mask of the image's size, shape (height, width)."""

    def problems(self, file: Path, height: int, width: int) -> list[Problem]:
        """The problems of its position."""


@dataclass(frozen=True)
class Outline:
    """A polygon, or a box as the polygon of its corners. `points` are (x, y) from the upper left
    corner of the image, in pixels or, if `relative`, in fractions of its width and height.
    """

    label: str
    points: tuple[Point, ...]
    place: int  # index in the file's list of objects, or line number if `relative`
    relative: bool = False
    what: str = "box"

    def corners(self, height: int, width: int) -> NDArray[np.float64]:
        """The points in pixels, shape (points, 2)."""
        scale = (width, height) if self.relative else (1, 1)
        return np.asarray(self.points, np.float64) * scale

    def area(self, height: int, width: int) -> float:
        x, y = self.corners(height, width).T
        return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2

    def paint(self, mask: NDArray[np.uint8], class_id: int) -> None:
        fill_polygon(mask, self.corners(*mask.shape), class_id)

    def problems(self, file: Path, height: int, width: int) -> list[Problem]:
        corners = self.corners(height, width)
        (left, top), (right, bottom) = corners.min(0), corners.max(0)
        where = f"the {self.what} reaches from ({left:g}, {top:g}) to ({right:g}, {bottom:g})"
        value = f"{where}, the image is {width} x {height}"
        if right <= 0 or bottom <= 0 or left >= width or top >= height:
            value = f"wholly outside: {value}"
            return [self._problem(file, "error", "outside", value, "delete it")]
        if min(left, top, width - right, height - bottom) < -NEAR:
            cure = "draw it again; until then it is clipped"
            return [self._problem(file, "warning", "outside", value, cure)]
        if not self._has_pixels(height, width):
            value = f"it contains the centre of no pixel: {where}"
            return [self._problem(file, "warning", "no-area", value, "delete it")]
        return []

    def _problem(self, file: Path, severity: Severity, rule: str, value: str, cure: str) -> Problem:
        if self.relative:
            value = f"line {self.place} ({self.label!r}): {value}"
        shape = None if self.relative else self.place
        return Problem(file, severity, rule, value, cure, shape, self.label)

    def _has_pixels(self, height: int, width: int) -> bool:
        corners = self.corners(height, width)
        low = np.floor(corners.min(0)).clip(0)
        right, bottom = np.minimum(np.ceil(corners.max(0)), (width, height)) - low
        if right * bottom > 10_000:  # too large to lie between the centres of pixels
            return True
        small = np.zeros((max(0, int(bottom)), max(0, int(right))), np.uint8)
        fill_polygon(small, corners - low, 1)
        return bool(small.any())


@dataclass(frozen=True, kw_only=True)
class ObjectSample(Sample):
    """An image with its objects; without objects it is empty."""

    file: Path  # that messages name, usually the annotation
    objects: tuple[Object, ...] = ()
    size: tuple[int, int] | None = None  # height and width by the file
    unread: tuple[Problem, ...] = ()  # parts of the file that could not be read

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        """Class ids, shape (height, width). Small objects cover large ones, and of equal size the
        later in the file the earlier.
        """
        mask = np.zeros((height, width), np.uint8)
        for one in sorted(self.objects, key=lambda one: -one.area(height, width)):
            one.paint(mask, VOID if one.label == IGNORE else classes.index(one.label))
        return mask

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        found = list(self.unread)
        for one in self.objects:
            found += check_label(self.file, one.label, one.place, classes)
        if size is None:
            return found
        if self.size is not None and self.size != size:  # positions would mean nothing
            cure = "annotate this image, or put back the one that was annotated"
            return found + check_size(self.file, "height and width are", self.size, size, cure)
        for one in self.objects:
            found += one.problems(self.file, *size)
        return found


def fill_polygon(mask: NDArray[np.uint8], points: NDArray[np.float64], value: int) -> None:
    """Set the pixels whose centres are inside the polygon, shape (points, 2) of (x, y), by the
    even-odd rule. Centres on its left or upper edge are inside, on its right or lower edge outside,
    so that adjacent boxes neither overlap nor leave a gap.
    """
    height, width = mask.shape
    top = max(0, math.ceil(points[:, 1].min() - 0.5))
    bottom = min(height, math.ceil(points[:, 1].max() - 0.5))
    if top >= bottom:
        return
    centres = np.arange(top, bottom) + 0.5
    toggles = np.zeros((bottom - top, width + 1), np.uint8)  # a column more for the right edge
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        crossed = np.flatnonzero((centres >= min(y0, y1)) & (centres < max(y0, y1)))
        if crossed.size:
            x = x0 + (centres[crossed] - y0) * (x1 - x0) / (y1 - y0)
            columns = np.ceil(x - 0.5).clip(0, width).astype(np.intp)
            toggles[crossed, columns] ^= 1  # an edge crosses a row once
    inside = np.bitwise_xor.accumulate(toggles[:, :width], axis=1).astype(bool)
    mask[top:bottom][inside] = value


def polygon_of(values: Sequence[float]) -> tuple[Point, ...]:
    """The points of x1 y1 x2 y2 ... Raises `ValueError` if they make no polygon."""
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"{len(values)} numbers, a polygon has x and y of 3 or more points")
    return tuple(zip(values[::2], values[1::2], strict=True))


def box_of(left: float, top: float, right: float, bottom: float) -> tuple[Point, ...]:
    """The corners of a box."""
    return ((left, top), (right, top), (right, bottom), (left, bottom))
