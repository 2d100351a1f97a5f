"""Put a photo of the inside of a pipe together: an empty pipe, things in it, a camera's faults."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.pipe import finish_photo, write_caption
from scripts.drawing.pipe_things import KINDS, draw_thing
from scripts.drawing.pipe_wall import draw_scene

FINER = 2  # times finer than the photo is what is drawn
TRIES = 12  # places for a thing that must be seen and must not hide another
LEAST, MOST = 0.003, 0.4  # shares of the photo that a thing may cover
HOW_MANY = (0.08, 0.37, 0.35, 0.2)  # shares of photos with none, one, two and three things

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are not in it


@dataclass(frozen=True)
class Thing:
    """Something in the pipe, where it is seen."""

    kind: str
    mask: NDArray[np.bool_]  # (H, W)

    @property
    def box(self) -> Box:
        """The smallest box around it."""
        ys, xs = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(xs[0]), int(ys[0]), int(xs[-1]) + 1, int(ys[-1]) + 1


@dataclass(frozen=True)
class Photo:
    """A photo and what is on it."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB
    things: tuple[Thing, ...]  # none hides another
    quality: int  # of its JPEG

    @property
    def mask(self) -> NDArray[np.uint8]:
        """1 where there is a thing, else 0, shape (H, W)."""
        found = np.zeros(self.image.shape[:2], np.uint8)
        for thing in self.things:
            found[thing.mask] = 1
        return found


def draw_pipe_photo(rng: Generator, height: int, width: int) -> Photo:
    """A photo of a pipe with none to three things in it, each of another kind."""
    scene = draw_scene(rng, height * FINER, width * FINER)
    things: list[Thing] = []
    count = rng.choice(len(HOW_MANY), p=HOW_MANY)
    for kind in rng.permutation(KINDS)[:count]:
        for _ in range(TRIES):
            layer = draw_thing(rng, scene, str(kind))
            mask = visible(layer.cover, height, width)
            hidden = any((mask & other.mask).any() for other in things)
            if not hidden and LEAST <= mask.mean() <= MOST:
                scene.canvas[:] += layer.cover[..., None] * (layer.colour - scene.canvas)
                things.append(Thing(str(kind), mask))
                break
    image = finish_photo(rng, scene.canvas, height, width)
    if rng.uniform() < 0.4:
        write_caption(rng, image)
    return Photo(image, tuple(things), int(rng.integers(60, 92)))


def visible(cover: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    """Which pixels of the photo a layer covers; gaps of two pixels, between roots, are closed."""
    share = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)
    covered = (share >= 0.45).astype(np.uint8)
    return cv2.morphologyEx(covered, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)) == 1
