"""Colour a pet and cover it with hair.

Photos are float32 RGB, shape (H, W, 3), 0 to 255.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from scripts.drawing.balls import Array, Surface, View, light, see, solid_noise
from scripts.drawing.pet import FURRY, Breed, Pet

STUFF = {
    "nose": (34, 26, 27),
    "mouth": (40, 24, 22),
    "tongue": (205, 105, 110),
    "lid": (30, 24, 22),
    "pupil": (12, 10, 10),
    "glint": (250, 250, 250),
    "inner ear": (196, 140, 128),
}
EYES = ((92, 60, 30), (60, 38, 22)), ((168, 158, 62), (190, 140, 40), (96, 150, 160))  # dogs, cats
SHORT = ("head", "muzzle", "ear", "paw")  # where hair is half as long


def draw_pet(
    rng: Generator, photo: Array, pet: Pet, view: View, lamp: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Paint the pet over the photo, in place; the pixels that it takes, shape (H, W)."""
    height, width = photo.shape[:2]
    surface = see(pet.limbs, view, height, width)
    stuff = np.array([*(one.stuff for one in pet.limbs), ""])[surface.limb]
    furry = np.isin(stuff, FURRY)
    colours = _coat(rng, pet.breed, surface, stuff)
    eyes = EYES[pet.breed.cat]
    for name, colour in (STUFF | {"eye": eyes[rng.integers(len(eyes))]}).items():
        colours[stuff == name] = colour
    scale = view.scale
    lit = light(surface, lamp, scale) * rng.uniform(0.85, 1.1)
    colours *= lit[..., None]
    layer = layer_of(colours, surface)
    hair = np.where(np.isin(stuff, SHORT), 0.45, 1.0) * pet.breed.hair * scale
    draw_hair(rng, layer, surface, colours, hair, furry)
    bare = (surface.limb >= 0) & ~furry
    layer[bare] = np.dstack([np.clip(colours, 0, 255), np.full_like(lit, 255)])[bare]
    lay_over(photo, layer)
    return layer[..., 3] > 127


def layer_of(colours: Array, surface: Surface) -> NDArray[np.uint8]:
    """Colours times their opacity, and the opacity, shape (H, W, 4)."""
    layer = np.dstack([np.clip(colours, 0, 255), np.full_like(surface.cover, 255)])
    return np.rint(layer * surface.cover[..., None]).astype(np.uint8)


def lay_over(photo: Array, layer: NDArray[np.uint8]) -> None:
    """Lay a layer over the photo, in place."""
    photo *= 1 - layer[..., 3:].astype(np.float32) / 255
    photo += layer[..., :3]


def _coat(rng: Generator, breed: Breed, surface: Surface, stuff: NDArray[np.str_]) -> Array:
    """The colours of the fur, unlit."""
    ground, marks = np.array(breed.coats[rng.integers(len(breed.coats))], np.float32)
    place = surface.place
    wavy = solid_noise(rng, place, 0.5)
    if breed.pattern == "stripes":
        bands = np.sin(place[..., 0] * 34 + place[..., 1] * 9 + 1.6 * wavy)
        mix = 0.8 / (1 + np.exp(-4 * (bands - 0.25)))
    elif breed.pattern == "patches":
        mix = 1 / (1 + np.exp(-14 * (solid_noise(rng, place, 0.9) - rng.uniform(-0.4, 0.4))))
    elif breed.pattern == "spots":
        mix = 1 / (1 + np.exp(-9 * (solid_noise(rng, place, 0.17) - 1.05)))
        mix = np.where(stuff == "ear", 0.9, mix)
    elif breed.pattern == "points":
        mix = np.isin(stuff, ("ear", "muzzle", "paw", "tail")) * 0.9 + 0.0 * wavy
        mix = np.where(stuff == "leg", 0.35, mix)
    elif breed.pattern == "saddle":  # dark from above, light from below
        mix = 1 / (1 + np.exp(12 * (place[..., 1] + 0.5 + 0.1 * wavy)))
        mix = np.where(np.isin(stuff, ("ear", "tail")), 0.9, mix)
        mix = np.where(stuff == "muzzle", 0.05, mix)
    else:
        mix = 0.35 / (1 + np.exp(-2 * wavy))
    colours = (
        ground + (marks - ground) * cv2.GaussianBlur(mix.astype(np.float32), (0, 0), 1)[..., None]
    )
    if breed.pattern in ("plain", "stripes", "patches") and rng.uniform() < 0.35:  # a white bib
        pale = 1 / (1 + np.exp(10 * (0.3 + 0.15 * wavy - surface.normal[..., 1])))
        pale = np.maximum(pale, np.isin(stuff, ("paw", "muzzle")))
        colours += (226 - colours) * cv2.GaussianBlur(pale.astype(np.float32), (0, 0), 1.5)[
            ..., None
        ]
    colours *= 1 + 0.06 * solid_noise(rng, place, 0.25)[..., None]
    return (colours * rng.uniform(0.88, 1.1) * rng.uniform(0.97, 1.03, 3)).astype(np.float32)


def draw_hair(
    rng: Generator,
    layer: NDArray[np.uint8],
    surface: Surface,
    colours: Array,
    lengths: Array,
    furry: NDArray[np.bool_],
) -> None:
    """Hairs along the limbs, each of the colour under its root, from the rear to the front; those
    at the rim stand out into the air. `lengths` are in pixels.
    """
    rows, columns = np.nonzero(furry & (surface.cover > 0.6))
    if not len(rows):
        return
    count = int(len(rows) * 0.7)
    chosen = rng.integers(0, len(rows), count)
    chosen = chosen[np.argsort(surface.depth[rows[chosen], columns[chosen]], kind="stable")]
    y, x = rows[chosen], columns[chosen]
    out = surface.normal[y, x, :2]
    ways = surface.flow[y, x] + 0.75 * out + (0, 0.25) + rng.normal(0, 0.3, (count, 2))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True) + 1e-6
    reach = ways * (lengths[y, x] * rng.uniform(0.4, 1.1, count))[:, None]
    tones = colours[y, x] * (1 + rng.normal(0, 0.13, (count, 1)))
    tints = np.clip(np.column_stack([tones, np.full(count, 255)]), 0, 255).round().tolist()
    starts = np.rint(np.column_stack([x, y]) * 16).astype(int)
    ends = np.rint((np.column_stack([x, y]) + reach) * 16).astype(int)
    for start, end, tint in zip(starts.tolist(), ends.tolist(), tints, strict=True):
        cv2.line(layer, start, end, tint, 1, cv2.LINE_AA, 4)
