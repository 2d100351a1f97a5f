"""Take a photo of drawn land from above: season, sun and shadows, haze, the camera."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.belt import smooth_noise
from scripts.drawing.land import WATER, Land, Plane

FINE = 2  # land is drawn so many times finer than its photos
# what each season makes of the colour of leaves and grass
SEASONS = ((0.94, 1.07, 0.9), (1.0, 1.0, 0.9), (1.22, 1.04, 0.78), (1.35, 1.0, 0.72))


@dataclass(frozen=True)
class Date:
    """What tells the photos of one place apart."""

    season: tuple[float, float, float]
    azimuth: float  # radians, where the sun stands
    elevation: float  # radians
    sun: float  # direct light as a share of all, 0 when overcast
    gain: float
    warmth: float  # red over blue
    haze: float  # 0 clear to 1 white
    ripple: float  # how rough the water is


def choose_dates(rng: Generator) -> list[Date]:
    """Three days of different seasons, the sun in the south or to either side of it."""
    seasons = rng.permutation(len(SEASONS))[:3]
    azimuths = rng.permutation([0.15, 0.5, 0.85]) + rng.uniform(-0.12, 0.12, 3)
    return [
        Date(
            season=SEASONS[season],
            azimuth=math.pi * azimuth,
            elevation=math.radians(rng.uniform(32, 62)),
            sun=rng.choice([0.15, rng.uniform(0.5, 0.75)], p=[0.2, 0.8]),
            gain=rng.uniform(0.8, 1.2),
            warmth=rng.uniform(0.95, 1.1),
            haze=rng.choice([0.02, rng.uniform(0.05, 0.25)]),
            ripple=rng.uniform(0.005, 0.03),
        )
        for season, azimuth in zip(seasons, azimuths, strict=True)
    ]


def cast_shadows(height: Plane, scale: float, azimuth: float, elevation: float) -> Plane:
    """1 in the sun, 0 where something higher stands before it; `scale` is pixels a metre."""
    fall = math.tan(elevation) / scale  # metres that a ray falls a pixel
    roof = height.copy()  # of the shade above each pixel
    size = height.shape[0]
    for step in range(1, int((height.max() - height.min()) / fall) + 1):
        right = round(step * math.cos(azimuth))
        down = round(step * math.sin(azimuth))
        if max(abs(right), abs(down)) >= size:
            break
        here = _overlap(down, size), _overlap(right, size)
        there = _overlap(-down, size), _overlap(-right, size)
        np.maximum(roof[here], height[there] - np.float32(step * fall), out=roof[here])
    lit = np.clip(1 - (roof - height) / 0.25, 0, 1)
    return cv2.GaussianBlur(lit, (0, 0), 0.06 * scale + 0.3)


def _overlap(shift: int, size: int) -> slice:
    """Where an array that is moved by `-shift` still has values."""
    return slice(max(0, -shift), size - max(0, shift))


def light(land: Land, date: Date) -> Plane:
    """RGB of the light on each pixel, shape (size, size, 3), near 1 on flat sunny ground."""
    scale = 1 / float(land.xs[0, 1] - land.xs[0, 0])
    down, right = np.gradient(cv2.GaussianBlur(land.height, (0, 0), 0.5))
    # walls would glare otherwise
    right, down = (np.clip(slope * scale, -1.5, 1.5) for slope in (right, down))
    flat, up = math.cos(date.elevation), math.sin(date.elevation)
    towards = up - flat * (right * math.cos(date.azimuth) + down * math.sin(date.azimuth))
    facing = np.clip(towards / np.sqrt(1 + right**2 + down**2), 0, None) / up
    shade = cast_shadows(land.height, scale, date.azimuth, date.elevation)
    sun = date.sun * facing * shade
    sky = 1 - date.sun
    blue = np.array([0.93, 1.0, 1.1])
    warm = np.array([date.warmth, 1.0, 1 / date.warmth])
    return (sun[..., None] * warm + sky * blue).astype(np.float32)


def draw_photo(rng: Generator, land: Land, date: Date, size: int) -> NDArray[np.uint8]:
    """RGB of the middle of the land on that day, shape (size, size, 3)."""
    season = np.asarray(date.season, np.float32)
    colour = land.colour * (1 + land.growth[..., None] * (season - 1))
    seen = colour * light(land, date)
    water = land.ids == WATER
    fine = land.xs.shape[0]
    waves = smooth_noise(rng, fine, fine // 3, fine // 8) + smooth_noise(rng, fine, 40, 25)
    mirror = 0.12 * (1 - date.sun) + date.ripple * waves + 0.05 * land.xs / land.xs.max()
    seen[water] += (np.array([0.8, 0.9, 1.0]) * mirror[..., None])[water]
    seen = cut_middle(cv2.GaussianBlur(seen.astype(np.float32), (0, 0), 0.7), size)
    photo = cv2.resize(seen, (size, size), interpolation=cv2.INTER_AREA).astype(np.float64)
    photo = np.clip(photo * date.gain, 0, None) ** 0.8 * 1.05
    photo += 0.15 * (photo.mean(axis=2, keepdims=True) - photo)  # cameras see paler than paint
    photo += date.haze * (np.array([0.82, 0.86, 0.9]) - photo)
    photo += rng.normal(0, rng.uniform(0.006, 0.015), photo.shape)
    return np.clip(np.rint(photo * 255), 0, 255).astype(np.uint8)


def cut_middle(plane: NDArray[Any], size: int) -> NDArray[Any]:
    """The part of a plane of the land, or of its colours, that a photo of that size shows."""
    edge = (plane.shape[0] - FINE * size) // 2
    return plane[edge : edge + FINE * size, edge : edge + FINE * size]
