"""Batches of samples for training and validation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from segtf.data.crops import Image, Mask
from segtf.data.records import Split, own_shards
from segtf.data.sampling import Sampler
from segtf.run.config import TrainConfig
from segtf.run.size import HeightWidth
from voc_builder.base.colours import VOID


def training_batches(
    sampler: Sampler, steps: range, failures: list[Exception] | None = None
) -> tf.data.Dataset:
    """Batches (images, masks) of `steps`, counted from the run's first, uint8, shapes
    (B, H, W, 3) and (B, H, W), where B is this process's part of the batch. An error in a sample
    ends the batches with a TensorFlow error; the original is appended to `failures`.
    """
    count = len(sampler.own) * sampler.from_each

    def numbers(step: int) -> NDArray[np.int64]:
        return sampler.numbers(range(step, step + 1))

    return _batches(sampler.sample, numbers, steps, count, sampler.config.shape, failures)


def validation_batches(
    split: Split, config: TrainConfig, devices: int = 1, failures: list[Exception] | None = None
) -> tf.data.Dataset:
    """All (images, masks) of this process's part of a split, without augmentation, in batches of
    equal size, a multiple of its `devices`, equally many in every process; `failures` as for
    training. The last batch is padded with black images under void masks, which enter neither loss
    nor score, but the mean loss over the batches weighs it as a full one.
    """
    assert config.batch is not None
    of_shard = split.largest_shard
    steps = -(-of_shard * config.shard_count // config.batch)
    shards = len(own_shards(config))
    alike = devices // math.gcd(shards, devices)
    batch = -(-of_shard // (steps * alike)) * alike * shards
    nothing = np.zeros((*config.shape, 3), np.uint8), np.full(config.shape, VOID, np.uint8)

    def sample(index: int) -> tuple[Image, Mask]:
        return (split.images[index], split.masks[index]) if index < len(split) else nothing

    def numbers(step: int) -> NDArray[np.int64]:
        return np.arange(step * batch, (step + 1) * batch)

    return _batches(sample, numbers, range(steps), batch, config.shape, failures)


def _batches(
    sample: Callable[[int], tuple[Image, Mask]],
    numbers: Callable[[int], NDArray[np.int64]],
    steps: range,
    count: int,
    shape: HeightWidth,
    failures: list[Exception] | None,
) -> tf.data.Dataset:
    """A batch for each of `steps`, in order: the `count` samples of the step's `numbers`.

    One call makes a whole batch, several in parallel: sample by sample, TensorFlow copies each
    twice, and at 512 x 512 makes 240 samples per second instead of 660 (medium, two cores).
    """

    def batch(step: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        images = np.empty((count, *shape, 3), np.uint8)
        masks = np.empty((count, *shape), np.uint8)
        try:
            for place, number in enumerate(numbers(int(step))):
                images[place], masks[place] = sample(int(number))
        except Exception as error:
            if failures is not None:
                failures.append(error)
            raise
        return images, masks

    def shaped(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, masks = tf.numpy_function(batch, [step], (tf.uint8, tf.uint8))
        return (
            tf.ensure_shape(images, (count, *shape, 3)),
            tf.ensure_shape(masks, (count, *shape)),
        )

    return (
        tf.data.Dataset.range(steps.start, steps.stop)
        .map(shaped, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .prefetch(tf.data.AUTOTUNE)
    )
