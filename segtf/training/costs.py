"""What training takes, as measured: memory and time by the pixel, and the finest features."""

from __future__ import annotations

import math
from typing import Literal

from segtf.run.architectures import Arch
from segtf.run.size import HeightWidth

BYTES_A_PIXEL = 5600  # measured: U-Net EfficientNet-B0 takes 5.6 GB per image of 1024 x 1024
# of the numbers that the layers give, which the way back needs again; measured on a CPU: 3.6
# (unet_plain) to 5.8 (U-Net EfficientNet-B0 at 512; 4.9 at 1024), most between 4 and 5
BYTES_A_NUMBER = 5
SHARE_OF_MEMORY = 0.5  # of what is free, for a CPU: the rest is for images and other programs
SHARE_OF_GPU = 0.8  # of what is free; XLA and cuDNN want workspace
# measured: U-Net EfficientNet-B0 takes 0.33 s per image of 256 x 256, forward and backward
SECONDS_PER_IMAGE, MEASURED_SIZE, MEASURED_CPUS = 0.33, 256, 2
MOST_CPUS = 8  # that are counted on: a small batch leaves more of them idle
# the share of a step's arithmetic; the way back is two products for each one of the way there
FORWARD = 1 / 3
# pixels between the finest features that reach the decoder: the skip connections of unet and
# linknet begin at half the size, fpn's at a quarter, pspnet reads the encoder at an eighth
FINEST_STRIDE: dict[Arch, int] = {
    "unet_plain": 1,
    "tiny": 1,
    "unet": 2,
    "linknet": 2,
    "fpn": 4,
    "pspnet": 8,
}
JAX_ON_CPU = 14.8 / 2.6  # seconds a step of eight images of 256 x 256, over TensorFlow's


PIXELS_AT_ONCE = 1024 * 1024  # of a batch that is only predicted: larger ones are no faster


def images_at_once(shape: HeightWidth) -> int:
    """Images of `shape` in a batch that is only predicted, 1 at least."""
    return max(PIXELS_AT_ONCE // math.prod(shape), 1)


def seconds_a_pixel(cpus: int, backend: Literal["tensorflow", "jax"]) -> float:
    """Seconds that a pixel of an image takes forward and backward on a CPU of so many cores."""
    speed = min(cpus, MOST_CPUS) / MEASURED_CPUS
    slower = JAX_ON_CPU if backend == "jax" else 1.0
    return SECONDS_PER_IMAGE / MEASURED_SIZE**2 / speed * slower
