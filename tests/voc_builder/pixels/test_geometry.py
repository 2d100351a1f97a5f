"""Crossings are found exactly, flat polygons too."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_builder.pixels.geometry import Point, find_crossing, is_flat


@pytest.mark.parametrize(
    ("points", "crossing"),
    [
        ([(0, 0), (4, 0), (4, 4), (0, 4)], None),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], (0, 2)),  # a bow tie
        ([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], (0, 2)),  # a corner on another edge
        ([(0, 0), (4, 0), (2, 0), (2, 4)], (0, 1)),  # an edge that runs back
        ([(0, 0), (4, 0), (4, 4), (0, 4), (0, 0)], None),  # closed by its first point again
        ([(0, 0), (0, 0), (4, 4), (4, 4), (4, 0), (0, 4)], (0, 4)),
        ([(0, 0), (2, 0), (4, 0), (4, 4)], None),  # three points on one edge
        ([(0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)], (1, 4)),  # touches itself in a point
        ([(0, 0), (1, 1)], None),
    ],
)
def test_find_crossing(points: list[Point], crossing: tuple[int, int] | None) -> None:
    assert find_crossing(points) == crossing


def test_a_corner_one_rounding_error_off_an_edge_is_told_from_one_on_it() -> None:
    third = 0.1 + 0.2  # 0.30000000000000004
    base = [(0.0, 0.0), (0.9, 0.9), (0.9, 2.0)]
    assert find_crossing([*base, (0.3, 0.3), (0.0, 2.0)]) is not None
    assert find_crossing([*base, (0.3, third), (0.0, 2.0)]) is None


grid = st.tuples(st.integers(0, 6), st.integers(0, 6))
tenths = grid.map(lambda point: (point[0] * 0.1, point[1] * 0.1))  # not exact in binary


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(grid, min_size=3, max_size=9), st.lists(tenths, min_size=3, max_size=9)))
def test_crossings_are_those_of_exact_arithmetic(points: list[Point]) -> None:
    assert (find_crossing(points) is None) == is_simple(points)


def is_simple(points: list[Point]) -> bool:
    """The definition, edge by edge and in fractions."""
    exact = [(Fraction(x), Fraction(y)) for x, y in points]
    corners = [point for k, point in enumerate(exact) if point != exact[k - 1]]
    count = len(corners)
    if count < 3:
        return True
    edges = [(corners[k], corners[(k + 1) % count]) for k in range(count)]
    for i in range(count):
        for j in range(i + 1, count):
            if j == i + 1 or (i == 0 and j == count - 1):
                (a, b), (c, d) = (edges[i], edges[j]) if j == i + 1 else (edges[j], edges[i])
                ahead = (b[0] - a[0]) * (d[0] - c[0]) + (b[1] - a[1]) * (d[1] - c[1])
                if side(a, b, d) == 0 and ahead < 0:
                    return False
            elif share_a_point(*edges[i], *edges[j]):
                return False
    return True


Exact = tuple[Fraction, Fraction]


def side(a: Exact, b: Exact, c: Exact) -> int:
    value = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (value > 0) - (value < 0)


def share_a_point(a: Exact, b: Exact, c: Exact, d: Exact) -> bool:
    def within(p: Exact, q: Exact, r: Exact) -> bool:
        return all(min(p[k], q[k]) <= r[k] <= max(p[k], q[k]) for k in (0, 1))

    if side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0:
        return True
    on = [(a, b, c), (a, b, d), (c, d, a), (c, d, b)]
    return any(side(*three) == 0 and within(*three) for three in on)


def test_a_crossing_among_many_points_is_found() -> None:
    turn = np.linspace(0, 2 * np.pi, 1000, endpoint=False)
    radius = 500 + 50 * np.sin(40 * turn)
    star = list(zip(600 + radius * np.cos(turn), 600 + radius * np.sin(turn), strict=True))
    assert find_crossing(star) is None
    star[10], star[500] = star[500], star[10]
    assert find_crossing(star) is not None


@pytest.mark.parametrize(
    ("points", "flat"),
    [
        ([(0, 0), (2, 2), (5, 5)], True),
        ([(0.1, 0.1), (0.2, 0.2), (0.7, 0.7)], True),
        ([(3, 3), (3, 3), (3, 3)], True),
        ([(0, 0), (4, 4), (4, 0), (0, 4)], False),  # signed area 0, pixels all the same
        ([(0, 0), (1, 0), (0, 0.01)], False),
    ],
)
def test_is_flat(points: list[Point], flat: bool) -> None:
    assert is_flat(points) is flat
