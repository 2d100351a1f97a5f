"""Draw an empty metal belt as a camera above it sees it.

A canvas is float32, shape (size, size), grey values 0 to 255. Lengths are fractions of the side, so
that an image looks the same at any size; angles are in radians; `xs` grows to the right, `ys` down.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Canvas = NDArray[np.float32]
Outline = NDArray[np.float64]  # (points, 2), x and y


def grid(size: int) -> tuple[Canvas, Canvas]:
    """`xs` and `ys` of the middle of every pixel."""
    middles = ((np.arange(size) + 0.5) / size).astype(np.float32)
    xs, ys = np.meshgrid(middles, middles)
    return xs, ys


def smooth_noise(rng: Generator, size: int, rows: int, columns: int) -> Canvas:
    """Noise about 0 with a spread near 1, whose patches are 1 / rows high and 1 / columns wide."""
    coarse = rng.normal(0, 1.3, (min(rows, size), min(columns, size))).astype(np.float32)
    fine = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return fine.astype(np.float32, copy=False)


def coverage(outline: Outline, size: int, softness: float = 0.0005) -> Canvas:
    """The fraction of each pixel inside the outline, 0 to 1, with a soft border."""
    inside = np.zeros((size, size), np.uint8)
    corners = np.rint((outline * size - 0.5) * 16).astype(np.int32)
    cv2.fillPoly(inside, [corners], 255, cv2.LINE_AA, 4)
    soft = cv2.GaussianBlur(inside.astype(np.float32) / 255, (0, 0), softness * size + 0.3)
    return soft.astype(np.float32, copy=False)


def draw_stroke(canvas: Canvas, points: Outline, width: float, grey: float, alpha: float) -> None:
    """A line through `points`, mixed into the canvas with opacity `alpha`."""
    size = canvas.shape[0]
    margin = width + 2 / size
    low = np.floor(np.clip(points.min(axis=0) - margin, 0, 1) * size).astype(int)
    high = np.ceil(np.clip(points.max(axis=0) + margin, 0, 1) * size).astype(int)
    if (high <= low).any():
        return
    part = canvas[low[1] : high[1], low[0] : high[0]]
    drawn = np.zeros(part.shape, np.uint8)
    path = np.rint((points * size - 0.5 - low) * 16).astype(np.int32)
    # thinner than a pixel: paler instead
    alpha *= min(1.0, width * size)
    cv2.polylines(drawn, [path], False, 255, max(1, round(width * size)), cv2.LINE_AA, 4)
    part += (grey - part) * drawn.astype(np.float32) * (alpha / 255)


def draw_belt(rng: Generator, size: int, *, exposure: float) -> Canvas:
    """Brushed metal lit from the lower right, a rail, seams, a marker cross."""
    xs, ys = grid(size)
    glare_x, glare_y = rng.uniform(0.65, 0.95), rng.uniform(0.75, 1.0)
    glare = np.exp(-(((xs - glare_x) / 0.5) ** 2 + ((ys - glare_y) / 0.42) ** 2))
    canvas = exposure * (115 + 60 * ys + 60 * xs + 40 * ys * xs) + 180 * glare
    grain = rng.normal(0, 1, (size, size)).astype(np.float32)
    streaks = cv2.GaussianBlur(grain, (0, 0), 0.004 * size, sigmaY=0.0004 * size + 0.1)
    canvas += 5 * streaks / float(streaks.std()) + 0.02 * canvas * grain
    canvas += 3 * smooth_noise(rng, size, 400, 2) + 1.5 * smooth_noise(rng, size, 90, 3)
    canvas *= 1 + 0.03 * smooth_noise(rng, size, 3, 3)
    crossing = rng.uniform((0.46, 0.47), (0.54, 0.54))
    draw_seams(rng, canvas, crossing)
    for _ in range(rng.integers(4, 16)):
        draw_scratch(rng, canvas, rng.uniform(0, 1, 2), grey=rng.choice([40, 90, 255]))
    rail = rng.choice(rng.uniform((0.02, 0.15, 0.62, 0.78), (0.1, 0.22, 0.68, 0.86)))
    draw_rail(rng, canvas, rail, exposure)
    if rail > 0.15:
        draw_upper_strip(rng, canvas, exposure)
    draw_cross(rng, canvas, crossing)
    return canvas.astype(np.float32)


def draw_scratch(
    rng: Generator, canvas: Canvas, start: NDArray[np.float64], *, grey: float
) -> None:
    """A fine crooked line of up to a thirtieth of the side."""
    angle, step = rng.uniform(0, 2 * math.pi), rng.uniform(0.0005, 0.004)
    turns = angle + np.cumsum(rng.normal(0, 0.5, 4))
    steps = step * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    draw_stroke(
        canvas,
        start + np.cumsum(steps, axis=0),
        rng.uniform(0.0008, 0.002),
        grey,
        rng.uniform(0.2, 0.8),
    )


def draw_seams(rng: Generator, canvas: Canvas, crossing: NDArray[np.float64]) -> None:
    """Two smudged guide lines across the metal, darker here and there."""
    size = canvas.shape[0]
    xs, ys = grid(size)
    for across, along_rows in ((ys - crossing[1], True), (xs - crossing[0], False)):
        rows, columns = (1, 12) if along_rows else (12, 1)
        where = np.clip(0.5 + 0.6 * smooth_noise(rng, size, rows, columns), 0, 1)
        smudge = np.clip(smooth_noise(rng, size, *(200, 30) if along_rows else (40, 250)), 0, 1)
        half = rng.uniform(0.005, 0.012)
        band = np.exp(-((across / half) ** 4)) * where * smudge
        lines = sum(
            np.exp(-(((across - aside) / 0.0015) ** 2)) * rng.uniform(0.1, 0.6)
            for aside in rng.uniform(-half, half, 2)
        )
        canvas *= 1 - np.clip(0.7 * band + lines * (0.4 + where), 0, 0.9)


def draw_rail(rng: Generator, canvas: Canvas, top: float, exposure: float) -> None:
    """A dark profile across the belt: ledges in shade and in light, dirt, a bolt now and then."""
    size = canvas.shape[0]
    xs, ys = grid(size)
    across = (ys - top) / rng.uniform(0.17, 0.19)
    at = [0, 0.03, 0.06, 0.2, 0.24, 0.42, 0.48, 0.54, 0.6, 0.92, 0.95, 0.98, 1]
    grey = [20, 25, 80, 110, 60, 75, 190, 170, 70, 40, 30, 210, 220]
    profile = (
        np.interp(across, at, grey).astype(np.float32) * (0.6 + 0.5 * xs) * (0.6 + 0.5 * exposure)
    )
    profile += 3 * smooth_noise(rng, size, 250, 4) + 4 * smooth_noise(rng, size, 6, 8)
    inside = (across >= 0) & (across <= 1)
    canvas[inside] = profile[inside]
    for _ in range(rng.integers(3, 14)):
        spot = np.array([rng.uniform(), top + 0.18 * rng.uniform(0.1, 0.9)])
        draw_stroke(
            canvas,
            np.stack([spot, spot + rng.normal(0, 0.002, 2)]),
            rng.uniform(0.002, 0.007),
            20,
            0.7,
        )
    for x in rng.choice([0.07, 0.25, 0.75, 0.93], rng.integers(0, 3), replace=False):
        draw_bolt(rng, canvas, x + rng.uniform(-0.02, 0.02), top + 0.1)


def draw_bolt(rng: Generator, canvas: Canvas, x: float, y: float) -> None:
    """A screw head seen from above, its socket dark, lit from one side."""
    xs, ys = grid(canvas.shape[0])
    distance = np.hypot(xs - x, ys - y) / rng.uniform(0.055, 0.07)
    angle = np.arctan2(ys - y, xs - x)
    ring = np.interp(
        distance, [0, 0.35, 0.42, 0.5, 0.72, 0.8, 0.9, 1], [25, 20, 90, 60, 85, 30, 15, 30]
    )
    ring += (
        45 * np.exp(-(((distance - 0.62) / 0.1) ** 2)) * np.cos(angle - rng.uniform(0, 2 * math.pi))
    )
    inside = distance < 1
    canvas[inside] = ring[inside]


def draw_upper_strip(rng: Generator, canvas: Canvas, exposure: float) -> None:
    """The next profile at the upper edge of the image, in shade."""
    xs, ys = grid(canvas.shape[0])
    height = rng.uniform(0.02, 0.06)
    inside = ys < height
    shade = exposure * (35 + 45 * xs) * (0.6 + 0.7 * ys / height)
    canvas[inside] = shade[inside]
    canvas *= 1 + 0.5 * np.exp(-(((ys - height) / 0.003) ** 2))


def draw_cross(rng: Generator, canvas: Canvas, middle: NDArray[np.float64]) -> None:
    """A cross by hand with a thick black marker, each arm of a few strokes, a blot between."""
    blot = middle + rng.normal(0, 0.004, (12, 2)) * rng.uniform(0.2, 2)
    draw_stroke(canvas, blot, rng.uniform(0.015, 0.03), 8, 0.97)
    for direction in (0.0, math.pi / 2):
        reach = rng.uniform(0.07, 0.12)
        for _ in range(rng.integers(2, 5)):
            along = np.linspace(-reach, reach, 6) * rng.uniform(0.7, 1.0) + rng.normal(0, 0.01)
            aside = rng.normal(0, 0.006) + np.cumsum(rng.normal(0, 0.002, 6))
            turn = direction + rng.normal(0, 0.05)
            points = np.stack(
                [
                    along * math.cos(turn) - aside * math.sin(turn),
                    along * math.sin(turn) + aside * math.cos(turn),
                ],
                axis=1,
            )
            draw_stroke(canvas, middle + points, rng.uniform(0.012, 0.024), 8, 0.97)


def finish_image(rng: Generator, canvas: Canvas) -> NDArray[np.uint8]:
    """The canvas as a camera stores it: vignette, a little blur, noise, 8 bits."""
    xs, ys = grid(canvas.shape[0])
    seen = canvas * (1 - 0.3 * ((xs - 0.55) ** 2 + (ys - 0.55) ** 2))
    cv2.GaussianBlur(seen, (0, 0), 0.0004 * canvas.shape[0] + 0.2, seen)
    seen += rng.normal(0, rng.uniform(1.2, 2.5), seen.shape)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)
