"""Draw cats and dogs: a body of thick lines in a pose, a furry coat in the colours of a breed.

A body's unit is about the height of a pet; y is 0 on the ground, and its head is at the right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.shapes import (
    Image,
    Mask,
    Points,
    Shape,
    box,
    ellipse,
    fill,
    noise,
    stroke,
    take_photo,
    texture,
    turned,
)

Colour = tuple[int, int, int]
GINGER, CREAM, WHITE, BLACK = (186, 116, 58), (218, 198, 162), (232, 229, 222), (38, 36, 37)
GREY, BROWN, TAN, RUSSET = (118, 119, 122), (98, 66, 44), (176, 136, 92), (132, 72, 40)
# fabric, paint and wood; some are colours of fur too
CLOTHS = (CREAM, WHITE, GREY, BROWN, (74, 96, 130), (120, 60, 66), (96, 112, 84), (60, 66, 84),
          (196, 178, 120), (140, 160, 110), (170, 195, 220), (90, 130, 70))  # fmt: skip
PORTRAITS = 0.4  # fraction of images that show mostly the head
PET, BACKGROUND, BORDER = 1, 2, 3  # of a trimap


@dataclass(frozen=True)
class Breed:
    """Look of the pets of one breed."""

    name: str  # of a cat with a capital, as in Oxford-IIIT Pet
    coat: Colour
    marks: Colour
    pattern: Literal["plain", "stripes", "patches", "spots"]
    ears: Literal["pointed", "hanging"]

    @property
    def cat(self) -> bool:
        return self.name[0].isupper()


BREEDS = (
    Breed("Ginger", GINGER, (150, 82, 36), "stripes", "pointed"),
    Breed("Persian", GREY, (84, 85, 90), "plain", "pointed"),
    Breed("Siamese", CREAM, (58, 46, 42), "patches", "pointed"),
    Breed("Tabby", TAN, (62, 60, 60), "stripes", "pointed"),
    Breed("beagle", WHITE, RUSSET, "patches", "hanging"),
    Breed("dalmatian", WHITE, BLACK, "spots", "hanging"),
    Breed("husky", WHITE, (70, 72, 78), "patches", "pointed"),
    Breed("pug", TAN, (46, 40, 38), "plain", "hanging"),
    Breed("retriever", GINGER, CREAM, "plain", "hanging"),
    Breed("terrier", BROWN, BLACK, "patches", "hanging"),
)


@dataclass(frozen=True)
class Pose:
    """Lines of a body, each with its radius, and where the head is."""

    lines: tuple[tuple[Points, float], ...]
    head: Points


def choose_pose(rng: Generator, breed: Breed) -> Pose:
    """A pet that stands, sits or lies, no two alike."""
    legs, stout = (0.4 if breed.cat else 0.5) * rng.uniform(0.9, 1.1), rng.uniform(0.18, 0.24)
    pose, lift = rng.integers(3), rng.uniform(-0.3, 0.3)
    if pose == 0:  # standing
        back = -(legs + stout * 0.6)
        lines = [([(-0.4, back), (0.4, back)], stout), ([(0.4, back), (0.6, back - 0.25)], 0.13)]
        for x in (-0.45, -0.3, 0.3, 0.45):
            lines.append(([(x, back), (x + rng.uniform(-0.12, 0.12), -0.06)], 0.065))
        head, rump = (0.65, back - 0.35), (-0.5, back)
    elif pose == 1:  # sitting
        tall = legs + stout
        lines = [([(-0.15, -stout), (0.12, -tall)], stout * 1.1)]
        lines += [([(0.12, -tall), (0.22, -tall - 0.2)], 0.15)]
        for x in (0.12, 0.26):
            lines.append(([(0.15, -tall * 0.8), (x, -0.06), (x + 0.08, -0.05)], 0.065))
        lines.append(([(-0.15, -0.18), (0.12, -0.06)], 0.13))
        head, rump = (0.28, -tall - 0.32), (-0.3, -0.1)
    else:  # lying
        lines = [([(-0.4, -stout), (0.35, -stout * 1.1)], stout)]
        lines += [([(0.35, -stout), (0.5, -stout - 0.25)], 0.13)]
        lines += [([(0.35, -0.12), (0.75, -0.06)], 0.07), ([(-0.4, -0.14), (-0.1, -0.08)], 0.12)]
        head, rump = (0.58, -stout - 0.35), (-0.55, -0.12)
    tip = (rump[0] - 0.35, min(rump[1] + lift, -0.05))
    lines.append(([rump, ((rump[0] + tip[0]) / 2, rump[1]), tip], 0.05))
    return Pose(tuple((np.array(points), radius) for points, radius in lines), np.array(head))


def draw_head(breed: Breed, shape: Shape, middle: Points, scale: float, nod: float) -> list[Mask]:
    """Masks of skull and muzzle, of the ears, and of eyes and nose."""

    def at(*points: tuple[float, float]) -> Points:
        return middle + turned(points, nod) * scale

    def line(radius: float, *points: tuple[float, float]) -> Mask:
        return stroke(shape, at(*points), radius * scale)

    reach = 0.12 if breed.cat else 0.22
    head = line(0.2, (0, 0)) | line(0.1, (0.05, 0.05), (reach, 0.07))
    if breed.ears == "hanging":
        ears = line(0.08, (-0.13, -0.1), (-0.19, 0.18))
    else:
        ears = fill(shape, at((-0.21, -0.1), (-0.05, -0.13), (-0.13, -0.36)))
        ears |= fill(shape, at((0.02, -0.1), (0.18, -0.13), (0.1, -0.36)))
    face = line(0.04, (reach + 0.07, 0.04)) | line(0.03, (-0.01, -0.06)) | line(0.03, (0.12, -0.06))
    return [head, ears, face]


def draw_pet(
    rng: Generator, breed: Breed, height: int, width: int
) -> tuple[NDArray[np.uint8], Mask]:
    """RGB of a pet of the breed somewhere, shape (height, width, 3), and its pixels."""
    shape, pose = (height, width), choose_pose(rng, breed)
    image = draw_room(rng, shape)
    if rng.uniform() < PORTRAITS:
        scale = min(shape) * rng.uniform(1.0, 1.6)
        origin = rng.uniform((0.4, 0.4), (0.6, 0.55)) * (width, height) - pose.head * scale
    else:
        scale = min(height * 0.8, width / 1.6) * rng.uniform(0.6, 1.0)
        origin = rng.uniform((0.4, 0.82), (0.6, 0.96)) * (width, height)
    shadow = fill(shape, ellipse(origin, (0.7 * scale, 0.08 * scale), 0.0))
    image *= 1 - 0.4 * cv2.GaussianBlur(shadow.astype(np.float32), (0, 0), scale / 30)[..., None]

    middle, nod = origin + pose.head * scale, rng.uniform(-0.4, 0.4)
    head, ears, face = draw_head(breed, shape, middle, scale, nod)
    body = np.zeros(shape, np.bool_)
    for points, radius in pose.lines:
        body |= stroke(shape, origin + points * scale, radius * scale)
    pet = fringe(rng, body | head | ears, scale)
    coat = draw_coat(rng, breed, shape, scale)
    coat[ears & ~head] = 0.3 * coat[ears & ~head] + 0.5 * np.array(breed.marks)
    for part in (pet, body & ~head, head):  # darker towards the edge, so that parts look round
        depth = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 3) / (0.12 * scale)
        coat[part] *= (0.75 + 0.25 * np.clip(depth, 0, 1))[part][:, None]
    coat[face] = BLACK
    image[pet] = coat[pet]
    if rng.uniform() < 0.5:
        image, pet = image[:, ::-1], pet[:, ::-1]
    return take_photo(rng, np.ascontiguousarray(image)), np.ascontiguousarray(pet)


def fringe(rng: Generator, mask: Mask, scale: float) -> Mask:
    """The mask with tufts of hair along its outline."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.015 * scale + 0.3)
    tufts = np.clip(noise(rng, mask.shape, max(0.02 * scale, 1)), -2.5, 2.5)
    return soft + 0.15 * tufts > 0.5


def draw_coat(rng: Generator, breed: Breed, shape: Shape, scale: float) -> Image:
    """Fur of the breed all over the image."""
    strands = rng.normal(0, 1, shape)
    cv2.GaussianBlur(strands, (0, 0), 0.5, strands, sigmaY=0.02 * scale + 0.5)
    strands *= 0.18 / float(strands.std())
    coat = np.empty((*shape, 3), np.float32)
    coat[:] = np.array(breed.coat) * rng.uniform(0.9, 1.1)
    if breed.pattern == "stripes":
        columns = np.arange(shape[1]) / (0.02 * scale)
        marked = np.sin(columns + 2 * noise(rng, shape, 0.2 * scale)) > 0.4
    elif breed.pattern == "patches":
        marked = noise(rng, shape, 0.35 * scale) > 0.4
    else:
        marked = noise(rng, shape, max(0.08 * scale, 2)) > (0.9 if breed.pattern == "spots" else 9)
    coat[marked] = breed.marks
    return (coat * (1 + strands)[..., None]).astype(np.float32)


def draw_room(rng: Generator, shape: Shape) -> Image:
    """A floor, a wall or a hedge behind it, and up to three cushions and crates."""

    def cloth(depth: float) -> Image:
        colour = np.array(CLOTHS[rng.integers(len(CLOTHS))]) * rng.uniform(0.8, 1.15)
        return texture(rng, shape, colour, shape[1] / rng.uniform(4, 30), depth)

    horizon = round(shape[0] * rng.uniform(0.15, 0.55))
    image = cloth(rng.uniform(0.02, 0.12))
    image[horizon:] = cloth(rng.uniform(0.04, 0.15))[horizon:]
    for _ in range(rng.integers(0, 4)):
        middle = rng.uniform((0, horizon), shape[::-1])
        half = tuple(shape[0] * rng.uniform(0.05, 0.18, 2))
        outline = box if rng.uniform() < 0.5 else ellipse
        thing = fill(shape, outline(middle, half, rng.uniform(-0.3, 0.3)))
        image[thing] = cloth(0.04)[thing]
    return image * np.linspace(1.08, 0.92, shape[0], dtype=np.float32)[:, None, None]


def draw_trimap(pet: Mask) -> NDArray[np.uint8]:
    """1 on the pet, 2 on the background, 3 in a band a few pixels wide along the outline."""
    half = max(1, round(max(pet.shape) / 160))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * half + 1, 2 * half + 1))
    solid = cv2.morphologyEx(pet.astype(np.uint8), cv2.MORPH_OPEN, disc)
    trimap = np.where(cv2.dilate(solid, disc) > 0, BORDER, BACKGROUND)
    trimap[cv2.erode(solid, disc) > 0] = PET
    return trimap.astype(np.uint8)
