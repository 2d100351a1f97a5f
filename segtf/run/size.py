"""Height and width of the input of a network: notation and padding."""

from __future__ import annotations

import re
from typing import Any

from voc_builder.base.errors import UserError

HeightWidth = tuple[int, int]  # pixels
Padding = tuple[tuple[int, int], tuple[int, int]]  # rows above, below; columns at left, at right


def parse_size(size: int | str) -> HeightWidth:
    """Height and width of a `--size`: 512 is a square, 320x240 is 320 high and 240 wide. Raises
    `UserError` for anything else, also for auto.
    """
    sides = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", str(size))
    if sides:
        return int(sides[1]), int(sides[2])
    if not isinstance(size, int):  # YAML may say null
        raise UserError(f"--size {size}: takes pixels, HEIGHTxWIDTH or auto")
    return size, size


def size_of(shape: HeightWidth) -> int | str:
    """The value of `--size`: a number for a square, otherwise text such as 320x240."""
    height, width = shape
    return height if height == width else f"{height}x{width}"


def describe(shape: HeightWidth) -> str:
    """As people read it; names the height where the sides differ."""
    height, width = shape
    return f"{height} x {width}" + (" (height x width)" if height != width else "")


def describe_size(size: Any) -> str:
    """The size in a file of a run, as people read it."""
    return describe(parse_size(size))


def padding(shape: HeightWidth, multiple: int) -> Padding:
    """The padding that makes both sides divisible by `multiple`, equal on both edges, or one pixel
    more below and at the right.
    """
    above_below, left_right = ((-length % multiple) for length in shape)
    return _halves(above_below), _halves(left_right)


def padded(shape: HeightWidth, by: Padding) -> HeightWidth:
    """Height and width with the padding."""
    return shape[0] + sum(by[0]), shape[1] + sum(by[1])


def _halves(missing: int) -> tuple[int, int]:
    return missing // 2, missing - missing // 2
