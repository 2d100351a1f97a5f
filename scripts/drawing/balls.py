"""Draw bodies made of balls: limbs, heads, cushions, as a camera sees them under one lamp.

A body has a space of its own, x to its front, y down, z to its side, in any unit. The camera's
space is x to the right, y down, z towards the camera, in pixels. Angles are in radians.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Array = NDArray[np.float32]
Points = NDArray[np.float64]  # (n, 3)
STEP = 0.25  # of a ball's radius: the way to the next ball of its limb


@dataclass(frozen=True)
class Limb:
    """Balls along a smooth curve through `points`."""

    points: Points
    radii: NDArray[np.float64]  # at the points
    stuff: str  # what it is made of, by which it is coloured


@dataclass(frozen=True)
class View:
    """Where a body's origin is on the photo and how the body stands to the camera."""

    x: float
    y: float
    scale: float  # pixels a unit of the body
    turn: float = 0.0  # 0: its front to the right, pi / 2: to the camera
    nod: float = 0.0  # how steeply the camera looks down

    @property
    def axes(self) -> Points:
        """Takes a body's space to the camera's, shape (3, 3); its inverse is its transpose."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        cos, sin = np.cos(self.nod), np.sin(self.nod)
        return np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]]) @ turn


@dataclass(frozen=True)
class Surface:
    """What of a body the camera sees, each of shape (H, W) or (H, W, n)."""

    cover: Array  # 0 to 1: how much of a pixel the body takes
    depth: Array  # pixels towards the camera; far behind where the body is not
    normal: Array  # in the camera's space
    place: Array  # in the body's space
    flow: Array  # along the limb, x and y on the photo
    limb: NDArray[np.int64]  # -1: none


FAR = np.float32(-1e4)


def see(limbs: Sequence[Limb], view: View, height: int, width: int) -> Surface:
    """The surface of the limbs, nearer ones in front of others."""
    middles, radii, ways, limb_of = _balls_of(limbs, view)
    depth = np.full((height, width), FAR, np.float32)
    cover = np.zeros((height, width), np.float32)
    ball = np.full((height, width), -1)
    rows, columns = np.ogrid[:height, :width]
    for number, ((x, y, z), radius) in enumerate(zip(middles, radii, strict=True)):
        top, bottom = max(int(y - radius) - 1, 0), min(int(y + radius) + 2, height)
        left, right = max(int(x - radius) - 1, 0), min(int(x + radius) + 2, width)
        if top >= bottom or left >= right:
            continue
        box = np.s_[top:bottom, left:right]
        away = (columns[:, left:right] - x) ** 2 + (rows[top:bottom] - y) ** 2
        np.maximum(cover[box], radius + 0.5 - np.sqrt(away), out=cover[box], casting="unsafe")
        front = z + np.sqrt(np.maximum(radius * radius - away, 0))
        nearer = (away < (radius + 0.5) ** 2) & (front > depth[box])
        depth[box][nearer] = front[nearer]
        ball[box][nearer] = number
    offset = np.dstack([columns - middles[ball, 0], rows - middles[ball, 1]]) / radii[ball, None]
    rise = np.sqrt(np.maximum(1 - (offset**2).sum(axis=-1), 0))
    there = (ball >= 0)[..., None]
    normal = np.where(there, np.dstack([offset, rise]), 0).astype(np.float32)
    # a ball alone has hair from its middle outwards
    alone = (ways[ball] == 0).all(axis=-1, keepdims=True)
    flow = (np.where(alone, offset, ways[ball]) * there).astype(np.float32)
    limb = np.where(ball >= 0, limb_of[ball], -1)
    return Surface(np.minimum(cover, 1), depth, normal, _places(depth, view), flow, limb)


def _balls_of(
    limbs: Sequence[Limb], view: View
) -> tuple[Points, NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Of all balls the camera sees the middles and radii, pixels, where on the photo their limb
    goes from there, of length 1, and which limb that is.
    """
    middles, radii, ways, numbers = [], [], [], []
    for number, limb in enumerate(limbs):
        points, sizes = _balls(limb)
        seen = points @ view.axes.T * view.scale + (view.x, view.y, 0)
        way = np.gradient(seen, axis=0)[:, :2] if len(seen) > 1 else np.zeros((1, 2))
        middles.append(seen)
        radii.append(sizes * view.scale)
        ways.append(way / (np.linalg.norm(way, axis=1, keepdims=True) + 1e-6))
        numbers.append(np.full(len(seen), number))
    large = np.concatenate(radii) > 0.3  # smaller ones have no pixel
    joined = [np.concatenate(parts)[large] for parts in (middles, radii, ways, numbers)]
    return joined[0], joined[1], joined[2], joined[3]


def _balls(limb: Limb) -> tuple[Points, NDArray[np.float64]]:
    """Middles and radii of the balls, close enough to look like one thing."""
    if len(limb.points) == 1:
        return limb.points, limb.radii
    knots = np.column_stack([limb.points, limb.radii])
    ends = np.concatenate([knots[:1] * 2 - knots[1:2], knots, knots[-1:] * 2 - knots[-2:-1]])
    pieces = []
    for before, start, end, after in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        length = float(np.linalg.norm(end[:3] - start[:3]))
        count = int(np.clip(length / (STEP * max(min(start[3], end[3]), 0.02)), 2, 60))
        t = np.linspace(0, 1, count, endpoint=False)[:, None]
        # Catmull and Rom 1974: a cubic from one knot to the next, smooth at both
        pieces.append(
            start
            + 0.5
            * t
            * (
                end
                - before
                + t * (2 * before - 5 * start + 4 * end - after)
                + t * t * (3 * (start - end) + after - before)
            )
        )
    balls = np.concatenate([*pieces, knots[-1:]])
    return balls[:, :3], np.maximum(balls[:, 3], 0.004)


def _places(depth: Array, view: View) -> Array:
    """What point of the body each pixel shows."""
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    seen = np.stack([columns - view.x, rows - view.y, np.maximum(depth, -view.scale)], axis=-1)
    return (seen / view.scale @ view.axes).astype(np.float32)


def light(surface: Surface, lamp: Points, scale: float) -> Array:
    """Brightness of every pixel, about 1 where it faces the lamp: what is turned away is dimmer,
    and so is what lies in a hollow. `scale`: pixels a unit.
    """
    inside = (surface.cover > 0).astype(np.float32)
    smooth = max(scale * 0.012, 0.6)
    weight = cv2.GaussianBlur(inside, (0, 0), smooth) + 1e-6
    normal = cv2.GaussianBlur(surface.normal * inside[..., None], (0, 0), smooth)
    facing = normal / weight[..., None] @ (lamp / np.linalg.norm(lamp)).astype(np.float32)
    wide = max(scale * 0.06, 1.5)
    around = cv2.GaussianBlur(np.where(inside > 0, surface.depth, 0), (0, 0), wide)
    around /= cv2.GaussianBlur(inside, (0, 0), wide) + 1e-6
    hollow = np.clip((around - surface.depth) / (0.25 * scale), 0, 1) * inside
    return ((0.5 + 0.55 * np.clip(facing, -0.35, 1)) * (1 - 0.55 * hollow)).astype(np.float32)


def cast_shadow(photo: Array, x: float, y: float, half: float) -> None:
    """Darken the floor about a point, in place; `half`: half of the shadow's width."""
    rows, columns = np.mgrid[: photo.shape[0], : photo.shape[1]].astype(np.float32)
    distance = ((columns - x) / half) ** 2 + ((rows - y) / (half * 0.28)) ** 2
    photo *= (1 - 0.55 * np.exp(-distance))[..., None]


def solid_noise(rng: Generator, place: Array, size: float, waves: int = 14) -> Array:
    """Noise about 0 with a spread near 1 in the body's space, so that it turns with the body; its
    patches are about half of `size` wide.
    """
    ways = rng.normal(0, 1, (waves, 3))
    ways *= 2 * np.pi / size / np.linalg.norm(ways, axis=1, keepdims=True)
    ways *= rng.uniform(0.5, 1.3, (waves, 1))
    phases = rng.uniform(0, 2 * np.pi, waves)
    angles = place @ ways.T.astype(np.float32) + phases.astype(np.float32)
    return (np.cos(angles).sum(axis=-1) * np.sqrt(2 / waves)).astype(np.float32)
