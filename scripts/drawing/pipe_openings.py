"""Draw what is in the wall of a pipe: cracks, other pipes that join, holes."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from scripts.drawing.pipe import Points
from scripts.drawing.pipe_places import (
    below_water,
    choose_place,
    dry,
    on_photo,
    screen_grain,
    snap_to_joint,
)
from scripts.drawing.pipe_solids import Colour, Layer, fill, stroke
from scripts.drawing.pipe_wall import Scene

THINNEST = 3.0  # pixels of the canvas that a crack is wide at least, or it could not be marked


def draw_crack(rng: Generator, scene: Scene, layer: Layer) -> None:
    """A crooked dark line along the pipe, around it or askew, with a branch or two."""
    angle, z = choose_place(rng, scene, near=1.2, far=2.8)
    course = rng.choice([0.0, 0.0, math.pi / 2, rng.uniform(0.3, 1.2)]) + rng.normal(0, 0.15)
    course += math.pi * rng.integers(2)
    wall = 0.1 * scene.canvas + 0.002 * scene.lamp.tint
    paths = [_crooked(rng, (angle, z), course, rng.uniform(0.9, 2.4))]
    for _ in range(rng.integers(0, 4)):
        begin = paths[0][rng.integers(3, len(paths[0]) - 3)]
        turn = course + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
        paths.append(_crooked(rng, begin, turn, rng.uniform(0.2, 0.6)))
    thick = rng.uniform(0.025, 0.065)
    for number, path in enumerate(paths):
        path = path[path[:, 1] > 0.7]
        if len(path) < 3:
            continue
        seen, depth = scene.view.project(scene.view.on_wall(path))
        taper = np.sin(np.linspace(0.25 if number == 0 else 1.5, math.pi - 0.25, len(path)))
        wide = thick * (1 if number == 0 else 0.6) * taper * rng.uniform(0.6, 1.2, len(path))
        stroke(layer, seen, np.maximum(wide * scene.view.focal / depth, THINNEST), wall)
    layer.cover[:] *= dry(scene)


def _crooked(
    rng: Generator, begin: tuple[float, float] | Points, course: float, length: float
) -> Points:
    """A line on the wall that changes its direction all the time, (N, 2)."""
    count = max(round(length / 0.05), 6)
    turns = course + 0.45 * rng.normal(size=count) + np.cumsum(rng.normal(0, 0.1, count))
    steps = length / count * np.stack([np.sin(turns), np.cos(turns)], axis=1)
    return np.asarray(begin) + np.cumsum(steps, axis=0)


def draw_lateral(rng: Generator, scene: Scene, layer: Layer) -> None:
    """Another pipe that joins: a hole into which light goes, or a stub that stands out."""
    angle, z = choose_place(rng, scene, near=1.7, far=3.2, upper=True)
    if rng.uniform() < 0.5:
        angle = rng.choice([-0.15, math.pi + 0.15]) + rng.normal(0, 0.2)
        if below_water(scene, angle - 0.3) or below_water(scene, angle + 0.3):
            angle = -math.pi / 2 + rng.normal(0, 0.5)
    middle, radius = np.array([angle, z]), rng.uniform(0.2, 0.42)
    around = np.linspace(0, 2 * math.pi, 64, endpoint=False)
    places = middle + radius * np.stack([np.cos(around), np.sin(around)], axis=1)
    own = np.array(((0.5, 0.26, 0.1), (0.42, 0.4, 0.36), (0.3, 0.16, 0.1)))[rng.integers(3)]
    own = own * rng.uniform(0.7, 1.2)
    mouth = 0.0
    if rng.uniform() < 0.4:  # the stub's outer side, from the wall to its mouth
        mouth = rng.uniform(0.08, 0.3)
        for inward in np.linspace(0, mouth, 16):
            _ring(scene, layer, places, angle, inward, own * (0.45 + 0.5 * inward / mouth))
    rim = middle + (places - middle) * rng.uniform(1.06, 1.16)
    _ring(scene, layer, rim, angle, mouth, own * rng.uniform(0.9, 1.5))
    hole = np.zeros_like(layer.cover)
    opening = Layer(np.zeros_like(layer.colour), hole)
    fill(opening, _shifted(scene, places, angle, mouth), np.zeros(3))
    slant = rng.choice([0.0, 0.0, rng.uniform(0.2, 0.7)])
    light = float(scene.light_at(scene.view.on_wall(middle[None]))[0])
    inside = 0.55 * light * own * scene.lamp.tint
    for deep in np.linspace(0, 1.6, 40):
        moved = places + np.array([0, slant * deep])
        outline = _shifted(scene, moved, angle, mouth - deep)
        fill(layer, outline, inside * math.exp(-5.5 * deep), hole)
    if not mouth:
        layer.cover[:] *= dry(scene)


def _shifted(scene: Scene, places: Points, angle: float, inward: float) -> Points:
    """Pixels of an outline on the wall that is moved inward as a whole."""
    course = np.array([math.cos(angle), scene.view.oval * math.sin(angle), 0])
    points = scene.view.on_wall(places) - inward * course / np.linalg.norm(course)
    return scene.view.project(points)[0]


def _ring(
    scene: Scene, layer: Layer, places: Points, angle: float, inward: float, tone: Colour
) -> None:
    light = float(scene.light_at(scene.view.on_wall(places.mean(axis=0)[None], inward))[0])
    fill(layer, _shifted(scene, places, angle, inward), tone * light * scene.lamp.tint)


def draw_broken(rng: Generator, scene: Scene, layer: Layer) -> None:
    """A hole with jagged edges: the wall's thickness, and soil behind it."""
    angle, z = choose_place(rng, scene, near=1.4, far=2.9)
    z = snap_to_joint(rng, scene, z)
    count = int(rng.integers(9, 16))
    around = np.sort(rng.uniform(0, 2 * math.pi, count))
    out = rng.uniform(0.5, 1.2, count)
    wide, long = rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.5)
    places = np.stack([wide * out * np.cos(around), long * out * np.sin(around)], axis=1)
    places = np.array([angle, z]) + _finely(rng, places)
    hole = np.zeros_like(layer.cover)
    opening = Layer(np.zeros_like(layer.colour), hole)
    fill(opening, on_photo(scene, places), np.zeros(3))
    light = float(scene.light_at(scene.view.on_wall(places.mean(axis=0)[None]))[0])
    edge = np.minimum(scene.pipe.colour * rng.uniform(0.7, 1.3), 0.7) * light * scene.lamp.tint
    fill(layer, on_photo(scene, places), edge)
    soil = np.array([0.16, 0.1, 0.055]) * rng.uniform(0.2, 1.4)
    rough = np.clip(1 + 0.45 * screen_grain(rng, scene), 0.1, 2)[..., None]
    thick = rng.uniform(0.015, 0.05)
    for deep, dark in ((thick, 0.9), (thick + 0.06, 0.5), (thick + 0.15, 0.25)):
        colour = (dark * soil * light * scene.lamp.tint * rough).astype(np.float32)
        fill(layer, _shifted(scene, places, angle, -deep), colour, hole)
    layer.cover[:] *= dry(scene)


def _finely(rng: Generator, corners: Points) -> Points:
    """The outline with small teeth between its corners."""
    shares = np.array([0.0, 0.35, 0.7])[None, :, None]
    after = np.roll(corners, -1, axis=0)
    points = (corners[:, None] * (1 - shares) + after[:, None] * shares).reshape(-1, 2)
    return points + rng.normal(0, 0.012, points.shape)
