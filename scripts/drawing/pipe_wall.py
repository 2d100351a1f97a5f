"""Paint the wall of a pipe: brick, concrete, clay or plastic, its joints, stains and water."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.pipe import (
    Hits,
    Lamp,
    Map,
    View,
    cast,
    choose_lamp,
    choose_view,
    fractal,
    wrapped,
)

Material = Literal["brick", "concrete", "clay", "plastic", "ribbed"]
MATERIALS: tuple[Material, ...] = ("brick", "concrete", "clay", "plastic", "ribbed")
SHARES = (0.22, 0.34, 0.18, 0.16, 0.1)
COLOURS = {
    "brick": ((0.42, 0.22, 0.14), (0.5, 0.33, 0.22), (0.36, 0.28, 0.22)),
    "concrete": ((0.5, 0.48, 0.42), (0.4, 0.38, 0.34), (0.48, 0.43, 0.33)),
    "clay": ((0.32, 0.16, 0.09), (0.4, 0.24, 0.14), (0.26, 0.17, 0.12)),
    "plastic": ((0.62, 0.3, 0.1), (0.45, 0.47, 0.5), (0.65, 0.64, 0.6), (0.2, 0.38, 0.26)),
    "ribbed": ((0.55, 0.27, 0.1), (0.16, 0.17, 0.2), (0.5, 0.52, 0.55)),
}


@dataclass(frozen=True)
class Pipe:
    """A pipe before it is drawn."""

    material: Material
    colour: Map  # (3,), albedo
    joint: float | None  # of the first joint, along the pipe
    spacing: float  # of joints
    level: float | None  # of the water, downwards from the axis
    murk: Map  # (3,), albedo of the water


@dataclass(frozen=True)
class Scene:
    """An empty pipe as seen; `canvas` is drawn upon."""

    view: View
    lamp: Lamp
    pipe: Pipe
    hits: Hits
    canvas: Map  # (H, W, 3)

    def light_at(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Brightness of the lamp at points in space, shape (N,)."""
        seen = (points - self.view.eye) @ self.view.turn
        aside = np.hypot(seen[:, 0], seen[:, 1]) / np.maximum(seen[:, 2], 0.05)
        distance = np.linalg.norm(seen, axis=1)
        return np.asarray(self.lamp.light(distance, aside), np.float64)


def choose_pipe(rng: Generator, view: View) -> Pipe:
    material = MATERIALS[rng.choice(len(MATERIALS), p=SHARES)]
    known = COLOURS[material]
    colour = np.array(known[rng.integers(len(known))]) * rng.uniform(0.8, 1.2)
    jointed = rng.uniform() < (0.25 if material == "brick" else 0.85)
    level = rng.uniform(0.62, 0.96) * view.oval if rng.uniform() < 0.7 else None
    murk = np.array([0.2, 0.17, 0.11]) * rng.uniform(0.2, 0.9) + rng.uniform(0, 0.03)
    return Pipe(
        material,
        (colour * rng.uniform(0.92, 1.08, 3)).astype(np.float32),
        rng.uniform(0.8, 3.2) if jointed else None,
        rng.uniform(2.2, 5.0),
        # never above the camera's lens
        None if level is None else max(level, float(view.eye[1]) + 0.25),
        murk.astype(np.float32),
    )


def draw_scene(rng: Generator, height: int, width: int) -> Scene:
    """An empty pipe on a canvas of the size."""
    view, lamp = choose_view(rng, height, width), choose_lamp(rng)
    pipe = choose_pipe(rng, view)
    ripples = cv2.resize(fractal(rng, 128, 1.0), (width, height)) * rng.uniform(0.01, 0.07)
    hits = cast(view, pipe.level, ripples)
    wall = paint_wall(rng, pipe, hits, level=1.0 if pipe.level is None else pipe.level / view.oval)
    aside = view.aside()
    lit = lamp.light(hits.distance, aside, hits.facing)[..., None]
    canvas = wall * lit * lamp.tint
    if pipe.level is not None:
        canvas = np.where(hits.water[..., None], _water(canvas, pipe, hits, aside, lamp), canvas)
    _open_end(rng, canvas, hits)
    haze = 1 - np.exp(-hits.distance[..., None] / 20)
    canvas = canvas + haze * rng.uniform(0, 0.004) * lamp.tint
    return Scene(view, lamp, pipe, hits, np.ascontiguousarray(canvas, np.float32))


def _water(mirrored: Map, pipe: Pipe, hits: Hits, aside: Map, lamp: Lamp) -> Map:
    """Murky water: more of a mirror the flatter it is looked at."""
    near = lamp.light(np.minimum(hits.distance, 0.8 * hits.z), aside)[..., None]
    mirror = np.clip(0.2 + hits.z[..., None] / 12, 0, 0.75)
    return mirror * mirrored + (1 - mirror) * near * pipe.murk


def _open_end(rng: Generator, canvas: Map, hits: Hits) -> None:
    """Daylight of the next manhole, in a few pipes."""
    if rng.uniform() < 0.07:
        end = rng.uniform(14, 30)
        bright = (np.clip((hits.z - end) * 2, 0, 1) * ~hits.water)[..., None]
        day = np.array([0.85, 0.95, 1.0], np.float32) * rng.uniform(0.05, 0.2)
        canvas += bright * (day - canvas)


def paint_wall(rng: Generator, pipe: Pipe, hits: Hits, *, level: float) -> Map:
    """Albedo of what every pixel shows of the wall; what was under water is dirty."""
    clouds = wrapped(fractal(rng, 256, 1.7), hits.angle, hits.z)
    grain = wrapped(fractal(rng, 512, 0.8), hits.angle, hits.z, turns=2)
    grain *= np.exp(-hits.distance / 9)  # what is far has none left
    painted = {
        "brick": _brick,
        "concrete": _concrete,
        "clay": _smooth,
        "plastic": _smooth,
        "ribbed": _ribbed,
    }[pipe.material]
    wall = painted(rng, pipe, hits, grain)
    wall *= 1 + rng.uniform(0.08, 0.2) * clouds[..., None]
    if pipe.joint is not None:
        _joints(rng, wall, pipe, hits)
    _stain(rng, wall, hits, clouds, grain, level)
    return np.clip(wall, 0.01, 1)


def _concrete(rng: Generator, pipe: Pipe, hits: Hits, grain: Map) -> Map:
    pits = np.clip(grain - rng.uniform(1.3, 2.2), 0, 1)
    rough = 1 + rng.uniform(0.05, 0.16) * grain - 0.5 * pits
    return pipe.colour * rough[..., None]


def _smooth(rng: Generator, pipe: Pipe, hits: Hits, grain: Map) -> Map:
    """Glazed clay or plastic: highlights run along the pipe."""
    shine = np.zeros_like(grain)
    for at in rng.uniform(-math.pi, math.pi, rng.integers(1, 4)):
        aside = np.abs(np.mod(hits.angle - at + math.pi, 2 * math.pi) - math.pi)
        shine += np.exp(-((aside / rng.uniform(0.03, 0.12)) ** 2)) * rng.uniform(0.1, 0.5)
    wall = pipe.colour * (1 + rng.uniform(0.02, 0.07) * grain)[..., None]
    return wall * (1 + shine[..., None]) + 0.06 * shine[..., None]


def _ribbed(rng: Generator, pipe: Pipe, hits: Hits, grain: Map) -> Map:
    rib = np.sin(hits.z * np.float32(2 * math.pi / rng.uniform(0.16, 0.3)))
    deep = rng.uniform(0.2, 0.45) * np.exp(-hits.distance / 5)
    return pipe.colour * (1 + deep * rib + 0.05 * grain)[..., None]


def _brick(rng: Generator, pipe: Pipe, hits: Hits, grain: Map) -> Map:
    """Courses along the pipe, each shifted by half a brick, every brick of its own shade."""
    courses = int(rng.integers(26, 44))
    width = 2 * math.pi / courses
    length = width * rng.uniform(2.2, 3.2)
    across = (hits.angle + math.pi) / width + 0.08 * grain
    course = np.floor(across)
    along = hits.z / length + 0.5 * (course % 2) + 0.03 * grain
    shades = rng.normal(1, 0.17, (64, 64)).astype(np.float32)
    shade = shades[course.astype(int) % 64, np.floor(along).astype(int) % 64]
    edge = np.minimum(
        np.minimum(across % 1, 1 - across % 1) * width,
        np.minimum(along % 1, 1 - along % 1) * length,
    )
    mortar = np.clip(1.5 - edge / rng.uniform(0.01, 0.02), 0, 1) * np.exp(-hits.distance / 8)
    bricks = pipe.colour * (shade * (1 + 0.12 * grain))[..., None]
    grey = np.array([0.4, 0.38, 0.33], np.float32) * rng.uniform(0.25, 1.3)
    return bricks + mortar[..., None] * (grey - bricks)


def _joints(rng: Generator, wall: Map, pipe: Pipe, hits: Hits) -> None:
    """A gap between two lengths of pipe, lit on its far side; each length has its own shade."""
    assert pipe.joint is not None
    after = (hits.z - pipe.joint) / pipe.spacing
    shades = rng.normal(1, 0.06, 64).astype(np.float32)
    wall *= shades[np.floor(after).astype(int) % 64][..., None]
    wobble = 0.01 * np.sin(2 * hits.angle + rng.uniform(0, 6))
    aside = (np.mod(after + 0.5, 1) - 0.5) * pipe.spacing + wobble
    half = rng.uniform(0.015, 0.04)
    gap = np.exp(-((aside / half) ** 4))
    lip = np.exp(-(((aside - 2 * half) / half) ** 2))
    wall *= (1 - rng.uniform(0.5, 0.85) * gap + rng.uniform(0.1, 0.6) * lip)[..., None]


def _stain(rng: Generator, wall: Map, hits: Hits, clouds: Map, grain: Map, level: float) -> None:
    """Dirt below an old waterline, runs of it down the wall, pale bloom here and there."""
    down = np.sin(hits.angle)
    line = rng.uniform(0.15, 0.9) * level
    low = np.clip((down - line + 0.05 * clouds) / rng.uniform(0.04, 0.3) + 0.5, 0, 1)
    dirt = np.array([0.2, 0.15, 0.09], np.float32) * rng.uniform(0.4, 1.3)
    share = (low * rng.uniform(0.2, 0.75))[..., None]
    wall += share * (dirt * (1 + 0.2 * grain[..., None]) - wall)
    from_bottom = np.arccos(np.clip(down, -1, 1))  # has no seam
    streaks = wrapped(fractal(rng, 256, 1.0), from_bottom / 24, hits.z, turns=3)
    fade = wrapped(fractal(rng, 128, 1.3), hits.angle, hits.z, turns=2)
    runs = np.clip(streaks + fade - rng.uniform(1.2, 2.4), 0, 1)
    tones = np.array(((0.12, 0.1, 0.08), (0.45, 0.22, 0.08), (0.7, 0.68, 0.6)), np.float32)
    tone = tones[rng.integers(3)]
    wall += (0.6 * runs)[..., None] * (tone - wall)
    bloom = np.clip(fade * 0.7 + 0.4 * grain - rng.uniform(1.0, 2.2), 0, 1)
    pale = np.array([0.6, 0.57, 0.5], np.float32)
    wall += (rng.uniform(0.2, 0.6) * bloom)[..., None] * (pale - wall)
