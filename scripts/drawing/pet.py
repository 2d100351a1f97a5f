"""Draw cats and dogs: a skeleton in a pose, a coat in the colours of a breed, fur hair by hair.

A pet's space is that of `draw_balls`, its unit about the height of a middling pet; y is 0 on the
ground. Colours are RGB, 0 to 255.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from scripts.drawing.balls import Limb, Points

Pose = Literal["standing", "sitting", "lying"]
Colour = tuple[int, int, int]
POSES: tuple[Pose, ...] = ("standing", "sitting", "lying")

GINGER, CREAM, WHITE, BLACK = (186, 116, 58), (218, 198, 162), (232, 229, 222), (38, 36, 37)
GREY, BROWN, TAN, RUSSET = (118, 119, 122), (98, 66, 44), (176, 136, 92), (132, 72, 40)


@dataclass(frozen=True)
class Breed:
    """What pets of one name have in common; lengths in the unit of a pet."""

    name: str  # of a cat with a capital, as Oxford-IIIT Pet has it
    coats: tuple[tuple[Colour, Colour], ...]  # ground and markings, one pair is chosen
    pattern: Literal["plain", "stripes", "patches", "points", "spots", "saddle"]
    hair: float
    ears: Literal["pointed", "hanging", "folded"]
    muzzle: float
    legs: float
    stout: float  # half of the body's height
    tail: Literal["long", "bushy", "curled", "short"]

    @property
    def cat(self) -> bool:
        return self.name[0].isupper()


BREEDS = (
    Breed("Ginger", ((GINGER, (150, 82, 36)), (CREAM, GINGER)), "stripes", 0.045,
          "pointed", 0.05, 0.42, 0.2, "long"),
    Breed("Persian", ((WHITE, WHITE), (GREY, (84, 85, 90)), (CREAM, TAN)), "plain", 0.11,
          "pointed", 0.02, 0.34, 0.25, "bushy"),
    Breed("Siamese", ((CREAM, (58, 46, 42)), ((226, 214, 192), BROWN)), "points", 0.03,
          "pointed", 0.06, 0.45, 0.17, "long"),
    Breed("Tabby", ((GREY, (62, 60, 60)), (TAN, (72, 54, 40))), "stripes", 0.05,
          "pointed", 0.05, 0.42, 0.2, "long"),
    Breed("beagle", ((WHITE, RUSSET), (WHITE, BLACK)), "saddle", 0.035,
          "hanging", 0.2, 0.46, 0.22, "short"),
    Breed("dalmatian", ((WHITE, BLACK), (WHITE, BROWN)), "spots", 0.028,
          "hanging", 0.22, 0.6, 0.22, "short"),
    Breed("husky", ((WHITE, (70, 72, 78)), (WHITE, BLACK), (CREAM, RUSSET)), "saddle", 0.075,
          "pointed", 0.2, 0.55, 0.24, "curled"),
    Breed("pug", ((TAN, (46, 40, 38)), (CREAM, BLACK)), "points", 0.03,
          "folded", 0.06, 0.34, 0.25, "curled"),
    Breed("retriever", ((GINGER, GINGER), (CREAM, CREAM), (BLACK, BLACK)), "plain", 0.085,
          "hanging", 0.2, 0.56, 0.24, "bushy"),
    Breed("terrier", ((BROWN, BLACK), (WHITE, TAN), (GREY, BLACK)), "patches", 0.075,
          "folded", 0.16, 0.38, 0.2, "short"),
)  # fmt: skip

FURRY = ("body", "head", "muzzle", "ear", "leg", "paw", "tail")


@dataclass(frozen=True)
class Pet:
    """One animal."""

    breed: Breed
    limbs: tuple[Limb, ...]
    head: Points  # the middle of its skull, shape (3,)


def limb(stuff: str, points: list[tuple[float, float, float]], *radii: float) -> Limb:
    """A limb through the points, of these radii there."""
    return Limb(np.array(points, float), np.array(radii, float), stuff)


def pose_pet(rng: Generator, breed: Breed, pose: Pose, gaze: float) -> Pet:
    """A pet of the breed, no two quite alike; `gaze`: how far its head is turned from the body."""
    legs = breed.legs * rng.uniform(0.9, 1.1)
    stout = breed.stout * rng.uniform(0.88, 1.15)
    build = {"standing": _standing, "sitting": _sitting, "lying": _lying}[pose]
    body, neck, rump = build(rng, legs, stout)
    cos, sin = np.cos(gaze), np.sin(gaze)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    size = rng.uniform(0.92, 1.1) * (1.0 if breed.cat else 1.1)
    head = [
        Limb(one.points @ turn.T * size + neck, one.radii * size, one.stuff)
        for one in _head(rng, breed)
    ]
    return Pet(breed, (*body, *_tail(rng, breed, pose, rump), *head), neck)


Built = tuple[list[Limb], Points, Points]  # limbs, where the head sits, where the tail begins


def _standing(rng: Generator, legs: float, stout: float) -> Built:
    half, spine, apart = rng.uniform(0.42, 0.52), -(legs + stout * 0.7), stout * 0.55
    steps = rng.uniform(-0.13, 0.13, 4)
    back = [(-half, spine, 0), (0, spine + 0.03, 0), (half, spine, 0)]
    body = [
        limb("body", back, stout * 0.85, stout * 0.88, stout),
        limb("body", [(half, spine, 0), (half + 0.17, spine - 0.26, 0)], stout * 0.8, stout * 0.6),
    ]
    for side, step in zip((-apart, apart), steps[:2], strict=True):
        x = half - 0.02
        upper = [(x, spine + 0.08, side), (x + step * 0.4, -legs * 0.5, side)]
        body.append(limb("leg", [*upper, (x + step, -0.07, side)], stout * 0.5, 0.085, 0.06))
        paw = [(x + step, -0.05, side), (x + step + 0.07, -0.045, side)]
        body.append(limb("paw", paw, 0.06, 0.055))
    for side, step in zip((-apart, apart), steps[2:], strict=True):
        x = -half + 0.02
        knee, hock = (x + 0.07, -legs * 0.62, side), (x - 0.1 + step, -legs * 0.32, side)
        foot = x + step - 0.04
        leg = [(x, spine + 0.05, side), knee, hock, (foot, -0.07, side)]
        body.append(limb("leg", leg, stout * 0.7, 0.12, 0.062, 0.055))
        paw = [(foot, -0.05, side), (foot + 0.08, -0.045, side)]
        body.append(limb("paw", paw, 0.055, 0.055))
    neck = np.array([half + 0.24, spine - 0.36 + rng.uniform(-0.04, 0.12), 0])
    return body, neck, np.array([-half - stout * 0.7, spine - stout * 0.25, 0])


def _sitting(rng: Generator, legs: float, stout: float) -> Built:
    tall, apart = legs + stout * 1.1, stout * 0.5
    back = [(-0.24, -stout, 0), (-0.12, -tall * 0.65, 0), (0.12, -tall, 0)]
    body = [
        limb("body", back, stout * 1.05, stout * 1.02, stout * 0.9),
        limb("body", [(0.12, -tall, 0), (0.22, -tall - 0.2, 0)], stout * 0.8, stout * 0.65),
    ]
    for side in (-1, 1):
        z, forward = side * apart, 0.24 + rng.uniform(-0.03, 0.05)
        front = [(0.15, -tall * 0.82, z), (forward - 0.02, -tall * 0.4, z), (forward, -0.07, z)]
        body.append(limb("leg", front, stout * 0.5, 0.085, 0.06))
        body.append(limb("paw", [(forward, -0.05, z), (forward + 0.07, -0.045, z)], 0.062, 0.058))
        haunch = [(-0.22, -stout * 0.9, z * 1.5), (0.04, -0.2, z * 1.9)]
        body.append(limb("leg", haunch, stout * 0.8, 0.11))
        body.append(limb("paw", [(-0.05, -0.06, z * 2), (0.16, -0.05, z * 2)], 0.06, 0.056))
    neck = np.array([0.26 + rng.uniform(-0.03, 0.05), -tall - 0.3, 0])
    return body, neck, np.array([-0.24 - stout * 0.9, -0.1, 0])


def _lying(rng: Generator, legs: float, stout: float) -> Built:
    half, up, apart = rng.uniform(0.4, 0.5), rng.uniform(0.18, 0.34), stout * 0.7
    back = [(-half, -stout, 0), (0, -stout * 1.02, 0), (half, -stout * 1.1, 0)]
    chest = (half, -stout * 1.15, 0)
    body = [
        limb("body", back, stout * 0.95, stout * 0.95, stout),
        limb("body", [chest, (half + 0.14, -stout - up, 0)], stout * 0.85, stout * 0.6),
    ]
    for side in (-1, 1):
        z, reach = side * apart, rng.uniform(0.3, 0.45)
        arm = [(half, -stout * 0.7, z), (half + 0.15, -0.09, z), (half + reach, -0.06, z)]
        body.append(limb("leg", arm, stout * 0.5, 0.085, 0.06))
        paw = [(half + reach, -0.055, z), (half + reach + 0.06, -0.05, z)]
        body.append(limb("paw", paw, 0.06, 0.056))
        haunch = [(-half, -stout * 0.8, z * 1.1), (-half + 0.22, -0.15, z * 1.5)]
        body.append(limb("leg", haunch, stout * 0.85, 0.11))
        paw = [(-half + 0.2, -0.06, z * 1.6), (-half + 0.4, -0.05, z * 1.6)]
        body.append(limb("paw", paw, 0.06, 0.055))
    neck = np.array([half + 0.2, -stout - up - 0.1, 0])
    return body, neck, np.array([-half - stout * 0.85, -0.1, 0])


def _tail(rng: Generator, breed: Breed, pose: Pose, rump: Points) -> list[Limb]:
    lift = rng.uniform(-0.1, 0.45) if pose == "standing" else 0.0
    low, aside = -0.05 - rump[1], rng.uniform(-0.25, 0.25)  # y that lies on the ground
    if breed.tail == "short":
        ways, radii = [(0, 0, 0), (-0.12, -0.1 - lift / 4, 0)], (0.06, 0.035)
    elif breed.tail == "curled":
        ways = [(0, 0, 0), (-0.1, -0.15, 0), (0.02, -0.28, 0.02), (0.13, -0.17, 0.06)]
        radii = (0.06, 0.07, 0.07, 0.05)
    else:
        thick = 0.085 if breed.tail == "bushy" else 0.042
        middle, end = (-0.22, -lift / 2, 0), (-0.42, -lift * 1.4, aside)
        if pose != "standing":
            middle, end = (-0.2, low, aside), (-0.42, low, aside * 2)
        ways, radii = [(0, 0, 0), middle, end], (0.05, thick, thick * 0.6)
    return [Limb(np.array(ways, float) + rump, np.array(radii), "tail")]


def _head(rng: Generator, breed: Breed) -> list[Limb]:
    """A head that looks along x, its skull about the origin."""
    skull = 0.19
    cheeks = 0.13 if breed.cat else 0.1
    reach, drop = skull * 0.75 + breed.muzzle, 0.07
    nose = 0.026 if breed.cat else 0.042
    eye = 0.046 if breed.cat else 0.036
    tip, blunt = reach + skull * 0.36, skull * (0.36 if breed.cat else 0.42)
    lips = [(tip - skull * 0.03, drop + 0.015, 0), (tip - skull * 0.16, drop + 0.055, 0)]
    parts = [
        limb("head", [(0, 0, 0)], skull),
        limb("muzzle", [(skull * 0.4, drop * 0.6, 0), (reach, drop, 0)], skull * 0.6, blunt),
        limb("nose", [(tip, drop - 0.03, 0)], nose),
        limb("mouth", lips, 0.008, 0.008),
    ]
    if rng.uniform() < 0.3 and not breed.cat:
        tongue = [(reach + 0.02, drop + 0.06, 0), (reach + 0.04, drop + 0.15, 0)]
        parts.append(limb("tongue", tongue, 0.03, 0.032))
    for side in (-1, 1):
        parts.append(limb("head", [(0.07, 0.07, side * 0.08)], cheeks))
        x, y, z = skull * 0.82, -skull * 0.22, side * skull * 0.48
        parts.append(limb("lid", [(x - 0.012, y - 0.004, z)], eye * 1.08))
        parts.append(limb("eye", [(x, y, z)], eye))
        parts.append(limb("pupil", [(x + eye * 0.72, y, z)], eye * (0.42 if breed.cat else 0.55)))
        parts.append(limb("glint", [(x + eye * 1.15, y - eye * 0.42, z)], eye * 0.2))
        parts += _ear(breed, skull, side)
    return parts


def _ear(breed: Breed, skull: float, side: int) -> list[Limb]:
    z = side * skull
    if breed.ears == "hanging":
        ways = [(-0.02, -skull * 0.6, z * 0.8), (-0.01, -0.02, z * 1.12), (0.03, skull * 0.7, z)]
        return [limb("ear", ways, 0.05, 0.075, 0.045)]
    if breed.ears == "folded":
        ways = [(-0.02, -skull * 0.75, z * 0.6), (0.0, -skull * 1.15, z * 0.85),
                (0.09, -skull * 0.8, z * 0.95)]  # fmt: skip
        return [limb("ear", ways, 0.06, 0.05, 0.02)]
    ways = [(-0.03, -skull * 0.7, z * 0.55), (-0.03, -skull * 1.65, z * 0.75)]
    inner = [(0.02, -skull * 0.85, z * 0.57), (-0.015, -skull * 1.5, z * 0.73)]
    return [limb("ear", ways, 0.085, 0.012), limb("inner ear", inner, 0.048, 0.01)]
