"""Put a pet into a place and take a photo of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.balls import Array, View, cast_shadow
from scripts.drawing.fur import draw_pet
from scripts.drawing.pet import POSES, Breed, Pet, pose_pet
from scripts.drawing.scenery import draw_place

PET, BACKGROUND, BORDER = 1, 2, 3  # values of a trimap
PORTRAITS = 0.35  # share of photos that are of the head above all


@dataclass(frozen=True)
class Shot:
    """A photo, RGB of shape (H, W, 3), and where on it the pet is, shape (H, W)."""

    photo: NDArray[np.uint8]
    pet: NDArray[np.bool_]


def take_photo(rng: Generator, breed: Breed, height: int, width: int) -> Shot:
    """A photo of a pet of the breed in some pose and place."""
    place = draw_place(rng, height, width)
    turn = rng.uniform(-0.3, np.pi / 2)
    gaze = rng.uniform(-0.4, 1.2 if turn < 0.7 else 0.3)
    pet = pose_pet(rng, breed, POSES[rng.integers(len(POSES))], gaze)
    if rng.uniform() < PORTRAITS:
        view = _near(rng, pet, height, width, turn)
        photo = cv2.GaussianBlur(place.photo, (0, 0), rng.uniform(0.3, width / 90))
    else:
        view = _far(rng, height, width, place.front, turn)
        photo = place.photo
    cast_shadow(photo, view.x, view.y, view.scale * 0.6)
    inside = draw_pet(rng, photo, pet, view, place.lamp)
    photo = _develop(rng, photo)
    if rng.uniform() < 0.5:
        photo, inside = photo[:, ::-1], inside[:, ::-1]
    return Shot(np.ascontiguousarray(photo), np.ascontiguousarray(inside))


def _far(rng: Generator, height: int, width: int, front: float, turn: float) -> View:
    """The whole pet, or nearly."""
    scale = min(height * 0.85, width / 1.5) * rng.uniform(0.55, 1.05)
    return View(width * rng.uniform(0.36, 0.6), front, scale, turn, rng.uniform(0.05, 0.4))


def _near(rng: Generator, pet: Pet, height: int, width: int, turn: float) -> View:
    """The head, and of the body what fits."""
    scale = min(height, width) * rng.uniform(1.0, 1.9)
    there = View(0, 0, scale, turn, rng.uniform(0.0, 0.35))
    x, y, _ = there.axes @ pet.head * scale
    middle = width * rng.uniform(0.38, 0.62), height * rng.uniform(0.38, 0.55)
    return View(middle[0] - x, middle[1] - y, scale, turn, there.nod)


def _develop(rng: Generator, photo: Array) -> NDArray[np.uint8]:
    """What lens, exposure and sensor add."""
    photo = cv2.GaussianBlur(photo, (0, 0), rng.uniform(0.3, 0.9))
    photo = 128 + (photo - 128) * rng.uniform(0.8, 1.15) + rng.normal(0, 12)
    photo = photo * rng.uniform(0.94, 1.06, 3) + rng.normal(0, rng.uniform(1, 6), photo.shape)
    return np.clip(np.rint(photo), 0, 255).astype(np.uint8)


def draw_trimap(inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """1 where the pet is, 2 where it is not, 3 in a band along its outline that is a few pixels
    wide on either side, shape (H, W). Hairs that stand out alone are not outlined.
    """
    half = max(1, round(max(inside.shape) / 160))
    tuft = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * half + 1, 2 * half + 1))
    solid = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_OPEN, tuft)
    trimap = np.where(cv2.dilate(solid, tuft) > 0, BORDER, BACKGROUND)
    trimap[cv2.erode(solid, tuft) > 0] = PET
    return trimap.astype(np.uint8)
