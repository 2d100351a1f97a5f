"""Augment image and mask together; pixels that a rotation uncovers are void in the mask."""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Sequence

import numpy as np

from segtf.data.crops import Image, Mask
from segtf.data.pipelines import load_pipeline
from segtf.run.size import HeightWidth


def augmenter(augment: str, shape: HeightWidth) -> Callable[[Image, Mask, int], tuple[Image, Mask]]:
    """A function (image, mask, seed) that applies a preset or a file to images of that shape; the
    same seed gives the same result in any thread. Raises `UserError` as `load_pipeline` does.
    """
    pipeline = load_pipeline(augment, shape)
    local = threading.local()  # a pipeline's random state must not be shared between threads

    def change(image: Image, mask: Mask, seed: int) -> tuple[Image, Mask]:
        if not pipeline.transforms:
            return image, mask
        if not hasattr(local, "pipeline"):
            local.pipeline = copy.deepcopy(pipeline)  # the file may have changed since
        # one stream for all: set_random_seed would give each transform the same numbers, so that
        # one is applied if and only if all others are
        local.pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
        changed = local.pipeline(image=image, mask=mask)
        return np.ascontiguousarray(changed["image"]), np.ascontiguousarray(changed["mask"])

    return change


def mosaic(samples: Sequence[tuple[Image, Mask]], rng: np.random.Generator) -> tuple[Image, Mask]:
    """An image and its mask made of four of one size: the upper left part of the first, the upper
    right of the second, the lower left of the third, the lower right of the fourth, none moved or
    resized. They meet at a point drawn uniformly from the middle half of height and width. Raises
    ValueError for samples that are not four of one size.
    """
    shapes = [(image.shape[:2], mask.shape) for image, mask in samples]
    if len(samples) != 4 or len({shape for pair in shapes for shape in pair}) != 1:
        raise ValueError(f"a mosaic takes four images and masks of one size. Received: {shapes}")
    height, width = shapes[0][1]
    y = int(rng.integers(height // 4, height - height // 4, endpoint=True))
    x = int(rng.integers(width // 4, width - width // 4, endpoint=True))
    image, mask = (np.empty_like(part) for part in samples[0])
    up, down, left, right = slice(y), slice(y, None), slice(x), slice(x, None)
    places = ((up, left), (up, right), (down, left), (down, right))
    for place, (one_image, one_mask) in zip(places, samples, strict=True):
        image[place], mask[place] = one_image[place], one_mask[place]
    return image, mask
