"""Measured costs of training: memory and time per pixel, and the stride of the finest features."""

from __future__ import annotations

import math
from typing import Literal

from segtf.run.architectures import Arch
from segtf.run.size import HeightWidth

BYTES_A_PIXEL = 5600  # measured: U-Net EfficientNet-B0 takes 5.6 GB per image of 1024 x 1024
# of the layers' outputs, which the backward pass needs again; measured on a CPU: 3.6
# (unet_plain) to 5.8 (U-Net EfficientNet-B0 at 512; 4.9 at 1024), most between 4 and 5
BYTES_A_NUMBER = 5
MEMORY_FRACTION = 0.5  # of the free memory, for a CPU: the rest is for images and other programs
GPU_FRACTION = 0.8  # the same for a GPU; XLA and cuDNN need workspace
# measured: U-Net EfficientNet-B0 takes 0.33 s per image of 256 x 256, forward and backward
SECONDS_PER_IMAGE, MEASURED_SIZE, MEASURED_CPUS = 0.33, 256, 2
MOST_CPUS = 8  # that are used well: a small batch leaves more of them idle
# fraction of a step's arithmetic; the backward pass has two products for each forward one
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

PIXELS_AT_ONCE = 1024 * 1024  # of a batch in prediction: larger ones are no faster


def images_at_once(shape: HeightWidth) -> int:
    """Images of `shape` per batch in prediction, 1 at least."""
    return max(PIXELS_AT_ONCE // math.prod(shape), 1)


def seconds_a_pixel(cpus: int, backend: Literal["tensorflow", "jax"]) -> float:
    """Seconds per pixel, forward and backward, on a CPU of so many cores."""
    speed = min(cpus, MOST_CPUS) / MEASURED_CPUS
    slower = JAX_ON_CPU if backend == "jax" else 1.0
    return SECONDS_PER_IMAGE / MEASURED_SIZE**2 / speed * slower
