"""Change photo and mask together at random; what a rotation uncovers is void in the mask."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Literal, get_args

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for news at import

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.colours import VOID

Preset = Literal["none", "light", "medium"]
PRESETS: tuple[Preset, ...] = get_args(Preset)

Image = NDArray[np.uint8]  # (H, W, 3)
Mask = NDArray[np.uint8]  # (H, W)


def transforms(preset: Preset) -> list[A.BasicTransform]:
    """What the preset does: `light` flips and turns by quarters; `medium` also shifts, scales,
    rotates, and one of: bends, blurs, compresses, brightens.
    """
    if preset == "none":
        return []
    light = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.RandomRotate90(p=0.5)]
    if preset == "light":
        return light
    return [
        *light,
        A.Affine(
            translate_percent=(-0.06, 0.06),
            scale=(0.9, 1.1),
            rotate=(-45, 45),
            border_mode=cv2.BORDER_CONSTANT,
            fill_mask=VOID,
            p=0.7,
        ),
        A.OneOf(
            [
                A.OpticalDistortion(border_mode=cv2.BORDER_CONSTANT, fill_mask=VOID),
                A.GridDistortion(border_mode=cv2.BORDER_CONSTANT, fill_mask=VOID),
                A.GaussianBlur(),
                A.ImageCompression(quality_range=(60, 95)),
                A.RandomBrightnessContrast(),
            ],
            p=0.5,
        ),
    ]


def augmenter(preset: Preset) -> Callable[[Image, Mask, int], tuple[Image, Mask]]:
    """A function of photo, mask and seed; the same seed gives the same result in any thread."""
    local = threading.local()  # a pipeline's random state must not be shared between threads

    def augment(image: Image, mask: Mask, seed: int) -> tuple[Image, Mask]:
        if preset == "none":
            return image, mask
        if not hasattr(local, "pipeline"):
            local.pipeline = A.Compose(transforms(preset))
        # one stream for all: set_random_seed would give each transform the same numbers, so that
        # one is applied if and only if all others are
        local.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = local.pipeline(image=image, mask=mask)
        return changed["image"], changed["mask"]

    return augment
