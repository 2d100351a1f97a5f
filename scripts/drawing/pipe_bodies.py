"""Draw what grows or lies in a pipe: roots, deposits, bottles and stones."""

from __future__ import annotations

import math

import numpy as np
from numpy.random import Generator

from scripts.drawing.pipe import BOTTOM, Points
from scripts.drawing.pipe_places import choose_place, screen_grain, snap_to_joint
from scripts.drawing.pipe_solids import SHADED, Ball, Layer, draw_ball, fill, stroke, swelling
from scripts.drawing.pipe_wall import Scene

HAIR = 1.5  # pixels of the canvas that a root is wide at least
DEPOSITS = (
    (0.36, 0.19, 0.08),  # iron
    (0.55, 0.52, 0.44),  # lime
    (0.6, 0.52, 0.33),  # grease
    (0.22, 0.17, 0.11),  # mud
    (0.3, 0.28, 0.25),  # gravel
)
GLASS = ((0.05, 0.2, 0.07), (0.2, 0.09, 0.03), (0.32, 0.4, 0.4), (0.1, 0.25, 0.42))


def draw_root(rng: Generator, scene: Scene, layer: Layer) -> None:
    """A tuft of roots that hangs into the pipe, thick ones and many hairs."""
    angle, z = choose_place(rng, scene, near=1.2, far=3.2, upper=rng.uniform() < 0.7)
    z = snap_to_joint(rng, scene, z)
    tone = np.array([0.4, 0.27, 0.15]) * rng.uniform(0.35, 1.5) * rng.uniform(0.85, 1.15, 3)
    reach, spread = rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.5)
    along = rng.normal(0, 0.25)
    for number in range(rng.integers(14, 60)):
        main = number < 5
        begin = np.array([[angle + rng.normal(0, spread), z + rng.normal(0, 0.03)]])
        start = scene.view.on_wall(begin)[0]
        inward = np.array([-start[0], -start[1], along])
        length = reach * rng.uniform(0.4, 1.0) * (1.15 if main else 1)
        path = _dangling(rng, start, inward, length)
        seen, depth = scene.view.project(path)
        thick = rng.uniform(0.014, 0.035) if main else rng.uniform(0.004, 0.012)
        wide = thick * np.linspace(1, 0.25, len(path)) * scene.view.focal / depth
        colour = tone * rng.uniform(0.6, 1.4) * scene.light_at(path)[:, None] * scene.lamp.tint
        stroke(layer, seen, np.maximum(wide, HAIR), colour)


def _dangling(rng: Generator, start: Points, inward: Points, length: float) -> Points:
    """A path in space from the wall inward that gravity bends, (N, 3)."""
    course, count = inward / np.linalg.norm(inward) + rng.normal(0, 0.3, 3), 9
    path = [start]
    for _ in range(count):
        course = course + rng.normal(0, 0.28, 3) + np.array([0, 0.16, 0])
        course /= np.linalg.norm(course)
        path.append(path[-1] + course * length / count)
    return np.array(path)


def draw_deposit(rng: Generator, scene: Scene, layer: Layer) -> None:
    """A heap or a crust of lumps: silt at the bottom, lime or grease at the side."""
    low = rng.uniform() < 0.5
    angle, z = choose_place(rng, scene, near=1.3, far=3.2)
    if low:
        angle = BOTTOM + rng.normal(0, 0.25)
    tone = np.array(DEPOSITS[rng.integers(2, 5) if low else rng.integers(0, 3)])
    tone = tone * rng.uniform(0.7, 1.3) * rng.uniform(0.92, 1.08, 3)
    wide, long = rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.6)
    lump = rng.uniform(0.035, 0.09)
    grain = 0.18 * screen_grain(rng, scene)
    count = int(np.clip(5 * wide * long / lump**2, 40, 260))
    turns, out = rng.uniform(0, 2 * math.pi, count), np.sqrt(rng.uniform(0, 1, count))
    edge = swelling(rng, 0.35)[(turns / (2 * math.pi) * 48).astype(int) % 48]
    height = (1 - out) * lump * rng.uniform(0, 2.0)
    places = np.stack(
        [angle + wide * edge * out * np.cos(turns), z + long * edge * out * np.sin(turns)], axis=1
    )
    middles = scene.view.on_wall(places, height)
    if low and scene.pipe.level is not None:
        # a heap rises out of the water
        middles[:, 1] = np.minimum(middles[:, 1], scene.pipe.level + 0.2 * lump)
    for i in np.argsort(-middles[:, 2]):
        if middles[i, 2] < 0.6:
            continue
        radius = lump * rng.uniform(0.7, 1.4) * (1.15 - 0.4 * out[i])
        shade = tone * rng.uniform(0.85, 1.15)
        rough = swelling(rng, 0.12)
        draw_ball(layer, scene, Ball(middles[i], radius, shade, rough=rough, shine=0.05), grain)


def draw_obstacle(rng: Generator, scene: Scene, layer: Layer) -> None:
    """A bottle, a stone or half a brick that lies at the bottom."""
    z = float(rng.uniform(1.4, 2.7))
    angle = BOTTOM + rng.normal(0, 0.18)
    floor = scene.view.on_wall(np.array([[angle, z]]))[0]
    if scene.pipe.level is not None:
        floor[1] = min(floor[1], scene.pipe.level + 0.06)
    (_bottle, _stone, _block)[rng.integers(3)](rng, scene, layer, floor)


def _stone(rng: Generator, scene: Scene, layer: Layer, floor: Points) -> None:
    grain = 0.3 * screen_grain(rng, scene)
    for _ in range(rng.integers(1, 4)):
        radius = rng.uniform(0.15, 0.34)
        middle = floor + np.array([rng.normal(0, 0.2), -0.6 * radius, rng.normal(0, 0.15)])
        tone = np.array([0.4, 0.38, 0.35]) * rng.uniform(0.5, 1.5) * rng.uniform(0.92, 1.08, 3)
        stone = Ball(
            middle,
            radius,
            tone,
            rng.uniform(0.6, 0.9),
            rng.uniform(-0.5, 0.5),
            swelling(rng, 0.22),
        )
        draw_ball(layer, scene, stone, grain)


def _bottle(rng: Generator, scene: Scene, layer: Layer, floor: Points) -> None:
    """A row of balls as thick as the bottle is, far ones first."""
    thick, length = rng.uniform(0.1, 0.19), rng.uniform(0.65, 1.1)
    yaw = rng.uniform(-1.3, 1.3) + math.pi * rng.integers(2)
    course = np.array([math.sin(yaw), 0.0, math.cos(yaw)])
    shares = np.linspace(0, 1, 70)
    profile = np.interp(shares, [0, 0.02, 0.6, 0.75, 0.8, 1], [0.85, 1, 1, 0.45, 0.36, 0.34])
    tone, label = np.array(GLASS[rng.integers(4)]), np.array([0.6, 0.58, 0.52])
    label = label * rng.uniform(0.4, 1.1, 3)
    middles = floor + np.array([0, -0.8 * thick, 0]) + (shares - 0.4)[:, None] * length * course
    grain = 0.08 * screen_grain(rng, scene)
    labelled = rng.uniform() < 0.7
    for i in np.argsort(-middles[:, 2]):
        albedo = label if labelled and 0.18 < shares[i] < 0.5 else tone
        if shares[i] > 0.93:
            albedo = label * np.array([1.1, 0.4, 0.3])
        ball = Ball(middles[i], thick * profile[i], albedo, shine=0.35)
        draw_ball(layer, scene, ball, grain)


def _block(rng: Generator, scene: Scene, layer: Layer, floor: Points) -> None:
    """Half a brick or a broken piece of pipe: six faces, far ones first."""
    sides = rng.uniform((0.25, 0.15, 0.25), (0.45, 0.3, 0.6))
    yaw, tilt = rng.uniform(0, math.pi), rng.normal(0, 0.2)
    spin = np.array(
        [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
    ) @ np.array(
        [[math.cos(tilt), -math.sin(tilt), 0], [math.sin(tilt), math.cos(tilt), 0], [0, 0, 1]]
    )
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = (signs * sides / 2 * rng.uniform(0.9, 1.1, (8, 3))) @ spin.T
    corners += floor + np.array([0, -0.7 * sides[1], 0])
    tone = np.array([[0.5, 0.22, 0.13], [0.42, 0.4, 0.36]][rng.integers(2)])
    tone = tone * rng.uniform(0.6, 1.3)
    grain = 1 + 0.25 * screen_grain(rng, scene)[..., None]
    faces = []
    for axis in range(3):
        for sign in (-1, 1):
            own = np.flatnonzero(signs[:, axis] == sign)[[0, 1, 3, 2]]
            middle = corners[own].mean(axis=0)
            normal = spin[:, axis] * sign
            faces.append((float(np.linalg.norm(middle - scene.view.eye)), own, middle, normal))
    for _, own, middle, normal in sorted(faces, key=lambda face: -face[0]):
        away = middle - scene.view.eye
        facing = max(float(-normal @ away / np.linalg.norm(away)), 0)
        light = SHADED * float(scene.light_at(middle[None])[0]) * (0.3 + 0.7 * facing)
        seen, _ = scene.view.project(corners[own])
        fill(layer, seen, (tone * light * scene.lamp.tint * grain).astype(np.float32))
