"""Shapes, textures and camera effects that the drawings of pets, land and pipes share.

An image is float32 RGB, shape (height, width, 3), values 0 to 255. Points are x and y in pixels,
shape (n, 2); angles are radians from x towards y, which grows downwards.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Shape = tuple[int, int]  # height and width, pixels
Plane = NDArray[np.float32]  # (height, width)
Image = NDArray[np.float32]  # (height, width, 3)
Mask = NDArray[np.bool_]  # (height, width)
Points = NDArray[np.float64]
Drawing = tuple[Mask, Image]  # pixels that a thing covers, and their colours

BITS = 4  # of a coordinate's fraction, for OpenCV


def noise(rng: Generator, shape: Shape, patch: float) -> Plane:
    """Smooth noise, mean 0, standard deviation near 1, in patches of `patch` pixels."""
    rows, columns = (int(np.clip(side / patch, 2, side)) for side in shape)
    coarse = rng.normal(0, 1.3, (rows, columns)).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)


def texture(rng: Generator, shape: Shape, colour: ArrayLike, patch: float, depth: float) -> Image:
    """The colour with patches and grain; `depth` is their standard deviation as a fraction."""
    shade = 1 + depth * noise(rng, shape, patch) + 0.5 * depth * rng.normal(size=shape)
    return (np.clip(shade, 0, 2)[..., None] * np.asarray(colour)).astype(np.float32)


def fill(shape: Shape, outline: Points) -> Mask:
    """The pixels of a polygon."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.rint(outline * 2**BITS).astype(np.int32)], 1, cv2.LINE_8, BITS)
    return mask > 0


def stroke(shape: Shape, points: Points, radius: float) -> Mask:
    """The pixels of a line with round ends, at least a pixel wide; of a disc for a single point."""
    mask = np.zeros(shape, np.uint8)
    path = np.rint(np.concatenate([points, points[-1:]]) * 2**BITS).astype(np.int32)
    cv2.polylines(mask, [path], False, 1, max(1, round(2 * radius)), cv2.LINE_8, BITS)
    return mask > 0


def turned(points: ArrayLike, turn: float) -> Points:
    """The points turned about the origin."""
    cos, sin = math.cos(turn), math.sin(turn)
    return np.asarray(points, np.float64) @ np.array([[cos, sin], [-sin, cos]])


def box(middle: ArrayLike, half: tuple[float, float], turn: float) -> Points:
    """The outline of a rectangle; `half` is half its length and width."""
    return turned(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half, turn) + np.asarray(middle)


def ellipse(
    middle: ArrayLike, half: tuple[float, float], turn: float, *, wobble: ArrayLike = 0.0
) -> Points:
    """The outline of an ellipse of 24 points; `wobble` moves them outwards by a fraction."""
    around = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    return turned(circle * (1 + np.reshape(wobble, (-1, 1))) * half, turn) + np.asarray(middle)


def take_photo(rng: Generator, image: Image) -> NDArray[np.uint8]:
    """The image as a camera stores it: a little blur, exposure, white balance, noise, 8 bits."""
    seen = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 0.8))
    seen = seen * rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)
    seen += rng.normal(0, rng.uniform(1, 5), seen.shape)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)
