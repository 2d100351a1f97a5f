"""Paint outlines and solid bodies that stand in a pipe, and keep where they are seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.pipe import Map, Points
from scripts.drawing.pipe_wall import Scene

Colour = NDArray[np.float64]  # (3,), linear RGB
FINE = 4  # bits of a pixel's fraction
SHADED = 0.65  # walls are lit at a slant, and so are bodies, but for their middle


@dataclass(frozen=True)
class Layer:
    """What is drawn before the pipe: both are drawn upon."""

    colour: Map  # (H, W, 3), linear light
    cover: Map  # (H, W), 0 to 1


def empty_layer(scene: Scene) -> Layer:
    return Layer(np.zeros_like(scene.canvas), np.zeros(scene.canvas.shape[:2], np.float32))


def fill(layer: Layer, outline: Points, colour: Colour | Map, within: Map | None = None) -> None:
    """Paints inside an outline, (N, 2) in pixels, with a colour or those of a picture of the
    layer's size, and only where `within` lets it, shape (H, W).
    """
    height, width = layer.cover.shape
    low = np.clip(np.floor(outline.min(axis=0)) - 2, 0, (width, height)).astype(int)
    high = np.clip(np.ceil(outline.max(axis=0)) + 2, 0, (width, height)).astype(int)
    if (high <= low).any():
        return
    inside = np.zeros((high - low)[::-1], np.uint8)
    corners = np.rint((outline - 0.5 - low) * 2**FINE).astype(np.int32)
    cv2.fillPoly(inside, [corners], 255, cv2.LINE_AA, FINE)
    paint(layer, (low[1], low[0]), inside.astype(np.float32) / 255, colour, within)


def stroke(layer: Layer, path: Points, widths: NDArray[np.float64], colour: Colour | Map) -> None:
    """A line through the path, (N, 2) in pixels, with its width in pixels at every point."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    aside = across * widths[:, None] / 2
    left, right = path + aside, path - aside
    # piece by piece: a line that crosses itself has no outline
    for i in range(len(path) - 1):
        shade = colour if colour.ndim != 2 else colour[i]
        fill(layer, np.array([left[i], left[i + 1], right[i + 1], right[i]]), shade)


def paint(
    layer: Layer,
    corner: tuple[int, int],
    cover: Map,
    colour: Colour | Map,
    within: Map | None = None,
) -> None:
    """Mixes a patch into the layer, its first row and column being `corner`."""
    rows = slice(corner[0], corner[0] + cover.shape[0])
    columns = slice(corner[1], corner[1] + cover.shape[1])
    if within is not None:
        cover = cover * within[rows, columns]
    shade = np.asarray(colour, np.float32)
    if shade.shape[:2] == layer.cover.shape:
        shade = shade[rows, columns]
    part = layer.colour[rows, columns]
    part += cover[..., None] * (shade - part)
    seen = layer.cover[rows, columns]
    seen += cover * (1 - seen)


@dataclass(frozen=True)
class Ball:
    """A round body, or a rough one whose outline swells and shrinks."""

    middle: Points  # (3,)
    radius: float
    albedo: Colour
    flat: float = 1.0  # height over width, as seen
    tilt: float = 0.0
    rough: NDArray[np.float64] | None = None  # by how much the radius swells, round about
    shine: float = 0.0


def draw_ball(layer: Layer, scene: Scene, ball: Ball, grain: Map | None = None) -> None:
    """Paints the ball, lit from the camera; `grain`, noise of the layer's size, is its surface."""
    (seen,), (depth,) = scene.view.project(ball.middle[None])
    size = ball.radius * scene.view.focal / depth
    reach = size * (1.6 if ball.rough is not None else 1.05) + 1
    height, width = layer.cover.shape
    low = np.clip(np.floor(seen - reach), 0, (width, height)).astype(int)
    high = np.clip(np.ceil(seen + reach), 0, (width, height)).astype(int)
    if (high <= low).any():
        return
    xs, ys = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    aside, down = xs - seen[0], ys - seen[1]
    cos, sin = math.cos(ball.tilt), math.sin(ball.tilt)
    u, v = (aside * cos + down * sin) / size, (down * cos - aside * sin) / (size * ball.flat)
    far = np.hypot(u, v)
    if ball.rough is not None:
        turn = (np.arctan2(v, u) / (2 * math.pi) % 1) * len(ball.rough)
        far = far / np.interp(turn, np.arange(len(ball.rough) + 1), [*ball.rough, ball.rough[0]])
    cover = np.clip((1 - far) * size * min(ball.flat, 1) + 0.5, 0, 1)
    towards = np.sqrt(np.clip(1 - far**2, 0, 1))
    shade = 0.25 + 0.75 * towards - 0.12 * v
    if grain is not None:
        shade *= 1 + grain[low[1] : high[1], low[0] : high[0]]
    light = SHADED * float(scene.light_at(ball.middle[None])[0])
    gloss = ball.shine * np.exp(-((u + 0.2) ** 2 + (v + 0.35) ** 2) / 0.03)
    colour = (ball.albedo * shade[..., None] + gloss[..., None]) * light * scene.lamp.tint
    paint(layer, (low[1], low[0]), cover.astype(np.float32), colour)


def swelling(rng: Generator, strength: float, *, waves: int = 7) -> NDArray[np.float64]:
    """Factors about 1 of a rough outline's radius, round about."""
    around = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    found = np.ones(48)
    for wave in range(1, waves):
        found += strength / wave * rng.normal() * np.cos(wave * around + rng.uniform(0, 6.3))
    return np.clip(found, 0.55, 1.45)
