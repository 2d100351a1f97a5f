"""Draw land as a height and a colour a pixel, with what grows, stands and flows on it.

Lengths are metres, seen from the middle of the land: x grows to the right, y down; angles are in
radians. Colours are RGB, 0 to 1, as in flat even light: sun, shadows and season come with the date
of a photo. Whatever is higher covers what is lower, so a crown hides the road beneath.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from scripts.drawing.belt import smooth_noise

CLASSES = ("building", "clutter", "vegetation", "water", "ground", "car")
BUILDING, CLUTTER, VEGETATION, WATER, GROUND, CAR = range(6)

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Land:
    """Arrays of shape (size, size), and (size, size, 3) for the colour; drawing fills them."""

    xs: Plane
    ys: Plane
    ids: NDArray[np.uint8]
    colour: Plane
    height: Plane  # metres
    growth: Plane  # 0 to 1, how far the season changes the colour
    taken: NDArray[np.bool_]  # where nothing more can be put down
    grain: Plane  # noise about 0 for all textures: of a pixel's size,
    lumps: Plane  # of a metre's
    patches: Plane  # and of eight metres'

    def part(self, x: float, y: float, reach: float) -> Land:
        """A view of the square that reaches so far from a point; empty outside the land."""
        columns = slice(*np.searchsorted(self.xs[0], (x - reach, x + reach)))
        rows = slice(*np.searchsorted(self.ys[:, 0], (y - reach, y + reach)))
        names = [field.name for field in dataclasses.fields(self)]
        return Land(**{name: getattr(self, name)[rows, columns] for name in names})

    def turned(self, x: float, y: float, turn: float) -> tuple[Plane, Plane]:
        """Metres from a point along the direction `turn`, and to the right of it."""
        xs, ys = self.xs - np.float32(x), self.ys - np.float32(y)
        cos, sin = np.float32(math.cos(turn)), np.float32(math.sin(turn))
        return xs * cos + ys * sin, ys * cos - xs * sin

    def put(
        self,
        inside: NDArray[np.bool_],
        class_id: int,
        colour: ArrayLike,
        height: ArrayLike = 0.0,
        growth: ArrayLike = 0.0,
        *,
        keep_free: bool = True,
    ) -> None:
        """Cover what lies lower; with `keep_free` nothing else is put down there later."""
        heights = np.broadcast_to(np.asarray(height, np.float32), inside.shape)
        over = inside & (heights >= self.height)
        self.ids[over] = class_id
        self.colour[over] = np.broadcast_to(np.asarray(colour, np.float32), self.colour.shape)[over]
        self.height[over] = heights[over]
        self.growth[over] = np.broadcast_to(np.asarray(growth, np.float32), over.shape)[over]
        if keep_free:
            self.taken[inside] = True

    def is_free(self, x: float, y: float, reach: float) -> bool:
        """Whether something of that radius can be put down, wholly on the land."""
        inside = max(abs(x), abs(y)) + reach < float(self.xs[0, -1])
        return inside and not self.part(x, y, reach).taken.any()


def textured(colour: ArrayLike, *shades: Plane) -> Plane:
    """The colour, brighter and darker by noise: shape (rows, columns, 3)."""
    shade = np.clip(1 + sum(shades), 0.2, 1.8)[..., None]
    return (np.asarray(colour, np.float32) * shade).astype(np.float32)


def draw_ground(rng: Generator, size: int, side: float) -> Land:
    """Open ground of `size` pixels and `side` metres: soil, dry and green grass in patches."""
    middles = (((np.arange(size) + 0.5) / size - 0.5) * side).astype(np.float32)
    xs, ys = np.meshgrid(middles, middles)
    grain, lumps, patches = (
        smooth_noise(rng, size, cells, cells)
        for cells in (4 * round(side), round(side), max(4, round(side / 8)))
    )
    grass = np.clip(rng.uniform(0.1, 0.9) + 0.3 * patches + 0.15 * lumps + 0.1 * grain, 0, 1)
    soil = np.array([0.55, 0.49, 0.41]) * rng.uniform(0.8, 1.15)
    blades = np.array([0.37, 0.41, 0.27]) * rng.uniform(0.85, 1.2)
    colour = soil + grass[..., None] * (blades - soil)
    return Land(
        xs,
        ys,
        ids=np.full((size, size), GROUND, np.uint8),
        colour=textured(colour, 0.08 * grain, 0.05 * lumps),
        height=(0.04 * grain * grass).astype(np.float32).clip(-0.1, 0.1) - np.float32(0.1),
        growth=grass.astype(np.float32),
        taken=np.zeros((size, size), np.bool_),
        grain=grain,
        lumps=lumps,
        patches=patches,
    )


def draw_tree(rng: Generator, land: Land, x: float, y: float, radius: float) -> None:
    """A crown: round and lumpy, or that of a conifer, a star that rises to its middle."""
    part = land.part(x, y, radius * 1.5)
    away, angle = np.hypot(part.xs - x, part.ys - y), np.arctan2(part.ys - y, part.xs - x)
    conifer = rng.uniform() < 0.25
    turns = rng.uniform(0, 2 * math.pi, 3)
    waves = 0.1 * np.sin(2 * angle + turns[0]) + 0.08 * np.sin(5 * angle + turns[1])
    star = 0.12 * np.sin((9 if conifer else 7) * angle + turns[2])
    rim = away / (radius * (1 + waves + star * (0.6 if conifer else 0.4))) + 0.07 * part.lumps
    dome = np.sqrt(np.clip(1 - rim**2, 0, 1))
    tall = radius * rng.uniform(1.3, 2.0)
    height = tall * (0.15 + 0.85 * np.clip(1 - rim, 0, 1) if conifer else 0.4 + 0.6 * dome)
    height += radius * (0.08 * part.lumps + 0.06 * part.grain) * (0.4 if conifer else 1)
    if conifer:
        leaves, growth = np.array([0.17, 0.25, 0.18]), 0.1
    else:
        leaves = np.array([0.27, 0.36, 0.18]) + rng.normal(0, 0.025, 3) * (1, 0.7, 1)
        growth = rng.choice([0.2, rng.uniform(0.6, 1)])
    leaves = leaves * rng.uniform(0.7, 1.25)
    colour = textured(leaves, 0.14 * part.lumps, 0.12 * part.grain, 0.35 * dome - 0.25)
    part.put(rim < 1, VEGETATION, colour, np.maximum(height, 0.3), growth, keep_free=False)


def draw_house(
    rng: Generator, land: Land, x: float, y: float, turn: float, half: tuple[float, float]
) -> None:
    """A house of half the length and half the depth given, its roof gabled, hipped or flat."""
    length, depth = half
    part = land.part(x, y, math.hypot(length, depth) + 1)
    u, v = part.turned(x, y, turn)
    inside = (np.abs(u) < length) & (np.abs(v) < depth)
    to_edge = np.minimum(length - np.abs(u), depth - np.abs(v))
    eaves = rng.uniform(2.8, 5.5)
    roof = rng.choice(["gable", "hip", "flat"])
    if roof == "flat":
        grey = rng.uniform(0.38, 0.72)
        edge = to_edge < 0.4
        colour = textured((grey, grey, grey * rng.uniform(0.94, 1.03)), 0.04 * part.lumps)
        colour *= 1 + 0.05 * part.grain[..., None] + 0.2 * edge[..., None]
        part.put(inside, BUILDING, colour, eaves + 0.5 * edge)
        _draw_roof_boxes(rng, part, (x, y, turn), half, eaves)
        return
    slope = rng.uniform(0.35, 0.8)
    rise = to_edge if roof == "hip" else depth - np.abs(v)
    tiles = [(0.5, 0.3, 0.24), (0.42, 0.26, 0.22), (0.42, 0.42, 0.43), (0.3, 0.3, 0.32)]
    tiles += [(0.55, 0.53, 0.5), (0.36, 0.32, 0.29), (0.48, 0.38, 0.3)]
    rows = 0.06 * np.sin(rise * (2 * math.pi / 0.7))
    shade = rng.uniform(0.85, 1.2)
    stains = 0.06 * part.lumps + 0.05 * part.grain - 0.03 * part.patches
    colour = textured(np.array(tiles[rng.integers(len(tiles))]) * shade, rows, stains)
    part.put(inside, BUILDING, colour, eaves + slope * rise)
    for _ in range(rng.integers(0, 3)):  # chimneys and windows in the roof
        along, aside = rng.uniform(-0.7, 0.7) * length, rng.uniform(-0.6, 0.6) * depth
        box = (np.abs(u - along) < 0.45) & (np.abs(v - aside) < 0.45)
        dark = rng.uniform() < 0.5
        top = eaves + slope * rise + (0.02 if dark else 0.9)
        part.put(inside & box, BUILDING, (0.2, 0.24, 0.3) if dark else (0.45, 0.36, 0.33), top)


def _draw_roof_boxes(
    rng: Generator,
    part: Land,
    frame: tuple[float, float, float],
    half: tuple[float, float],
    eaves: float,
) -> None:
    """Vents and skylights on a flat roof."""
    u, v = part.turned(*frame)
    for _ in range(rng.integers(1, 6)):
        along, aside = rng.uniform(-0.75, 0.75, 2) * half
        wide, deep = rng.uniform(0.3, 1.2, 2)
        box = (np.abs(u - along) < wide) & (np.abs(v - aside) < deep)
        box &= (np.abs(u) < half[0]) & (np.abs(v) < half[1])
        part.put(box, BUILDING, [rng.uniform(0.45, 0.8)] * 3, eaves + rng.uniform(0.3, 1.3))


def draw_car(rng: Generator, land: Land, x: float, y: float, turn: float) -> None:
    """A car, or a van now and then, its windows dark."""
    paints = [(0.85, 0.85, 0.84), (0.6, 0.61, 0.63), (0.1, 0.1, 0.11), (0.3, 0.31, 0.33)]
    paints += [(0.5, 0.1, 0.09), (0.13, 0.2, 0.38), (0.45, 0.5, 0.38), (0.62, 0.57, 0.47)]
    van = rng.uniform() < 0.12
    half = (2.7, 1.0) if van else (rng.uniform(2.0, 2.35), rng.uniform(0.85, 0.95))
    part = land.part(x, y, half[0] + 1)
    u, v = part.turned(x, y, turn if rng.uniform() < 0.5 else turn + math.pi)
    inside = (u / half[0]) ** 6 + (v / half[1]) ** 6 < 1
    front, back = (1.7, -2.6) if van else (1.0, -1.7)
    cabin = inside & (u < front) & (u > back)
    paint = np.array(paints[rng.integers(len(paints))])
    part.put(inside, CAR, textured(paint, 0.02 * part.grain), 0.9)
    part.put(cabin, CAR, (0.12, 0.14, 0.17), 2.0 if van else 1.25)
    top = cabin & (u < front - 0.65) & (u > (back if van else back + 0.5))
    part.put(top & (np.abs(v) < half[1] - 0.17), CAR, paint * 1.05, 2.1 if van else 1.45)


def draw_box(
    land: Land,
    place: tuple[float, float, float],
    half: tuple[float, float],
    height: float,
    colour: ArrayLike,
    *,
    ribs: float = 0.0,
) -> None:
    """Clutter with four corners, with ribs across if their depth (of the colour) is given."""
    part = land.part(place[0], place[1], math.hypot(*half) + 0.5)
    u, v = part.turned(*place)
    inside = (np.abs(u) < half[0]) & (np.abs(v) < half[1])
    shades = ribs * np.sin(u * (2 * math.pi / 0.6)), 0.05 * part.grain
    part.put(inside, CLUTTER, textured(colour, *shades), height)


def draw_round(
    land: Land, x: float, y: float, radius: float, height: float, colours: ArrayLike
) -> None:
    """Round clutter in two colours, the second that of its rim."""
    inner, rim = np.asarray(colours)
    part = land.part(x, y, radius + 0.5)
    away = np.hypot(part.xs - x, part.ys - y)
    part.put(away < radius, CLUTTER, textured(rim, 0.05 * part.grain), height)
    part.put(away < 0.8 * radius, CLUTTER, textured(inner, 0.05 * part.grain), height)


def draw_water(land: Land, depth: Plane, colour: ArrayLike) -> None:
    """Water where `depth` is above 0, a wet strip of a metre around it. `depth` is in metres."""
    wet = np.clip(1.2 + depth + 0.4 * land.lumps, 0, 1)[..., None] * (depth <= 0)[..., None]
    land.colour[...] *= 1 - 0.35 * wet
    land.growth[...] *= 1 - wet[..., 0]
    inside = depth > 0
    land.height[inside] = -1.0
    deep = np.clip(depth / 4, 0, 1)
    land.put(inside, WATER, textured(colour, 0.35 * (1 - deep), 0.05 * land.patches), -0.5)
