"""Outlines get the pixels of exact arithmetic, and small ones cover large ones."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_builder.base.colours import VOID
from voc_builder.sources.outlines import ObjectSample, Outline, box_of, fill_polygon

HEIGHT, WIDTH = 6, 8
eighths = st.integers(-16, 80).map(lambda n: n / 8)  # exact, some on the middle of a pixel


def slowly_filled(points: list[tuple[float, float]]) -> np.ndarray:
    """Whether the middle of each pixel lies inside, in fractions, pixel by pixel."""
    inside = np.zeros((HEIGHT, WIDTH), bool)
    for row in range(HEIGHT):
        for column in range(WIDTH):
            x, y = column + Fraction(1, 2), row + Fraction(1, 2)
            for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
                (x0, y0), (x1, y1) = map(Fraction, (ax, ay)), map(Fraction, (bx, by))
                if min(y0, y1) <= y < max(y0, y1) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x:
                    inside[row, column] ^= True
    return inside


@given(st.lists(st.tuples(eighths, eighths), min_size=3, max_size=7))
@settings(max_examples=50)
def test_a_polygon_has_the_pixels_whose_middles_lie_in_it(
    points: list[tuple[float, float]],
) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    fill_polygon(mask, np.array(points), 3)
    np.testing.assert_array_equal(mask, slowly_filled(points) * np.uint8(3))


@given(eighths, eighths, eighths, eighths)
def test_a_box_has_the_rows_and_columns_whose_middles_lie_between_its_sides(
    x0: float, y0: float, x1: float, y1: float
) -> None:
    left, right, top, bottom = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
    sample = painted(Outline("a", box_of(left, top, right, bottom), 0))
    rows = [top <= row + 0.5 < bottom for row in range(HEIGHT)]
    columns = [left <= column + 0.5 < right for column in range(WIDTH)]
    np.testing.assert_array_equal(sample, np.outer(rows, columns))


def painted(*objects: Outline) -> np.ndarray:
    sample = ObjectSample("a", Path("a.jpg"), file=Path("a.txt"), objects=objects)
    return sample.draw_mask(["background", "a", "b", "c"], HEIGHT, WIDTH)


@given(st.permutations(["a", "b", "c", "__ignore__"]))
def test_small_objects_cover_large_ones_in_any_order(order: list[str]) -> None:
    boxes = {
        "a": Outline("a", box_of(0, 0, 8, 6), 0),
        "b": Outline("b", box_of(0.125, 0.125, 0.75, 0.75), 0, relative=True),  # 5 x 3.75
        "c": Outline("c", box_of(2, 2, 4, 4), 0),
        "__ignore__": Outline("__ignore__", box_of(3, 3, 4, 4), 0),
    }
    mask = painted(*(boxes[name] for name in order))
    expected = np.full((HEIGHT, WIDTH), 1)
    expected[1:4, 1:6] = 2
    expected[2:4, 2:4] = 3
    expected[3, 3] = VOID
    np.testing.assert_array_equal(mask, expected)


def test_of_two_of_one_size_the_later_covers_the_earlier() -> None:
    mask = painted(Outline("b", box_of(0, 0, 2, 2), 0), Outline("a", box_of(1, 0, 3, 2), 1))
    np.testing.assert_array_equal(mask[0, :4], [2, 1, 1, 0])


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((8, 0, 12, 4), ("error", "outside")),
        ((4, 0, 12, 4), ("warning", "outside")),
        ((1.6, 1, 2.4, 4), ("warning", "no-area")),
        ((0, 0, 8.9, 4), None),  # rounding
        ((1.4, 1, 2, 2), None),
    ],
)
def test_the_place_of_a_box_is_checked(
    box: tuple[float, ...], problem: tuple[str, str] | None
) -> None:
    boxes = (Outline("a", box_of(*box), 0),)
    sample = ObjectSample("a", Path("a.jpg"), file=Path("a.xml"), objects=boxes)
    found = sample.problems(["background", "a"], (HEIGHT, WIDTH))
    assert [(one.severity, one.rule) for one in found] == ([problem] if problem else [])
