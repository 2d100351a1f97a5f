"""See a pipe from within: where each pixel of an inspection camera looks, and how it is lit.

Lengths are in radii of the pipe, whose axis is z and runs away from the camera; x grows to the
right, y down; angles are in radians from x towards y, so that the bottom is at pi / 2. Colours are
RGB of about 0 to 1, in linear light until the photo is finished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Map = NDArray[np.float32]  # (H, W), or (H, W, 3) for colours
Points = NDArray[
    np.float64
]  # (N, 3) in space, (N, 2) on the wall (angle, z) or on the photo (x, y)

BOTTOM = math.pi / 2
FARTHEST = 60.0  # radii; all is dark there


@dataclass(frozen=True)
class View:
    """A camera in the pipe."""

    height: int
    width: int
    focal: float  # pixels
    eye: Points  # (3,)
    turn: Points  # (3, 3), from the camera's axes to those of the pipe
    oval: float  # height of the pipe over its width

    def _plane(self) -> tuple[Map, Map]:
        """x and y of every pixel in the plane at the depth 1."""
        xs = (np.arange(self.width) + 0.5 - self.width / 2) / self.focal
        ys = (np.arange(self.height) + 0.5 - self.height / 2) / self.focal
        x, y = np.meshgrid(xs.astype(np.float32), ys.astype(np.float32))
        return x, y

    def aside(self) -> Map:
        """The tangent of the angle between every pixel's ray and the camera's axis."""
        return np.hypot(*self._plane())

    def rays(self) -> Map:
        """The direction of every pixel, as long as to reach the depth 1, shape (H, W, 3)."""
        x, y = self._plane()
        return np.stack([x, y, np.ones_like(x)], axis=-1) @ self.turn.T.astype(np.float32)

    def project(self, points: Points) -> tuple[Points, NDArray[np.float64]]:
        """Where points are seen, in pixels, and their depths; what is behind the camera gets a
        small depth.
        """
        seen = (points - self.eye) @ self.turn
        depth = np.maximum(seen[:, 2], 0.05)
        middle = np.array([self.width, self.height]) / 2
        return seen[:, :2] / depth[:, None] * self.focal + middle, depth

    def on_wall(self, places: Points, inward: float | NDArray[np.float64] = 0.0) -> Points:
        """Points in space of places on the wall, or `inward` of it."""
        radius = 1 - np.asarray(inward)
        x, y = radius * np.cos(places[:, 0]), radius * self.oval * np.sin(places[:, 0])
        return np.stack([x, y, places[:, 1]], axis=1)


@dataclass(frozen=True)
class Hits:
    """What every pixel shows, arrays of shape (H, W)."""

    angle: Map  # of the place on the wall, seen in the water where there is water
    z: Map
    distance: Map  # of the ray from the camera
    facing: Map  # cosine between ray and wall
    water: NDArray[np.bool_]


@dataclass(frozen=True)
class Lamp:
    """The ring of lamps around the camera's lens."""

    spread: float  # tangent of the angle at which its beam is half as bright
    falloff: float  # power of the distance with which light gets less
    tint: Map  # (3,)

    def light(self, distance: Map, aside: Map, facing: Map | float = 1.0) -> Map:
        """Brightness at a distance from the camera, `aside` being the tangent of the angle from the
        camera's axis.
        """
        beam = 1 / (1 + (aside / self.spread) ** 4)
        return beam * np.asarray(facing, np.float32) ** 0.5 / (0.6 + distance) ** self.falloff


def choose_view(rng: Generator, height: int, width: int) -> View:
    """A camera on a crawler or pushed by hand: off the axis, turned a little."""
    yaw, pitch, roll = rng.normal(0, (0.10, 0.07, 0.06))
    eye = np.array([rng.normal(0, 0.12), rng.uniform(-0.12, 0.38), 0.0])
    turn = np.array(
        [
            [math.cos(yaw), 0, math.sin(yaw)],
            [0, 1, 0],
            [-math.sin(yaw), 0, math.cos(yaw)],
        ]
    )
    turn = turn @ cv2.Rodrigues(np.array([pitch, 0.0, 0.0]))[0]
    turn = turn @ cv2.Rodrigues(np.array([0.0, 0.0, roll]))[0]
    oval = rng.choice([1.0, 1.0, 1.0, rng.uniform(1.05, 1.25)])
    return View(height, width, width * rng.uniform(0.48, 0.72), eye, turn, float(oval))


def choose_lamp(rng: Generator) -> Lamp:
    tint = np.array([1.0, rng.uniform(0.92, 1.0), rng.uniform(0.78, 1.02)], np.float32)
    return Lamp(rng.uniform(0.6, 1.1), rng.uniform(1.9, 2.9), tint)


def cast(view: View, level: float | None, ripples: Map) -> Hits:
    """Where the rays meet the wall, or by way of the water, whose surface is at the height `level`
    and is disturbed by `ripples`, shape (H, W), the wall that is mirrored in it.
    """
    rays = view.rays()
    eye = np.broadcast_to(view.eye.astype(np.float32), rays.shape)
    reach = _reach(eye, rays, view.oval)
    water = np.zeros(reach.shape, bool)
    if level is not None:
        down = np.maximum(rays[..., 1], 1e-6)
        to_water = (np.float32(level) - eye[..., 1]) / down
        water = (to_water < reach) & (rays[..., 1] > 0)
        start = np.where(water[..., None], eye + to_water[..., None] * rays, eye)
        mirrored = rays * np.array([1, -1, 1], np.float32)
        mirrored[..., 0] += ripples
        mirrored[..., 1] += np.abs(ripples)
        rays = np.where(water[..., None], mirrored, rays)
        again = _reach(start, rays, view.oval)
        reach = np.where(water, to_water + again, reach)
        hit = start + np.where(water, again, reach)[..., None] * rays
    else:
        hit = eye + reach[..., None] * rays
    # component by component: sums over an axis of three are slow
    across, down = hit[..., 0], hit[..., 1] / np.float32(view.oval**2)
    length = np.sqrt(rays[..., 0] ** 2 + rays[..., 1] ** 2 + rays[..., 2] ** 2)
    towards = np.abs(across * rays[..., 0] + down * rays[..., 1])
    facing = towards / (np.hypot(across, down) * length)
    return Hits(
        np.arctan2(hit[..., 1] / view.oval, hit[..., 0]),
        np.clip(hit[..., 2], 0, FARTHEST),
        np.minimum(reach * length, FARTHEST),
        np.clip(facing, 0.01, 1),
        water,
    )


def _reach(start: Map, rays: Map, oval: float) -> Map:
    """How often each ray fits between its start in the pipe and the wall."""
    across, down = rays[..., 0], rays[..., 1] / np.float32(oval)
    x, y = start[..., 0], start[..., 1] / np.float32(oval)
    a = np.maximum(across**2 + down**2, 1e-6)
    b = across * x + down * y
    c = np.minimum(x**2 + y**2 - 1, 0)
    return (np.sqrt(b * b - a * c) - b) / a


def fractal(rng: Generator, size: int, roughness: float) -> Map:
    """Noise about 0 with a spread of 1 that goes on at its opposite edge, shape (size, size):
    clouds at a roughness of 2, fine grain at 0.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)) * size
    strength = np.maximum(frequency, 1) ** -roughness
    strength[0, 0] = 0
    white = rng.standard_normal((size, size), np.float32)
    noise = np.fft.irfft2(np.fft.rfft2(white) * strength.astype(np.float32), (size, size))
    return (noise / noise.std()).astype(np.float32)


def wrapped(noise: Map, angle: Map, z: Map, *, turns: int = 1) -> Map:
    """The noise laid around the wall `turns` times, as far along it as around it."""
    size = noise.shape[0]
    scale = np.float32(size * turns / (2 * math.pi))
    x, y = np.mod(angle * scale, size), np.mod(z * scale, size)
    return cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def finish_photo(rng: Generator, canvas: Map, height: int, width: int) -> NDArray[np.uint8]:
    """The photo of a canvas of linear light: exposed by what is on it, a little blurred, noisy."""
    light = cv2.GaussianBlur(canvas, (0, 0), canvas.shape[1] * rng.uniform(0.0008, 0.002))
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA)
    glow = cv2.GaussianBlur(light, (0, 0), 0.04 * width)
    light = light + rng.uniform(0, 0.07) * glow
    exposure = rng.uniform(0.55, 1.25) / max(float(np.percentile(light, 85)), 1e-6)
    grey = (1 - np.exp(-exposure * light)) ** np.float32(1 / rng.uniform(1.4, 1.9))
    grey *= _vignette(rng, height, width)[..., None]
    middle = grey.mean(axis=-1, keepdims=True)
    grey = middle + (grey - middle) * np.float32(rng.uniform(0.7, 1.25))
    noise = rng.normal(0, rng.uniform(0.004, 0.02), grey.shape)
    noise += rng.normal(0, rng.uniform(0.002, 0.012), grey.shape[:2])[..., None]
    return np.rint(np.clip(grey + noise, 0, 1) * 255).astype(np.uint8)


def _vignette(rng: Generator, height: int, width: int) -> Map:
    """How much of the light the lens lets through; some lenses show their round edge."""
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    far = np.hypot(xs - width / 2, ys - height / 2) / np.float32(math.hypot(width, height) / 2)
    dark = 1 - np.float32(rng.uniform(0.1, 0.45)) * far**2.5
    if rng.uniform() < 0.15:
        dark *= 1 / (1 + np.exp((far - np.float32(rng.uniform(0.86, 0.95))) * 60))
    return dark


def write_caption(rng: Generator, photo: NDArray[np.uint8]) -> None:
    """What an inspection camera writes over its picture: how far it has come, date and time."""
    height, width = photo.shape[:2]
    far = f"{rng.uniform(0, 99):05.1f}m"
    day = f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.20{rng.integers(10, 25)}"
    time = f"{rng.integers(7, 18):02d}:{rng.integers(60):02d}"
    colour = ((255, 255, 255), (250, 240, 120), (160, 255, 170))[rng.integers(3)]
    scale = width / 800
    thick = max(1, round(width / 400))
    top, bottom = round(height * 0.06), round(height * 0.965)
    places = [(far, 0.02, bottom), (f"{day} {time}", 0.02, top), (far, 0.83, top)]
    for text, x, y in (places[:2], places[1:], places[:1])[rng.integers(3)]:
        place = (round(x * width), y)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(photo, text, place, font, scale, (0, 0, 0), thick + 1, cv2.LINE_AA)
        cv2.putText(photo, text, place, font, scale, colour, thick, cv2.LINE_AA)
