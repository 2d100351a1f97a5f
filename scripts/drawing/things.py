"""Put houses, trees, fences, pools and clutter on land wherever there is room."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from scripts.drawing.land import (
    CLUTTER,
    GROUND,
    Land,
    draw_box,
    draw_house,
    draw_round,
    draw_tree,
    draw_water,
    textured,
)
from scripts.drawing.streets import Frame, at


def put_house(
    rng: Generator, land: Land, frame: Frame, spot: ArrayLike, half: tuple[float, float]
) -> None:
    """A house at a spot of the frame, unless something stands or runs there."""
    x, y = at(frame, *np.asarray(spot, float))
    part = land.part(x, y, math.hypot(*half))
    u, v = part.turned(x, y, frame[2])
    if not part.taken[(np.abs(u) < half[0]) & (np.abs(v) < half[1])].any():
        draw_house(rng, land, x, y, frame[2], half)


def scatter_trees(
    rng: Generator,
    land: Land,
    tries: int,
    radii: tuple[float, float],
    density: ArrayLike = 1.0,
) -> None:
    """Trees and bushes on free ground, a share of the tries as `density` has it there (a plane of
    0 to 1, or one number); crowns overlap a little.
    """
    size = land.ids.shape[0]
    wanted = np.broadcast_to(np.asarray(density, np.float32), land.ids.shape)
    grown = np.zeros((0, 3))
    for row, column in rng.integers(0, size, (tries, 2)):
        radius = rng.uniform(*radii)
        chance = rng.uniform()
        if land.taken[row, column] or chance > wanted[row, column]:
            continue
        x, y = float(land.xs[row, column]), float(land.ys[row, column])
        apart = np.hypot(grown[:, 0] - x, grown[:, 1] - y)
        if (apart < 0.7 * np.maximum(grown[:, 2], radius)).any():
            continue
        grown = np.concatenate([grown, [[x, y, radius]]])
        draw_tree(rng, land, x, y, radius)


def put_fence(land: Land, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A fence of planks between two points, with a gap wherever something else is."""
    middle = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    along, down = end[0] - start[0], end[1] - start[1]
    length = math.hypot(along, down) / 2
    part = land.part(*middle, length)
    u, v = part.turned(*middle, math.atan2(down, along))
    inside = (np.abs(u) < length) & (np.abs(v) < 0.14) & ~part.taken
    part.put(inside, CLUTTER, textured((0.5, 0.43, 0.36), 0.1 * part.grain), 1.5)


def put_pool(rng: Generator, land: Land, frame: Frame) -> None:
    """A pool within slabs, if there is room."""
    half = rng.uniform((2.2, 1.3), (3.8, 2.0))
    if not land.is_free(frame[0], frame[1], float(half.max())):
        return
    part = land.part(frame[0], frame[1], float(half.max()) + 2)
    u, v = part.turned(*frame)
    # rounded corners: the depth falls to the edge as in a box of soft sides
    depth = 1 - ((np.abs(u) / half[0]) ** 4 + (np.abs(v) / half[1]) ** 4) ** 0.25
    rim = (depth > -0.35) & ~part.taken
    part.put(rim, GROUND, textured((0.66, 0.63, 0.58), 0.05 * part.grain), 0.0)
    draw_water(part, 4 * depth, rng.choice([(0.25, 0.58, 0.66), (0.3, 0.5, 0.5)]))


def put_clutter(rng: Generator, land: Land, x: float, y: float, places: str) -> None:
    """One thing that people leave about in "gardens", "yards" or "woods", if there is room."""
    if not land.is_free(x, y, 1.2):
        return
    turn = rng.uniform(0, math.pi)
    colour = _faded(rng)
    if places == "gardens":
        if rng.uniform() < 0.35:
            draw_round(land, x, y, rng.uniform(1.3, 1.9), 0.9, [(0.1, 0.1, 0.12), (0.2, 0.3, 0.5)])
        elif rng.uniform() < 0.5:  # a parasol
            draw_round(land, x, y, rng.uniform(1.0, 1.5), 2.2, [colour, 0.85 * colour])
        else:
            shed = rng.uniform((0.6, 0.5), (1.5, 1.0))
            draw_box(land, (x, y, turn), tuple(shed), rng.uniform(0.7, 1.8), colour, ribs=0.06)
    elif places == "yards":
        if rng.uniform() < 0.35 and land.is_free(x, y, 3.3):
            draw_box(land, (x, y, turn), (3, 1.2), 2.5, colour, ribs=0.12)
        for _ in range(rng.integers(1, 6)):
            aside = rng.normal(0, 1.6, 2)
            half = rng.uniform((0.3, 0.3), (0.9, 0.6))
            if land.is_free(x + aside[0], y + aside[1], 0.6):
                place = (x + aside[0], y + aside[1], turn)
                draw_box(land, place, tuple(half), rng.uniform(0.6, 1.4), _faded(rng))
    else:  # stacked logs
        half = rng.uniform((1.5, 0.9), (3.2, 1.4))
        draw_box(land, (x, y, turn), tuple(half), 1.3, (0.5, 0.4, 0.3), ribs=0.25)


def put_jetty(rng: Generator, land: Land, x: float, y: float, outwards: float) -> None:
    """A jetty about a point near the bank, and a boat beside it on the side of the deep water."""
    long = rng.uniform(3.5, 6)
    draw_box(land, (x, y, outwards), (long, 0.8), 0.4, (0.46, 0.4, 0.33), ribs=0.12)
    part = land.part(x, y, 8)
    u, v = part.turned(*at((x, y, outwards), long - 2.5, rng.choice([-1.9, 1.9])), outwards)
    hull = np.abs(v) + 0.9 * np.clip((u - 0.5) / 2.2, 0, 2) ** 2
    afloat = part.height < -0.4
    part.put(afloat & (hull < 0.9) & (u > -2.3), CLUTTER, rng.uniform(0.3, 0.9, 3), 0.5)
    part.put(afloat & (hull < 0.65) & (u > -2), CLUTTER, (0.42, 0.33, 0.25), 0.5)


def _faded(rng: Generator) -> NDArray[np.float64]:
    """Any colour, not too bright, as sun and dust leave it."""
    colour = rng.uniform(0.1, 0.8, 3)
    return 0.5 * (colour + colour.mean())
