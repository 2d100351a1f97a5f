"""Arrange houses, ways, woods and waters into places: town, suburb, wood, shore and fields."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.land import (
    GROUND,
    Land,
    draw_car,
    draw_ground,
    draw_round,
    draw_tree,
    draw_water,
    textured,
)
from scripts.drawing.streets import (
    Frame,
    at,
    draw_car_park,
    draw_streets,
    draw_track,
    park_cars,
    pave,
)
from scripts.drawing.things import (
    put_clutter,
    put_fence,
    put_house,
    put_jetty,
    put_pool,
    scatter_trees,
)

Kind = Literal["town", "suburb", "wood", "shore", "fields"]
KINDS: tuple[Kind, ...] = ("town", "suburb", "wood", "shore", "fields")


def draw_place(rng: Generator, kind: Kind, size: int, side: float) -> Land:
    """Land of `size` pixels and `side` metres that shows a place of that kind."""
    land = draw_ground(rng, size, side)
    arrange = {
        "town": _arrange_town,
        "suburb": _arrange_suburb,
        "wood": _arrange_wood,
        "shore": _arrange_shore,
        "fields": _arrange_fields,
    }
    arrange[kind](rng, land, rng.uniform(0, 2 * math.pi), side / 2)
    return land


def _arrange_town(rng: Generator, land: Land, turn: float, half: float) -> None:
    """A street or a crossing, houses close to each other, yards, a car park, parked cars."""
    street = (*rng.uniform(-0.3, 0.3, 2) * half, turn)
    streets = [street, (street[0], street[1], turn + math.pi / 2)][: rng.integers(1, 3)]
    width = rng.uniform(6, 9)
    pave(rng, land, 0.15 * land.patches > rng.uniform(-0.3, 0.3))
    draw_streets(rng, land, streets, width, pavement=rng.uniform(1.5, 2.5))
    for sign in (-1, 1):
        if len(streets) == 1 and rng.uniform() < 0.5:
            draw_car_park(rng, land, street, sign * (width / 2 + 12), half)
    along = -1.4 * half
    while along < 1.4 * half:
        length = rng.uniform(5, 10)
        for sign in (-1, 1):
            depth = rng.uniform(4.5, 7)
            near = width / 2 + 2.6 + rng.choice([0, rng.uniform(0, 3)])
            put_house(rng, land, street, (along + length, sign * (near + depth)), (length, depth))
            behind = near + 2 * depth + rng.uniform(8, 16)
            put_house(rng, land, street, (along + length, sign * behind), (length - 1, 5))
        along += 2 * length + rng.choice([0.2, rng.uniform(2, 8)])
    for each in streets:
        park_cars(rng, land, each, width / 2 - 1.1, half, share=rng.uniform(0.2, 0.7))
    for x, y in rng.uniform(-half, half, (rng.integers(10, 30), 2)):
        put_clutter(rng, land, x, y, "yards")
    scatter_trees(rng, land, rng.integers(8, 50), (1.2, 3.2))


def _arrange_suburb(rng: Generator, land: Land, turn: float, half: float) -> None:
    """A street of houses in gardens with fences, drives, pools and trees."""
    street = (*rng.uniform(-0.6, 0.6, 2) * half, turn)
    width = rng.uniform(5, 6.5)
    draw_streets(rng, land, [street], width, pavement=rng.choice([0.3, 1.3]))
    lot, deep = rng.uniform(15, 21), rng.uniform(26, 32)
    for sign in (-1, 1):
        for number in range(-5, 6):
            middle = (number + 0.5) * lot + sign * 3
            _arrange_garden(rng, land, street, sign, (middle, width / 2 + 1.3, lot, deep))
    park_cars(rng, land, street, width / 2 - 1, half, share=0.15)
    scatter_trees(rng, land, rng.integers(40, 130), (0.5, 3.8))


def _arrange_garden(
    rng: Generator, land: Land, street: Frame, sign: int, lot: tuple[float, float, float, float]
) -> None:
    """Lawn, house, drive, car, fence, pool and things on one side of the street. `lot` is its
    middle along the street, where it begins and ends beside it as `near`, width and `deep`.
    """
    middle, near, wide, deep = lot
    u, v = land.turned(*street)
    u, v = u - np.float32(middle), v * np.float32(sign)
    green = np.array([0.33, 0.4, 0.23]) * rng.uniform(0.85, 1.15)
    mown = rng.choice([0, 0.04]) * np.sign(np.sin(u * (math.pi / 1.1)))
    lawn = textured(green, mown, 0.08 * land.grain, 0.05 * land.lumps, 0.04 * land.patches)
    if rng.uniform() < 0.7:
        inside = (np.abs(u) < wide / 2) & (v > near) & (v < deep) & ~land.taken
        land.put(inside, GROUND, lawn, 0.0, 0.5, keep_free=False)
    length, depth = rng.uniform(4.5, wide / 2 - 1.5), rng.uniform(3.8, 5.5)
    aside = near + rng.uniform(5.5, 7.5)  # where the house begins
    drive = rng.choice([-1, 1]) * (length - 1.6)
    pave(rng, land, (np.abs(u - drive) < 1.5) & (v > near) & (v < aside))
    put_house(rng, land, street, (middle, sign * (aside + depth)), (length, depth))
    if rng.uniform() < 0.6:
        x, y = at(street, middle + drive, sign * (near + 2.9))
        draw_car(rng, land, x, y, street[2] + math.pi / 2)
    back = aside + 2 * depth
    if rng.uniform() < 0.7:
        corners = [(wide / 2, aside), (wide / 2, deep), (-wide / 2, deep)]
        points = [at(street, middle + along, sign * down) for along, down in corners]
        put_fence(land, points[0], points[1])
        put_fence(land, points[1], points[2])
    if rng.uniform() < 0.3:
        x, y = at(street, middle + rng.uniform(-2, 2), sign * (back + rng.uniform(4, 6)))
        put_pool(rng, land, (x, y, street[2]))
    for _ in range(rng.integers(0, 5)):
        along, down = rng.uniform(-0.4, 0.4) * wide, rng.uniform(back + 1, deep - 1)
        put_clutter(rng, land, *at(street, middle + along, sign * down), "gardens")


def _arrange_wood(rng: Generator, land: Land, turn: float, half: float) -> None:
    """The edge of a wood, or a clearing in it, with a track and stacked logs."""
    draw_track(rng, land, turn + rng.normal(math.pi / 2, 0.6), half)
    if rng.uniform() < 0.15:
        put_house(rng, land, (0, 0, turn), rng.uniform(-0.5, 0.5, 2) * half, (4, 3))
    if rng.uniform() < 0.15:
        draw_car(rng, land, *rng.uniform(-0.6, 0.6, 2) * half, rng.uniform(0, 6))
    for x, y in rng.uniform(-0.7, 0.7, (rng.integers(0, 5), 2)) * half:
        put_clutter(rng, land, x, y, "woods")
    u, _ = land.turned(0, 0, turn)
    density = rng.uniform(0.3, 0.6) + u / half * rng.uniform(0.3, 1.2) + 0.3 * land.patches
    scatter_trees(rng, land, 900, (1.3, 4.2), density)
    scatter_trees(rng, land, 60, (0.4, 1.0))


def _arrange_shore(rng: Generator, land: Land, turn: float, half: float) -> None:
    """A river or the shore of a lake between trees, now and then with a jetty and boats."""
    u, v = land.turned(*rng.uniform(-0.3, 0.3, 2) * half, turn)
    bend = 0.12 * half * np.sin(u * (2.5 / half) + rng.uniform(0, 6)) + 0.8 * land.patches
    river = rng.uniform() < 0.45
    if river:
        depth = rng.uniform(0.2, 0.35) * half - np.abs(v + bend)
    else:
        depth = v + bend + rng.uniform(-0.3, 0.3) * half
    colours = np.array([(0.13, 0.19, 0.16), (0.2, 0.22, 0.17), (0.12, 0.19, 0.25)])
    colour = rng.choice(colours) * rng.uniform(0.85, 1.3)
    if rng.uniform() < 0.5:
        draw_track(rng, land, turn, half)
    draw_water(land, depth + 0.25 * land.lumps, colour)
    near_bank = np.argwhere((depth > 1.5) & (depth < 3))
    if len(near_bank):
        for row, column in rng.choice(near_bank, rng.integers(0, 3)):
            outwards = turn + math.pi * (-0.5 if river and v[row, column] > 0 else 0.5)
            put_jetty(rng, land, land.xs[row, column], land.ys[row, column], outwards)
    if rng.uniform() < 0.3:
        put_house(rng, land, (0, 0, turn), rng.uniform(-0.6, 0.6, 2) * half, (4.5, 3.5))
    density = rng.uniform(0.1, 0.7) + 0.35 * land.patches
    scatter_trees(rng, land, 450, (0.8, 3.8), density)


def _arrange_fields(rng: Generator, land: Land, turn: float, half: float) -> None:
    """Strips of crops and bare soil, hedges between them, a track, bales, a barn, a pond."""
    _, v = land.turned(0, 0, turn)
    edges = [-2 * half, *np.sort(rng.uniform(-0.8, 0.8, rng.integers(1, 4))) * half, 2 * half]
    for low, high in itertools.pairwise(edges):
        _draw_crop(rng, land, turn, (v > low + 0.8) & (v < high - 0.8))
    if rng.uniform() < 0.5:
        draw_track(rng, land, turn, half)
    if rng.uniform() < 0.4:
        x, y = rng.uniform(-0.6, 0.6, 2) * half
        pu, pv = land.turned(x, y, rng.uniform(0, math.pi))
        lobes = 1.2 * np.sin(3 * np.arctan2(pv, pu) + rng.uniform(0, 6)) + 0.9 * land.patches
        pond = rng.uniform(5, 9) - np.hypot(pu, pv * 1.4) + lobes + 0.3 * land.lumps
        draw_water(land, pond, (0.2, 0.23, 0.17))
    if rng.uniform() < 0.35:
        put_house(rng, land, (0, 0, turn), rng.uniform(-0.6, 0.6, 2) * half, (8, 5))
    for x, y in rng.uniform(-0.9, 0.9, (rng.choice([0, 2, 7]), 2)) * half:
        if land.is_free(x, y, 1):
            draw_round(land, x, y, 0.85, 1.4, [(0.66, 0.57, 0.36), (0.52, 0.44, 0.27)])
    if rng.uniform() < 0.3:
        draw_car(rng, land, *rng.uniform(-0.6, 0.6, 2) * half, turn)
    if rng.uniform() < 0.3:
        _draw_orchard(rng, land, turn, half, begin=edges[-2] + 3)
    to_hedge = np.min([np.abs(v - edge) for edge in edges], axis=0)
    scatter_trees(rng, land, 1500, (0.6, 2.2), rng.uniform(0.2, 1.3) - to_hedge)


def _draw_crop(rng: Generator, land: Land, turn: float, inside: NDArray[np.bool_]) -> None:
    """Green, ripe or sparse corn or bare soil in rows."""
    crops = [(0.33, 0.44, 0.2), (0.62, 0.55, 0.33), (0.46, 0.37, 0.28), (0.44, 0.46, 0.22)]
    growths = [0.8, 0.3, 0.0, 0.7]
    crop = rng.integers(len(crops))
    across = land.turned(0, 0, turn + rng.choice([0, math.pi / 2, rng.uniform(0, 3)]))[1]
    rows = rng.uniform(0.04, 0.14) * np.sin(across * (2 * math.pi / rng.uniform(0.7, 1.6)))
    shades = rows, 0.07 * land.grain, 0.06 * land.lumps, 0.05 * land.patches
    colour = textured(np.array(crops[crop]) * rng.uniform(0.85, 1.15), *shades)
    land.put(inside, GROUND, colour, 0.2 * rows, growths[crop], keep_free=False)


def _draw_orchard(rng: Generator, land: Land, turn: float, half: float, *, begin: float) -> None:
    """Small trees in rows, from `begin` aside on."""
    for along in np.arange(-1.4 * half, 1.4 * half, 4.5):
        for aside in np.arange(begin, 1.4 * half, 4.5):
            x, y = at((0, 0, turn), along, aside)
            if land.is_free(x, y, 0.5):
                draw_tree(rng, land, x, y, rng.uniform(1.2, 1.7))
