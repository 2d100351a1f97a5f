"""Choose places for things in a pipe, and find where they are seen."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.pipe import Map, Points, fractal, wrapped
from scripts.drawing.pipe_wall import Scene


def choose_place(
    rng: Generator, scene: Scene, *, near: float, far: float, upper: bool = False
) -> tuple[float, float]:
    """Angle and z of a place on the dry wall; with `upper` on its upper half."""
    z = float(rng.uniform(near**0.5, far**0.5) ** 2)
    while True:
        angle = rng.uniform(-math.pi, 0) if upper else rng.uniform(-math.pi, math.pi)
        if not below_water(scene, angle):
            return angle, z


def below_water(scene: Scene, angle: float) -> bool:
    """Whether the wall is under water at an angle, or nearly so."""
    level = scene.pipe.level
    return level is not None and math.sin(angle) * scene.view.oval > level - 0.1


def snap_to_joint(rng: Generator, scene: Scene, z: float) -> float:
    """The nearest joint to a place, which is where pipes break and roots come in."""
    first, spacing = scene.pipe.joint, scene.pipe.spacing
    if first is None or rng.uniform() < 0.3:
        return z
    joint = first + spacing * max(round((z - first) / spacing), 0)
    return joint if 0.9 < joint < 4.5 else z


def on_photo(scene: Scene, places: Points, inward: float | NDArray[np.float64] = 0.0) -> Points:
    """Pixels of places on the wall, or inward of it."""
    return scene.view.project(scene.view.on_wall(places, inward))[0]


def dry(scene: Scene) -> Map:
    """Where the wall is seen and not the water, shape (H, W)."""
    return (~scene.hits.water).astype(np.float32)


def screen_grain(rng: Generator, scene: Scene) -> Map:
    """Noise of the canvas' size."""
    ys, xs = np.mgrid[: scene.view.height, : scene.view.width].astype(np.float32)
    scale = np.float32(2 * math.pi / scene.view.width)
    return wrapped(fractal(rng, 256, 0.7), xs * scale, ys * scale)
