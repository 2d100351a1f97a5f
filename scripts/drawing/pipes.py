"""Draw the inside of a pipe as an inspection camera sees it, with none to three things in it.

A place on the wall is an angle and a depth: 1 at the edge of the image, near 0 far down the pipe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.shapes import (
    Drawing,
    Image,
    Mask,
    Plane,
    Points,
    Shape,
    box,
    ellipse,
    fill,
    stroke,
    take_photo,
    texture,
    turned,
)

TRIES = 12  # places tried for a thing that must be visible and must not hide another
LEAST, MOST = 0.002, 0.4  # fraction of the image that a thing may cover
HOW_MANY = (0.08, 0.37, 0.35, 0.2)  # fraction of images with none, one, two and three things
# colour of the wall, and how dark its joints and bricks' seams are
WALLS = (((150, 148, 142), 0.3, 0.0), ((170, 110, 82), 0.5, 0.0), ((130, 160, 145), 0.6, 0.0),
         ((165, 115, 90), 0.2, 0.35), ((190, 188, 180), 0.5, 0.0))  # fmt: skip
BRIGHT = ((40, 90, 190), (215, 120, 30), (190, 40, 40), (225, 205, 60), (235, 235, 230))
Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are exclusive


@dataclass(frozen=True)
class Thing:
    """Something in the pipe and the pixels it covers."""

    kind: str
    mask: Mask

    @property
    def box(self) -> Box:
        """The smallest box around it."""
        ys, xs = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


@dataclass(frozen=True)
class PipeImage:
    """RGB, shape (height, width, 3), and the things in it, none of which hides another."""

    image: NDArray[np.uint8]
    things: tuple[Thing, ...]

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 on a thing, else 0, shape (height, width)."""
        masks = [thing.mask for thing in self.things]
        return np.any([np.zeros(self.image.shape[:2], np.bool_), *masks], axis=0).astype(np.uint8)


@dataclass(frozen=True)
class Pipe:
    """An empty pipe."""

    image: Image
    middle: Points  # where its axis meets the image
    half: Points  # the image's half width and height

    @property
    def shape(self) -> Shape:
        return self.image.shape[:2]

    def point(self, angle: float, depth: float) -> Points:
        """The pixel of a place on the wall."""
        return self.middle + self.half * depth * np.array([math.cos(angle), math.sin(angle)])


def draw_pipe_image(rng: Generator, height: int, width: int) -> PipeImage:
    """A pipe with none to three things in it, each of another kind."""
    pipe, things = draw_pipe(rng, (height, width)), list[Thing]()
    image = pipe.image.copy()
    count = rng.choice(len(HOW_MANY), p=HOW_MANY)
    for kind in rng.permutation(list(KINDS))[:count]:
        for _ in range(TRIES):
            mask, colours = KINDS[kind](rng, pipe)
            hidden = any((mask & other.mask).any() for other in things)
            if not hidden and LEAST <= mask.mean() <= MOST:
                image[mask] = colours[mask]
                things.append(Thing(str(kind), mask))
                break
    return PipeImage(take_photo(rng, image), tuple(things))


def draw_pipe(rng: Generator, shape: Shape) -> Pipe:
    """A wall with stains, joints and perhaps bricks, lit from the camera: dark far away."""
    half = np.array(shape[::-1]) / 2
    middle = half + rng.uniform(-0.15, 0.15, 2) * half
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    x, y = (columns - middle[0]) / half[0], (rows - middle[1]) / half[1]
    depth, angle = np.hypot(x, y) + 1e-3, np.arctan2(y, x)
    turns, rings = angle / (2 * math.pi), -np.log(depth)
    colour, joint, seam = WALLS[rng.integers(len(WALLS))]
    stains = sum(wall_noise(rng, turns, rings, cells) / 2 for cells in (6, 16, 40))
    shade = 1 + 0.12 * stains
    shade *= 1 - joint * ((rings * 1.1 + rng.uniform()) % 1 < 0.05)
    bricks = ((turns * 24 + np.floor(rings * 6) / 2) % 1 < 0.12) | (rings * 6 % 1 < 0.12)
    shade *= 1 - seam * bricks
    wet = np.exp(-(((angle - math.pi / 2) / rng.uniform(0.15, 0.5)) ** 2))
    shade *= 1 - 0.35 * wet * (rng.uniform() < 0.5)
    light = np.clip(depth / rng.uniform(0.7, 1.1), 0, 1) ** rng.uniform(0.7, 1.2)
    tinted = np.array(colour) * rng.uniform(0.85, 1.2) * rng.uniform(0.95, 1.05, 3)
    return Pipe((tinted * (shade * light)[..., None]).astype(np.float32), middle, half)


def wall_noise(rng: Generator, turns: Plane, rings: Plane, cells: int) -> Plane:
    """Noise that lies on the wall, with `cells` patches around the pipe."""
    tile = rng.normal(0, 1.3, (cells, cells)).astype(np.float32)
    # as wide as high: a step of 2 pi in the logarithm of the depth is as long as a turn
    across, along = turns * cells, rings * (cells / (2 * math.pi))
    across, along = (np.mod(part, cells).astype(np.float32) for part in (across, along))
    noise = cv2.remap(tile, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return noise.astype(np.float32)


def place(rng: Generator, pipe: Pipe, *, bottom: bool = False) -> tuple[float, Points, float]:
    """Angle and pixel of a place on the wall, and the size in pixels of what is 1 large there."""
    angle, depth = rng.uniform(0, 2 * math.pi), rng.uniform(0.45, 0.9)
    if bottom:
        angle = math.pi / 2 + rng.normal(0, 0.35)
    return angle, pipe.point(angle, depth), 1.3 * depth * float(pipe.half.min())


def draw_root(rng: Generator, pipe: Pipe) -> Drawing:
    """A tuft of thin crooked roots that hang from the wall."""
    angle, start, scale = place(rng, pipe)
    mask = np.zeros(pipe.shape, np.bool_)
    for _ in range(rng.integers(5, 12)):
        way = angle + math.pi + np.cumsum(rng.normal(0, 0.45, 7)) + rng.normal(0, 0.5)
        steps = scale * rng.uniform(0.06, 0.14) * np.stack([np.cos(way), np.sin(way)], axis=1)
        begin = start + rng.normal(0, 0.06, 2) * scale
        mask |= stroke(pipe.shape, begin + np.cumsum(steps, axis=0), 0.015 * scale)
    colour = np.array([(96, 66, 40), (170, 140, 96)][rng.integers(2)]) * rng.uniform(0.85, 1.15)
    return mask, texture(rng, pipe.shape, colour, 2, 0.2)


def draw_crack(rng: Generator, pipe: Pipe) -> Drawing:
    """A thin black jagged line along or around the wall."""
    angle, start, scale = place(rng, pipe)
    way = angle + rng.choice([0, math.pi / 2]) + np.cumsum(rng.normal(0, 0.5, 9))
    steps = scale * 0.12 * np.stack([np.cos(way), np.sin(way)], axis=1)
    path = start + np.cumsum(steps, axis=0) - steps.sum(axis=0) / 2
    mask = stroke(pipe.shape, path, 0.025 * scale)
    fork = np.stack([path[4], path[4] + turned(steps[4], 1.2) * 2])
    mask |= stroke(pipe.shape, fork, 0.015 * scale)
    return mask, pipe.image * 0.15


def draw_deposit(rng: Generator, pipe: Pipe) -> Drawing:
    """A pale rough crust on the floor."""
    _, middle, scale = place(rng, pipe, bottom=True)
    half = rng.uniform(0.25, 0.55) * scale, rng.uniform(0.1, 0.2) * scale
    outline = ellipse(middle, half, rng.normal(0, 0.2), wobble=rng.normal(0, 0.08, 24))
    colour = np.array([208, 196, 164]) * rng.uniform(0.85, 1.15)
    return fill(pipe.shape, outline), texture(rng, pipe.shape, colour, 3, 0.18)


def draw_obstacle(rng: Generator, pipe: Pipe) -> Drawing:
    """A smooth brightly coloured box or ball on the floor."""
    _, middle, scale = place(rng, pipe, bottom=True)
    half, turn = tuple(rng.uniform(0.14, 0.28, 2) * scale), rng.uniform(-0.4, 0.4)
    outline = (box if rng.uniform() < 0.5 else ellipse)(middle, half, turn)
    mask = fill(pipe.shape, outline)
    light = 1.2 - 0.5 * np.linspace(0, 1, pipe.shape[0])[:, None, None]
    colours = np.array(BRIGHT[rng.integers(len(BRIGHT))]) * light * np.ones((1, pipe.shape[1], 1))
    return mask, colours.astype(np.float32)


def draw_lateral(rng: Generator, pipe: Pipe) -> Drawing:
    """The black round opening of another pipe, with a pale rim."""
    angle, middle, scale = place(rng, pipe)
    half = np.array([rng.uniform(0.12, 0.2), rng.uniform(0.2, 0.3)]) * scale
    colours = np.full((*pipe.shape, 3), 12, np.float32)
    whole = fill(pipe.shape, ellipse(middle, tuple(half), angle))
    inner = fill(pipe.shape, ellipse(middle, tuple(0.8 * half), angle))
    colours[whole & ~inner] = (205, 200, 190)
    return whole, colours


def draw_broken(rng: Generator, pipe: Pipe) -> Drawing:
    """A jagged hole in the wall through which reddish soil is seen."""
    angle, middle, scale = place(rng, pipe)
    half = rng.uniform(0.15, 0.25) * scale, rng.uniform(0.2, 0.35) * scale
    outline = ellipse(middle, half, angle, wobble=rng.uniform(-0.45, 0.25, 24))
    soil = np.array([105, 58, 34]) * rng.uniform(0.8, 1.2)
    colours = texture(rng, pipe.shape, soil, 4, 0.35)
    mask = fill(pipe.shape, outline)
    core = fill(pipe.shape, (outline - middle) * 0.5 + middle)
    colours[core] *= 0.4
    return mask, colours


KINDS = {
    "root": draw_root,
    "crack": draw_crack,
    "deposit": draw_deposit,
    "obstacle": draw_obstacle,
    "lateral": draw_lateral,
    "broken": draw_broken,
}
