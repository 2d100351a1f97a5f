"""Draw where pets are: a floor, what rises behind it, and things that lie about.

Photos are float32 RGB, shape (H, W, 3), 0 to 255; lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.balls import Array, Limb, View, cast_shadow, light, see, solid_noise
from scripts.drawing.fur import draw_hair, lay_over, layer_of
from scripts.drawing.pet import BLACK, BROWN, CREAM, GINGER, GREY, RUSSET, TAN, WHITE

Floor = Literal["grass", "leaves", "sand", "carpet", "rug", "wood", "tiles", "seat"]
OUTDOORS: tuple[Floor, ...] = ("grass", "leaves", "sand")
INDOORS: tuple[Floor, ...] = ("carpet", "rug", "wood", "tiles")
# what floors, walls and cushions are made of has the colours of fur too
CLOTHS = (GINGER, CREAM, WHITE, BLACK, GREY, BROWN, TAN, RUSSET,
          (74, 96, 130), (120, 60, 66), (96, 112, 84), (60, 66, 84), (196, 178, 120))  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A photo without a pet, and where one can be."""

    photo: Array
    front: float  # row not far from the lower edge, in which a pet can stand
    lamp: NDArray[np.float64]  # where the light comes from


def draw_place(rng: Generator, height: int, width: int) -> Place:
    """A place of some kind, lit from above."""
    horizon = height * rng.uniform(0.1, 0.5)
    kind, cover = rng.choice(["outdoors", "indoors", "sofa"], p=[0.4, 0.4, 0.2]), cloth(rng)
    if kind == "outdoors":
        floor: Floor = rng.choice(OUTDOORS)
        photo = _behind_outdoors(rng, height, width)
    elif kind == "indoors":
        floor = rng.choice(INDOORS)
        photo = _wall(rng, height, width, horizon)
    else:
        floor, horizon = "seat", height * rng.uniform(0.4, 0.6)
        photo = _sofa_back(rng, height, width, horizon, cover)
    top = int(horizon)
    same = kind == "sofa" and rng.uniform() < 0.7
    photo[top:] = draw_floor(rng, floor, height - top, width, cover if same else cloth(rng))
    if kind == "indoors":
        photo[max(top - height // 40, 0) : top] = rng.uniform(60, 235)  # a skirting board
    shade = np.linspace(-1, 1, height)[:, None] * rng.normal(0, 0.08)
    shade = shade + np.linspace(-1, 1, width) * rng.normal(0, 0.12)
    photo *= (1 + shade)[..., None].astype(np.float32)
    front = height * rng.uniform(0.8, 0.97)
    lamp = np.array([rng.uniform(-0.7, 0.7), -0.9, rng.uniform(0.3, 0.8)])
    for _ in range(rng.integers(0, 4)):
        x, y = rng.uniform(0, width), rng.uniform(horizon, height)
        draw_thing(rng, photo, x, y, height * rng.uniform(0.12, 0.4), lamp)
    return Place(photo, front, lamp)


def smooth_noise(rng: Generator, height: int, width: int, size: float) -> Array:
    """Noise about 0 with a spread near 1 whose patches are about `size` pixels wide."""
    rows, columns = (int(np.clip(side / size, 2, side)) for side in (height, width))
    coarse = rng.normal(0, 1.3, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def cloth(rng: Generator) -> NDArray[np.float64]:
    """A colour of fabric, paper or paint."""
    return np.clip(np.array(CLOTHS[rng.integers(len(CLOTHS))]) * rng.uniform(0.85, 1.15, 3), 8, 245)


def draw_floor(
    rng: Generator, floor: Floor, height: int, width: int, colour: NDArray[np.float64]
) -> Array:
    """A floor seen from above its front edge, of that colour where it has one of its choice."""
    near = np.linspace(0.25, 1, height, dtype=np.float32)[:, None]
    if floor in ("wood", "tiles"):
        return _laid_floor(rng, floor, height, width, colour)
    if floor == "grass":
        base = np.array([96, 118, 58]) * rng.uniform(0.6, 1.2, 3)
        tint = np.array([30, 14, 2])
    elif floor == "leaves":
        base, tint = np.array([140, 92, 52]) * rng.uniform(0.6, 1.2), np.array([14, 9, 3])
    elif floor == "sand":
        base, tint = np.array([196, 176, 142]) * rng.uniform(0.8, 1.15), np.array([12, 12, 12])
    else:
        base, tint = colour, np.array([8, 8, 8])
    mottled = smooth_noise(rng, height, width, width / 6)[..., None]
    photo = (base + tint * mottled + np.zeros((height, width, 3))).astype(np.float32)
    if floor == "rug":
        photo = _pattern(rng, photo)
    if floor == "seat":
        return _weave(rng, photo)
    size = {"grass": 16.0, "leaves": 9.0, "sand": 2.0}.get(floor, rng.uniform(3, 12))
    draw_strokes(
        rng, photo, near, size * width / 500, upright=floor == "grass", wild=floor == "leaves"
    )
    return photo


def draw_strokes(
    rng: Generator, photo: Array, near: Array, length: float, *, upright: bool, wild: bool
) -> None:
    """Blades, tufts or leaves all over, longer where `near`, shape (H, 1), is 1."""
    height, width = photo.shape[:2]
    count = int(height * width * 0.35)
    x, y = rng.uniform(0, width, count), np.sort(rng.uniform(0, height, count))
    angle = rng.normal(-np.pi / 2, 0.4, count) if upright else rng.uniform(0, 2 * np.pi, count)
    reach = length * near[y.astype(int), 0] * rng.uniform(0.4, 1.2, count)
    tones = photo[y.astype(int), x.astype(int)] * (1 + rng.normal(0, 0.16, (count, 1)))
    if wild:
        tones *= rng.uniform(0.7, 1.3, (count, 3))
    canvas = np.clip(photo, 0, 255).astype(np.uint8)
    starts = np.rint(np.column_stack([x, y]) * 16).astype(int).tolist()
    way = np.column_stack([np.cos(angle), np.sin(angle)]) * reach[:, None]
    ends = np.rint(np.column_stack([x, y]) * 16 + way * 16).astype(int).tolist()
    thick = 2 if wild else 1
    for start, end, tone in zip(starts, ends, np.clip(tones, 0, 255).tolist(), strict=True):
        cv2.line(canvas, start, end, tone, thick, cv2.LINE_AA, 4)
    photo[:] = canvas


def _laid_floor(
    rng: Generator, floor: Floor, height: int, width: int, colour: NDArray[np.float64]
) -> Array:
    """Boards or tiles that run to a point far behind."""
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    away = 1 / (0.35 + rows)
    columns = (np.linspace(-0.5, 0.5, width, dtype=np.float32) + rng.uniform(-0.2, 0.2)) * away
    many = rng.uniform(5, 12)
    across, along = columns * many, away * many * (0.25 if floor == "wood" else 1.0)
    along = along + np.zeros_like(across)
    base = colour if floor == "tiles" else np.array([150, 104, 66]) * rng.uniform(0.5, 1.3)
    tones = rng.normal(1, 0.1, (64, 64))
    if floor == "wood":
        along = along + tones[0, np.floor(across).astype(int) % 64] * 7
    tone = tones[np.floor(across).astype(int) % 64, np.floor(along).astype(int) % 64]
    gap = np.minimum(np.abs(across - np.rint(across)), np.abs(along - np.rint(along))) < 0.03
    grain = smooth_noise(rng, height, width, 3) * 0.03 + smooth_noise(rng, height, width, 40) * 0.04
    return ((tone + grain) * np.where(gap, 0.6, 1))[..., None].astype(np.float32) * base.astype(
        np.float32
    )


def _pattern(rng: Generator, photo: Array) -> Array:
    """Stripes or a chequer of a second cloth."""
    height, width = photo.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    turn, size = rng.uniform(0, np.pi), width / rng.uniform(6, 20)
    first = np.sin((columns * np.cos(turn) + rows * np.sin(turn) * 1.6) * 2 * np.pi / size)
    second = np.sin((rows * np.cos(turn) * 1.6 - columns * np.sin(turn)) * 2 * np.pi / size)
    marks = (first * (second if rng.uniform() < 0.5 else 1) > rng.uniform(-0.3, 0.6))[..., None]
    return np.where(marks, photo * 0.35 + cloth(rng) * 0.65, photo).astype(np.float32)


def _weave(rng: Generator, photo: Array) -> Array:
    height, width = photo.shape[:2]
    if rng.uniform() < 0.35:
        photo = _pattern(rng, photo)
    threads = rng.normal(0, 0.05, (height, 1)) + rng.normal(0, 0.05, (1, width))
    threads = threads + rng.normal(0, 0.04, (height, width))
    folds = 0.07 * smooth_noise(rng, height, width, width / 4)
    return (photo * (1 + threads + folds)[..., None]).astype(np.float32)


def _behind_outdoors(rng: Generator, height: int, width: int) -> Array:
    """Sky, bushes or a fence, out of focus."""
    photo = np.empty((height, width, 3), np.float32)
    photo[:] = np.array([170, 195, 220]) * rng.uniform(0.8, 1.1)
    kind = rng.choice(["bushes", "fence", "sky"])
    if kind == "bushes":
        green = np.array([70, 92, 50]) * rng.uniform(0.5, 1.3, 3)
        lumps = smooth_noise(rng, height, width, width / 25) + smooth_noise(
            rng, height, width, width / 7
        )
        photo[:] = np.clip(green * (1 + 0.3 * lumps[..., None]), 5, 250)
    elif kind == "fence":
        boards = int(rng.integers(8, 20))
        tone = np.repeat(rng.normal(1, 0.12, boards), width // boards + 1)[:width]
        gap = (np.arange(width) % (width // boards + 1)) < 2
        photo[:] = (cloth(rng) * (tone * np.where(gap, 0.4, 1))[:, None])[None]
    photo = cv2.GaussianBlur(photo, (0, 0), width / rng.uniform(80, 400) + 0.3)
    return (photo * (1 + 0.02 * rng.normal(0, 1, (height, width, 1)))).astype(np.float32)


def _wall(rng: Generator, height: int, width: int, horizon: float) -> Array:
    photo = np.empty((height, width, 3), np.float32)
    photo[:] = cloth(rng) * 0.5 + 100
    if rng.uniform() < 0.3:
        photo = photo * 0.6 + 0.4 * _pattern(rng, photo)
    for _ in range(rng.integers(0, 4)):  # furniture, doors, pictures
        left, wide = rng.uniform(-0.1, 0.9) * width, rng.uniform(0.1, 0.4) * width
        top = rng.uniform(-0.3, 0.8) * horizon
        bottom = horizon if rng.uniform() < 0.6 else rng.uniform(top, horizon)
        corners = [(int(left), int(top)), (int(left + wide), int(bottom))]
        cv2.rectangle(photo, *corners, cloth(rng).tolist(), -1)
        cv2.rectangle(photo, *corners, (cloth(rng) * 0.6).tolist(), max(width // 150, 1))
    return cv2.GaussianBlur(photo, (0, 0), width / rng.uniform(150, 600) + 0.3)


def _sofa_back(
    rng: Generator, height: int, width: int, horizon: float, colour: NDArray[np.float64]
) -> Array:
    photo = np.empty((height, width, 3), np.float32)
    photo[:] = cloth(rng) * 0.5 + 100
    top = int(horizon * rng.uniform(0, 0.4))
    back = np.empty((height - top, width, 3), np.float32)
    back[:] = colour
    back = _weave(rng, back)
    seams = np.abs(np.arange(width) - width * rng.uniform(0.2, 0.8)) / width
    back *= (1 - 0.5 * np.exp(-((seams / 0.012) ** 2)))[None, :, None].astype(np.float32)
    fall = np.linspace(0, 1, len(back))[:, None, None]
    photo[top:] = back * (1.1 - 0.35 * fall).astype(np.float32)
    for _ in range(rng.integers(0, 3)):
        x = rng.uniform(0, width)
        lamp = np.array([rng.uniform(-0.7, 0.7), -0.8, 0.6])
        draw_thing(rng, photo, x, horizon, height * rng.uniform(0.25, 0.45), lamp)
    return photo


def draw_thing(
    rng: Generator, photo: Array, x: float, y: float, size: float, lamp: NDArray[np.float64]
) -> None:
    """Paint a cushion, a ball, a bolster or a plush heap, as round as a pet and some as furry, over
    the photo, in place; it lies at `x` and `y` and is about `size` wide.
    """
    height, width = photo.shape[:2]
    radii = rng.uniform(0.12, 0.3, rng.integers(1, 5))
    knots = np.column_stack([rng.uniform(-0.5, 0.5, len(radii)), -radii, 0 * radii])
    view = View(x, y, size, nod=0.2)
    surface = see([Limb(knots, radii, "cloth")], view, height, width)
    colours = np.empty_like(photo)
    colours[:] = cloth(rng)
    if rng.uniform() < 0.5:
        marks = solid_noise(rng, surface.place, rng.uniform(0.2, 0.7)) > rng.uniform(-0.3, 0.8)
        colours[marks] = cloth(rng)
    colours *= light(surface, lamp, size)[..., None]
    colours *= 1 + 0.05 * rng.normal(0, 1, (height, width, 1))
    cast_shadow(photo, x, y, size * 0.5)
    layer = layer_of(colours, surface)
    if rng.uniform() < 0.4:
        hair = np.full((height, width), rng.uniform(0.03, 0.15) * size)
        draw_hair(rng, layer, surface, colours, hair, surface.limb >= 0)
    lay_over(photo, layer)
