"""Draw land from above: houses, trees, water, clutter and cars on open ground, on three dates.

A place is drawn once, with a colour and a height per pixel; a date adds season, sun and haze.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from scripts.drawing.shapes import (
    Image,
    Mask,
    Plane,
    Points,
    box,
    ellipse,
    fill,
    noise,
    take_photo,
    texture,
    turned,
)

CLASSES = ("building", "clutter", "vegetation", "water", "ground", "car")
BUILDING, CLUTTER, VEGETATION, WATER, GROUND, CAR = range(6)
TRIES = 8  # positions tried for a thing before it is left out


@dataclass(frozen=True)
class Place:
    """How many things of each kind a place has at most, and its share of wood and water."""

    streets: int = 0
    houses: int = 0
    trees: int = 0
    clutter: int = 0
    cars: int = 0
    wood: float = 0.0  # fraction of the ground
    water: float = 0.0  # fraction of the ground


PLACES = {
    "town": Place(streets=2, houses=12, trees=10, clutter=6, cars=16),
    "suburb": Place(streets=1, houses=9, trees=40, clutter=8, cars=7),
    "wood": Place(houses=1, trees=30, clutter=2, wood=0.65),
    "shore": Place(houses=2, trees=25, clutter=3, cars=2, water=0.4),
    "fields": Place(streets=1, houses=2, trees=12, clutter=3, cars=3, wood=0.1, water=0.05),
}
ROOFS = ((150, 85, 65), (115, 75, 60), (105, 105, 110), (75, 76, 82), (170, 165, 155))
PAINTS = ((235, 235, 232), (165, 168, 172), (35, 35, 38), (150, 30, 28), (40, 60, 120))
THINGS = ((200, 90, 40), (60, 110, 170), (190, 170, 60), (70, 130, 90), (210, 205, 195))
# factors of the colours of leaves and grass
SEASONS = ((0.9, 1.08, 0.9), (1.0, 1.0, 0.9), (1.25, 1.03, 0.75), (1.4, 1.0, 0.7))


@dataclass(frozen=True)
class Land:
    """Planes of shape (size, size) that drawing fills."""

    ids: NDArray[np.uint8]
    colour: Image  # in even light
    height: Plane  # metres
    growth: Plane  # 0 to 1: how far the season changes the colour
    scale: float  # pixels per metre

    def put(
        self, mask: Mask, class_id: int, colour: ArrayLike, height: float = 0.0, growth: float = 0.0
    ) -> None:
        """Cover the pixels of the mask."""
        self.ids[mask] = class_id
        self.colour[mask] = np.broadcast_to(np.asarray(colour, np.float32), self.colour.shape)[mask]
        self.height[mask] = height
        self.growth[mask] = growth


def draw_land(rng: Generator, place: Place, size: int) -> Land:
    """A place of 40 to 60 metres in `size` pixels."""
    land = draw_ground(rng, size, size / rng.uniform(40, 60))
    leaves = texture(rng, land.ids.shape, (62, 88, 46), 0.7 * land.scale, 0.22)
    draw_water_and_wood(rng, land, leaves, place)
    crossing, turn = rng.uniform(0.3, 0.7, 2) * size, rng.uniform(0, math.pi)
    streets = [turn + number * math.pi / 2 for number in range(place.streets)]
    for street in streets:
        draw_street(rng, land, crossing, street)
    for car in range(place.cars if streets else 0):
        street = streets[car % len(streets)]
        offset = rng.uniform(-0.5, 0.5) * size, rng.choice([-2.2, 2.2]) * land.scale
        draw_car(rng, land, crossing + turned(offset, street), street)
    for spot in free_spots(rng, land, place.houses, 5.0):
        draw_house(rng, land, spot, turn)
    for spot in free_spots(rng, land, place.clutter, 2.0):
        draw_clutter(rng, land, spot)
    for spot in free_spots(rng, land, place.trees, 1.5):
        draw_tree(rng, land, leaves, spot)
    for spot in free_spots(rng, land, 0 if streets else place.cars, 2.5):
        draw_car(rng, land, spot, rng.uniform(0, math.pi))
    return land


def draw_ground(rng: Generator, size: int, scale: float) -> Land:
    """Open ground: soil and grass in patches."""
    shape = (size, size)
    soil, grass = np.array([150, 134, 110]), np.array([112, 128, 72])
    growth = np.clip(rng.uniform(0.2, 0.9) + 0.3 * noise(rng, shape, 6 * scale), 0.05, 1)
    colour = soil + growth[..., None] * (grass - soil)
    return Land(
        np.full(shape, GROUND, np.uint8),
        (colour * texture(rng, shape, (1, 1, 1), scale, 0.08)).astype(np.float32),
        np.zeros(shape, np.float32),
        growth.astype(np.float32),
        scale,
    )


def draw_water_and_wood(rng: Generator, land: Land, leaves: Image, place: Place) -> None:
    """Water where smooth noise is low, a wood where it is high."""
    shape, size = land.ids.shape, len(land.ids)
    level = noise(rng, shape, size / 3) + 0.2 * noise(rng, shape, size / 12)
    if place.water:
        blue = np.array([70, 100, 118]) * rng.uniform(0.8, 1.2)
        water = level < np.quantile(level, place.water)
        land.put(water, WATER, texture(rng, shape, blue, size / 4, 0.06))
    if place.wood:
        wood = level > np.quantile(level, 1 - place.wood)
        land.put(wood, VEGETATION, leaves, 6.0, 1.0)
        for x, y in rng.integers(0, size, (80, 2)):
            if wood[y, x]:
                draw_tree(rng, land, leaves, np.array([x, y], np.float64))


def free_spots(rng: Generator, land: Land, count: int, reach: float) -> Iterator[Points]:
    """At most `count` points with only unpaved ground within `reach` metres."""
    size, half = len(land.ids), max(1, round(reach * land.scale))
    for _ in range(count):
        for x, y in rng.integers(0, size, (TRIES, 2)):
            around = np.s_[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
            if (land.ids[around] == GROUND).all() and (land.growth[around] > 0).all():
                yield np.array([x, y], np.float64)
                break


def draw_tree(rng: Generator, land: Land, leaves: Image, spot: Points) -> None:
    """A crown 2 to 6 metres wide of these leaves, lighter in its middle."""
    radius, shade = rng.uniform(1.0, 3.0) * land.scale, rng.uniform(0.75, 1.3)
    wobble = rng.normal(0, 0.12, 24)
    for part, light in ((1.0, 0.8), (0.7, 1.05), (0.35, 1.25)):
        outline = ellipse(spot, (part * radius, part * radius), 0.0, wobble=wobble)
        crown = fill(land.ids.shape, outline) & np.isin(land.ids, (VEGETATION, GROUND))
        land.put(crown, VEGETATION, leaves * np.float32(shade * light), 5.0, 1.0)


def draw_house(rng: Generator, land: Land, spot: Points, turn: float) -> None:
    """A house with a gabled or a flat roof."""
    half = tuple(rng.uniform((3.5, 2.5), (6.0, 4.0)) * land.scale)
    shape, turn = land.ids.shape, turn + rng.normal(0, 0.05)
    roof = np.array(ROOFS[rng.integers(len(ROOFS))]) * rng.uniform(0.85, 1.15)
    tiles = texture(rng, shape, roof, 0.5 * land.scale, 0.05)
    height = rng.uniform(4, 8)
    land.put(fill(shape, box(spot, half, turn)), BUILDING, tiles, height)
    if rng.uniform() < 0.7:  # the far side of the ridge is darker
        far = box(spot, half, turn)
        far[2:] = (far[2:] + far[[1, 0]]) / 2
        land.put(fill(shape, far), BUILDING, tiles * 0.75, height)


def draw_street(rng: Generator, land: Land, crossing: Points, turn: float) -> None:
    """Asphalt with a pavement on either side and a dashed line."""
    shape, size, scale = land.ids.shape, 2 * len(land.ids), land.scale
    grey = texture(rng, shape, [rng.uniform(85, 130)] * 3, 2 * scale, 0.05)
    land.put(fill(shape, box(crossing, (size, 5 * scale), turn)), GROUND, (158, 154, 146))
    land.put(fill(shape, box(crossing, (size, 3.5 * scale), turn)), GROUND, grey)
    for along in np.arange(-size, size, 5 * scale):
        dash = box(crossing + turned((along, 0), turn), (1.2 * scale, 0.1 * scale), turn)
        land.put(fill(shape, dash), GROUND, (215, 215, 208))


def draw_car(rng: Generator, land: Land, spot: Points, turn: float) -> None:
    """A car on open ground, its windows dark."""
    shape, scale = land.ids.shape, land.scale
    body = fill(shape, box(spot, (2.2 * scale, 0.95 * scale), turn))
    if not (land.ids[body] == GROUND).all():
        return
    paint = PAINTS[rng.integers(len(PAINTS))]
    land.put(body, CAR, paint, 1.3)
    window = body & fill(shape, box(spot, (1.1 * scale, 0.7 * scale), turn))
    land.put(window, CAR, (40, 46, 54), 1.4)
    roof = fill(shape, box(spot, (0.6 * scale, 0.7 * scale), turn))
    land.put(body & roof, CAR, paint, 1.5)


def draw_clutter(rng: Generator, land: Land, spot: Points) -> None:
    """A container, a heap or a tank in a bright colour with a pale rim."""
    shape, scale, turn = land.ids.shape, land.scale, rng.uniform(0, math.pi)
    half = rng.uniform(0.9, 2.0, 2) * scale
    outline = box if rng.uniform() < 0.5 else ellipse
    colour = np.array(THINGS[rng.integers(len(THINGS))]) * rng.uniform(0.9, 1.1)
    land.put(fill(shape, outline(spot, tuple(half), turn)), CLUTTER, colour * 0.6, 1.8)
    land.put(fill(shape, outline(spot, tuple(half * 0.75), turn)), CLUTTER, colour, 2.0)


def draw_dates(rng: Generator, land: Land) -> list[NDArray[np.uint8]]:
    """RGB of the land on three dates, which differ in season, sun and haze."""
    seasons, suns = rng.permutation(len(SEASONS))[:3], rng.permutation(3)
    images = []
    for season, sun in zip(seasons, suns, strict=True):
        factor = 1 + land.growth[..., None] * (np.asarray(SEASONS[season]) - 1)
        lit = cast_shadows(land, math.pi * (0.2 + 0.3 * sun), rng.uniform(0.5, 1.2))
        light = 1 - rng.choice([0.15, 0.5], p=[0.2, 0.8]) * (1 - lit[..., None])
        image = land.colour * factor * light * rng.uniform(0.85, 1.2)
        image += rng.uniform(0, 0.25) * (np.array([210, 218, 228]) - image)
        images.append(take_photo(rng, image.astype(np.float32)))
    return images


def cast_shadows(land: Land, azimuth: float, length: float) -> Plane:
    """1 in the sun, 0 in shade; a shadow is `length` metres long per metre of height and falls in
    the direction `azimuth`.
    """
    roof, shape = land.height.copy(), land.ids.shape
    for step in range(1, math.ceil(float(land.height.max()) * length * land.scale) + 1):
        shift = np.array([[1, 0, step * math.cos(azimuth)], [0, 1, step * math.sin(azimuth)]])
        fall = np.float32(step / (length * land.scale))
        above = cv2.warpAffine(land.height, shift, shape[::-1], flags=cv2.INTER_NEAREST)
        np.maximum(roof, above - fall, out=roof)
    lit = (roof - land.height < 0.25).astype(np.float32)
    return cv2.GaussianBlur(lit, (0, 0), 0.06 * land.scale + 0.3).astype(np.float32)
