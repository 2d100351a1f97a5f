"""Draw a white printed disc with its finish, dirt and defects on a canvas of `draw_belt`.

The finish of a sound disc is hatched too, faintly or clearly: a defect differs by the depth of its
gaps, not by having lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.belt import Canvas, Outline, coverage, draw_scratch, grid, smooth_noise

Kind = Literal["clean", "small", "partial", "large"]
INNER = 0.9  # radius of the printed field inside the rim, in radii of the disc


@dataclass(frozen=True)
class Disc:
    """A disc on the belt; lengths are fractions of the image's side."""

    x: float
    y: float
    radius: float

    def circle(self, radius: float, angles: NDArray[np.float64]) -> Outline:
        """Points at `radius` (in radii of the disc) and `angles`."""
        reach = self.radius * radius
        return np.stack([self.x + reach * np.cos(angles), self.y + reach * np.sin(angles)], axis=1)


@dataclass(frozen=True)
class Defect:
    """An area without coating: its exact outline and the points that an annotator sets."""

    outline: Outline
    clicks: Outline
    hatching: float  # direction of its lines
    contrast: float  # depth of its gaps, grey values
    crossed: bool = False  # beyond a chord the lines run across


def choose_disc(rng: Generator) -> Disc:
    """A disc of about the usual size that lies inside the image."""
    x, y = rng.uniform(0.43, 0.57, 2)
    return Disc(x, y, rng.uniform(0.37, 0.395))


def draw_disc(rng: Generator, canvas: Canvas, disc: Disc, defects: tuple[Defect, ...]) -> None:
    """A white printed disc with its rim and shadow, its finish, its dirt and its defects."""
    size = canvas.shape[0]
    xs, ys = grid(size)
    around = np.linspace(0, 2 * math.pi, 400, endpoint=False)
    inside = coverage(disc.circle(1, around), size)
    shadow = coverage(disc.circle(1.01, around) - rng.uniform(0.008, 0.02, 2), size, softness=0.008)
    canvas *= 1 - rng.uniform(0.4, 0.75) * shadow

    distance = np.hypot(xs - disc.x, ys - disc.y) / disc.radius
    angle = np.arctan2(ys - disc.y, xs - disc.x)
    slope = (xs - disc.x) * 0.6 + (ys - disc.y)
    surface = (
        rng.uniform(226, 240) + rng.uniform(6, 22) * slope + 1.5 * smooth_noise(rng, size, 8, 8)
    )
    field = np.clip((INNER - distance) * 60, 0, 1).astype(np.float32)
    surface += field * finish(rng, size, weak=bool(defects) and rng.uniform() < 0.75)
    surface += rim(rng, distance, angle)
    for defect in defects:
        roughness = 0.35 * smooth_noise(rng, size, 90, 90)
        area = np.clip((coverage(defect.outline, size, 0.0015) - 0.5) * 4 + 0.5 + roughness, 0, 1)
        area *= coverage(defect.outline, size) > 0.02
        surface += area * bare(rng, size, defect)
    draw_dirt(rng, surface, disc)
    canvas += inside * (surface - canvas)


def rim(rng: Generator, distance: Canvas, angle: Canvas) -> Canvas:
    """Relief of the outer rings: fine grooves, a beaded joint to the field, a darker edge."""
    depth = rng.uniform(4, 18)
    rings = np.sin(distance * 2 * math.pi / 0.019) * (
        (distance > INNER + 0.02) & (distance < 0.985)
    )
    light = 0.5 + 0.5 * np.cos(angle - rng.uniform(0, 2 * math.pi))
    beads = np.sin(angle * rng.integers(90, 150)) + np.sin(angle * rng.integers(3, 9) + 1)
    joint = np.exp(-(((distance - INNER) / 0.008) ** 2))
    edge = np.clip((distance - 0.975) / 0.025, 0, 1) ** 2
    arcs = np.clip(np.sin(angle * 2 + rng.uniform(0, 6)) - 0.6, 0, 1) * np.exp(
        -(((distance - INNER - 0.015) / 0.004) ** 2)
    )
    return (
        depth * rings * light
        + rng.uniform(2, 9) * joint * beads
        - 25 * edge
        - 90 * arcs * rng.uniform(0.2, 1)
    )


def ridges(rng: Generator, size: int, direction: float, period: float) -> tuple[Canvas, Canvas]:
    """Phase of parallel printed lines, a full turn a line, and the distance along them."""
    xs, ys = grid(size)
    across = xs * -math.sin(direction) + ys * math.cos(direction)
    along = xs * math.cos(direction) + ys * math.sin(direction)
    wobble = 0.1 * period * smooth_noise(rng, size, 12, 12)
    return (across + wobble) * (2 * math.pi / period), along


def finish(rng: Generator, size: int, *, weak: bool) -> Canvas:
    """Relief of a sound coating: printed lines from clear to hardly visible, patches, blotches."""
    direction = rng.uniform(0, math.pi)
    depth = rng.uniform(0.5, 3.5) if weak else rng.choice([rng.uniform(1, 4), rng.uniform(5, 17)])
    phase, _ = ridges(rng, size, direction, rng.uniform(0.0095, 0.013))
    lines = np.sin(phase)
    relief = depth * lines * (0.8 + 0.3 * smooth_noise(rng, size, 5, 5))
    if rng.uniform() < 0.35:  # printed in two passes
        xs, ys = grid(size)
        turn, offset = rng.uniform(0, 2 * math.pi), rng.uniform(-0.2, 0.2)
        second = (xs - 0.5) * math.cos(turn) + (ys - 0.5) * math.sin(turn) > offset
        other, _ = ridges(rng, size, direction + math.pi / 2, rng.uniform(0.0095, 0.02))
        relief = np.where(second, 0.8 * depth * np.sin(other) - rng.uniform(1, 6), relief)
        relief -= np.clip(2.5 * smooth_noise(rng, size, 24, 24), 0, 6) * second
    if rng.uniform() < 0.4:  # short dark cracks along the lines, here and there
        broken = np.clip(smooth_noise(rng, size, 5, 5) - 0.9, 0, 1) * (lines < -0.8)
        relief -= rng.uniform(15, 50) * broken * np.clip(smooth_noise(rng, size, 60, 60), 0, 1)
    return relief.astype(np.float32)


def bare(rng: Generator, size: int, defect: Defect) -> Canvas:
    """Relief where the coating is missing: deep lines, their gaps bridged at short intervals."""
    period = rng.uniform(0.009, 0.014)
    phase, along = ridges(rng, size, defect.hatching, period)
    if defect.crossed:
        xs, ys = grid(size)
        middle = defect.outline.mean(axis=0) + rng.normal(0, 0.08, 2)
        turn = defect.hatching + rng.normal(0, 0.1)
        second = (xs - middle[0]) * math.cos(turn) + (ys - middle[1]) * math.sin(turn) > 0
        other, along_other = ridges(rng, size, defect.hatching + math.pi / 2, period)
        phase, along = np.where(second, other, phase), np.where(second, along_other, along)
    bridges = 0.6 + 0.4 * np.sin(
        along * (2 * math.pi / rng.uniform(0.004, 0.007)) + 3 * smooth_noise(rng, size, 40, 40)
    )
    # every line has a depth of its own, which comes and goes along it
    depths = rng.uniform(0.1, 1.0, 256) + (rng.uniform(size=256) < 0.2).astype(np.float32)
    strength = depths[np.floor(phase / (2 * math.pi) + 0.25).astype(int) % 256]
    strength *= np.clip(0.8 + 0.3 * smooth_noise(rng, size, 24, 24), 0.15, 1.6)
    lines = np.sin(phase)
    gaps = np.clip((-lines - 0.35) / 0.65, 0, 1) * bridges * strength
    relief = -defect.contrast * gaps + 0.25 * defect.contrast * np.clip(lines, 0, 1)
    return (relief - 0.08 * defect.contrast).astype(np.float32)


def draw_dirt(rng: Generator, surface: Canvas, disc: Disc) -> None:
    """Specks and hairs, scattered or in a cluster, a smear, a glossy patch."""
    size = surface.shape[0]
    cluster = disc.circle(rng.uniform(0, 0.6), rng.uniform(0, 2 * math.pi, 1))[0]
    spread = rng.choice([0.08, 0.2])
    for _ in range(rng.choice([10, 30, 80, 250])):
        draw_scratch(rng, surface, rng.normal(cluster, spread), grey=rng.uniform(90, 200))
    for _ in range(rng.integers(0, 4)):
        place = disc.circle(math.sqrt(rng.uniform(0, 0.7)), rng.uniform(0, 2 * math.pi, 1))[0]
        xs, ys = grid(size)
        blob = np.exp(
            -(
                ((xs - place[0]) / rng.uniform(0.004, 0.03)) ** 2
                + ((ys - place[1]) / rng.uniform(0.004, 0.03)) ** 2
            )
        )
        surface += rng.uniform(-45, 15) * blob * np.clip(smooth_noise(rng, size, 120, 120), 0, 1)


def choose_defects(rng: Generator, kind: Kind, disc: Disc) -> tuple[Defect, ...]:
    """One or two defects of the kind's size, none on a clean disc; two lie on opposite sides."""
    turn = rng.uniform(0, 2 * math.pi)
    if kind == "clean":
        return ()
    if kind == "large":
        return (
            whole(rng, disc)
            if rng.uniform() < 0.6
            else segment(rng, disc, turn, rng.uniform(-0.7, -0.1)),
        )
    if kind == "partial":
        first = (
            crescent(rng, disc, turn)
            if rng.uniform() < 0.25
            else segment(rng, disc, turn, rng.uniform(0.1, 0.75))
        )
    else:
        first = (
            spot(rng, disc, turn)
            if rng.uniform() < 0.4
            else segment(rng, disc, turn, rng.uniform(0.8, 0.97))
        )
    if rng.uniform() < 0.7:
        return (first,)
    return first, segment(
        rng, disc, turn + math.pi + rng.uniform(-0.7, 0.7), rng.uniform(0.6, 0.95)
    )


def segment(rng: Generator, disc: Disc, turn: float, chord: float) -> Defect:
    """The field beyond a straight cut at distance `chord` (in radii of the field) from its middle:
    a sliver near 1, half the disc at 0, most of it below.
    """
    half = math.acos(chord)
    clicks = max(5, round(18 * half / math.pi * rng.uniform(0.8, 1.1)))
    # lines run towards the cut, now and then along it
    hatching = turn + rng.normal(0, 0.15) + (math.pi / 2 if rng.uniform() < 0.2 else 0)
    return Defect(
        disc.circle(INNER, np.linspace(turn - half, turn + half, 80)),
        annotate(rng, disc.circle(INNER, np.linspace(turn - half, turn + half, clicks))),
        hatching,
        choose_contrast(rng),
    )


def crescent(rng: Generator, disc: Disc, turn: float) -> Defect:
    """The edge of the field on one side, hollow where a circle cuts it."""
    half, depth = rng.uniform(0.5, 1.1), rng.uniform(0.08, 0.3)

    def outline(points: int) -> Outline:
        angles = np.linspace(-half, half, points)
        hollow = INNER - depth * np.cos(angles * (math.pi / 2 / half))
        inner = [
            disc.circle(r, np.array([turn + a]))[0] for r, a in zip(hollow, angles, strict=True)
        ]
        return np.concatenate([disc.circle(INNER, turn + angles), inner[-2:0:-1]])

    hatching = rng.uniform(0, math.pi)
    return Defect(outline(60), annotate(rng, outline(9)), hatching, choose_contrast(rng))


def spot(rng: Generator, disc: Disc, turn: float) -> Defect:
    """A patch of a few pixels anywhere in the field."""
    middle = disc.circle(rng.uniform(0.1, 0.8), np.array([turn]))[0]
    width, height, tilt = rng.uniform((0.004, 0.003, 0), (0.014, 0.008, 3))

    def outline(points: int) -> Outline:
        angles = np.linspace(0, 2 * math.pi, points, endpoint=False)
        across, along = width * np.cos(angles), height * np.sin(angles)
        turned = [
            across * math.cos(tilt) - along * math.sin(tilt),
            across * math.sin(tilt) + along * math.cos(tilt),
        ]
        return middle + np.stack(turned, axis=1)

    clicks = annotate(rng, outline(6), jitter=0.0003)
    return Defect(outline(30), clicks, rng.uniform(0, math.pi), rng.uniform(55, 110))


def whole(rng: Generator, disc: Disc) -> Defect:
    """The whole field, or the disc up to its edge, often hatched in two directions."""
    radius = rng.choice([INNER, INNER, 0.985])
    around = np.linspace(0, 2 * math.pi, 200, endpoint=False)
    clicks = np.linspace(0, 2 * math.pi, 20, endpoint=False)
    return Defect(
        disc.circle(radius, around),
        annotate(rng, disc.circle(radius, clicks)),
        rng.uniform(0, math.pi),
        rng.uniform(50, 105),
        crossed=bool(rng.uniform() < 0.6),
    )


def choose_contrast(rng: Generator) -> float:
    """Depth of a defect's gaps, from hard to see to plain."""
    return rng.uniform(28, 85)


def annotate(rng: Generator, points: Outline, *, jitter: float = 0.0012) -> Outline:
    """The points as a hand sets them: a pixel or two off, within the image."""
    return np.clip(points + rng.normal(0, jitter, points.shape), 0, 1)
