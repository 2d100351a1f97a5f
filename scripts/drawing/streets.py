"""Draw ways on land and the cars that stand on them.

A frame is a point and a direction, (x, y, turn): a street runs along it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.land import GROUND, Land, draw_car, textured

Frame = tuple[float, float, float]


def at(frame: Frame, along: float, aside: float) -> tuple[float, float]:
    """Where a point of the frame lies on the land."""
    x, y, turn = frame
    cos, sin = math.cos(turn), math.sin(turn)
    return x + along * cos - aside * sin, y + along * sin + aside * cos


def pave(rng: Generator, land: Land, inside: NDArray[np.bool_]) -> None:
    """Concrete or slabs on the open ground; things may stand on it."""
    grey = rng.uniform(0.45, 0.68)
    stains = 0.04 * land.lumps, 0.05 * land.grain, 0.04 * land.patches
    land.put(inside, GROUND, textured((grey, grey * 0.98, grey * 0.93), *stains), keep_free=False)


def draw_streets(
    rng: Generator, land: Land, streets: list[Frame], width: float, *, pavement: float
) -> None:
    """Asphalt with kerbs, marks and pavements, crossing where there are two streets."""
    grey = rng.uniform(0.3, 0.55)
    asphalt = (grey, grey * 1.01, grey * 1.03)
    across = [np.abs(land.turned(*street)[1]) - width / 2 for street in streets]
    aside = np.min(across, axis=0)
    slabs = textured((0.58, 0.57, 0.54), 0.05 * land.grain, 0.04 * land.lumps)
    land.put(aside < pavement, GROUND, slabs)
    kerb = (0.62, 0.62, 0.6) if rng.uniform() < 0.7 else (0.6, 0.34, 0.3)
    land.put((aside >= 0) & (aside < 0.2), GROUND, kerb, 0.05)
    worn = 0.05 * land.grain, 0.03 * land.lumps, 0.04 * land.patches
    land.put(aside < 0, GROUND, textured(asphalt, *worn), 0.05)
    if rng.uniform() < 0.6:
        for street, other in zip(streets, [*across[1:], *across[:1]], strict=True):
            u, v = land.turned(*street)
            dash = (np.abs(v) < 0.09) & (u % 5 < 2.6)
            if len(streets) > 1:
                dash &= other > 1.5
            land.put(dash, GROUND, (0.8, 0.8, 0.78), 0.05)


def draw_track(rng: Generator, land: Land, turn: float, half: float) -> None:
    """A winding track of bare earth, often two ruts with grass between."""
    x, y = rng.uniform(-0.4, 0.4, 2) * half
    u, v = land.turned(x, y, turn)
    wave, phase = rng.uniform(0.05, 0.2), rng.uniform(0, 2 * math.pi)
    away = np.abs(v - wave * half * np.sin(u * (2 / half) + phase)) + 0.15 * land.lumps
    width = rng.uniform(1.1, 1.9)
    bare = away < width + 0.2 * land.grain
    if rng.uniform() < 0.6:
        bare &= away > 0.35
    earth = np.array([0.6, 0.54, 0.45]) * rng.uniform(0.85, 1.15)
    land.put(bare, GROUND, textured(earth, 0.08 * land.grain, 0.05 * land.lumps), 0.0)


def draw_car_park(rng: Generator, land: Land, street: Frame, aside: float, half: float) -> None:
    """Two rows of bays beside the street, their middle `aside` of it, partly taken."""
    along, length = rng.uniform(-0.4, 0.4) * half, 2.5 * rng.integers(3, 8)
    u, v = land.turned(*street)
    u, v = u - np.float32(along), v - np.float32(aside)
    grey = rng.uniform(0.35, 0.55)
    worn = 0.05 * land.grain, 0.04 * land.lumps, 0.04 * land.patches
    land.put((np.abs(u) < length) & (np.abs(v) < 9), GROUND, textured([grey] * 3, *worn), 0.0)
    lines = (np.abs(u % 2.5) < 0.12) & (np.abs(v) > 3.5) & (np.abs(v) < 8.5)
    land.put(lines & (np.abs(u) < length), GROUND, (0.78, 0.78, 0.76), 0.0)
    full = rng.uniform(0.2, 0.8)
    for bay in np.arange(-length + 1.25, length, 2.5):
        for row in (-6, 6):
            if rng.uniform() < full:
                x, y = at(street, along + bay, aside + row + rng.normal(0, 0.2))
                draw_car(rng, land, x, y, street[2] + math.pi / 2 + rng.normal(0, 0.03))


def park_cars(
    rng: Generator, land: Land, street: Frame, aside: float, half: float, *, share: float
) -> None:
    """Cars along both sides of the street in a share of the places."""
    for along in np.arange(-1.3 * half, 1.3 * half, 6):
        for sign in (-1, 1):
            x, y = at(street, along + rng.uniform(-0.4, 0.4), sign * aside)
            if rng.uniform() < share and abs(along) > aside + 3:
                draw_car(rng, land, x, y, street[2] + rng.normal(0, 0.02))
