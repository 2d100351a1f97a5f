"""Measure the input pipeline of training beside the usual one, which decodes every epoch again."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from scripts.bench.measure import Table, draw_images
from segtf.data.augment import augmenter
from segtf.data.batches import training_batches
from segtf.data.records import load_splits, loading, own_shards
from segtf.data.sampling import Sampler
from segtf.run.config import TrainConfig
from segtf.run.size import describe
from voc_builder.base.progress import note
from voc_builder.build import BuildConfig, build
from voc_builder.pixels.png import grey_mask
from voc_builder.tree.voc import Dataset

SECONDS = 3.0  # that each pipeline runs in each round
WARM_UP = 2  # batches that are not timed


def our_batches(config: TrainConfig, dataset: Dataset, disk: Path) -> Callable[[], Any]:
    """Starts the pipeline of `segtf.train` at its second epoch, when all images are decoded."""
    (split,) = load_splits(dataset, ("train",), loading(config, disk))
    count = len(dataset.splits["train"])
    sampler = Sampler(split, config, len(dataset.classes), own_shards(config), count)
    return lambda: training_batches(sampler, range(sampler.steps_per_epoch, 10**6))


def usual_batches(config: TrainConfig, dataset: Dataset, folder: Path) -> Callable[[], Any]:
    """Starts a pipeline that reads and decodes with TensorFlow, resizes with `tf.image.resize` and
    augments with albumentations in a `numpy_function`. `folder` gets grey masks, as TensorFlow
    decodes no class ids from palette PNG.
    """
    folder.mkdir()
    ids, shape = dataset.splits["train"], config.shape
    change, numbers = augmenter(config.augment, shape), itertools.count()
    for image_id in ids:
        grey = grey_mask(dataset.mask(image_id).read_bytes())
        (folder / f"{image_id}.png").write_bytes(grey)
    images = [str(dataset.image(image_id)) for image_id in ids]
    masks = [str(folder / f"{image_id}.png") for image_id in ids]

    def read(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels = tf.io.decode_jpeg(tf.io.read_file(image), channels=3)
        pixels = tf.cast(tf.round(tf.image.resize(pixels, shape)), tf.uint8)
        ids = tf.io.decode_png(tf.io.read_file(mask), channels=1)
        return pixels, tf.image.resize(ids, shape, method="nearest")[..., 0]

    def augment(image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.numpy_function(
            lambda image, mask: change(image, mask, next(numbers)), [image, mask], (tf.uint8,) * 2
        )

    return lambda: (
        tf.data.Dataset.from_tensor_slices((images, masks))
        .shuffle(len(ids))
        .repeat()
        .map(read, num_parallel_calls=tf.data.AUTOTUNE)
        .map(augment, num_parallel_calls=tf.data.AUTOTUNE)
        .batch(config.batch)
        .prefetch(tf.data.AUTOTUNE)
    )


def samples_per_second(batches: Any) -> float:
    """Takes batches for `SECONDS`, at least one."""
    endless = iter(batches)
    for _ in range(WARM_UP):
        next(endless)
    started, samples = time.perf_counter(), 0
    while not samples or time.perf_counter() - started < SECONDS:
        samples += len(next(endless)[0])
    return samples / (time.perf_counter() - started)


def measure_input(
    config: TrainConfig, folder: Path, *, image_size: int, count: int, rounds: int
) -> Table:
    """Samples per second of both pipelines, by turns, from `count` drawn images of `image_size` and
    from as many of half that size. `config` has the training size, batch and augmentation.
    """
    sides = {}
    for size in (image_size, image_size // 2):
        drawn = draw_images(folder / f"drawn-{size}", count, size)
        dataset = build(BuildConfig(drawn, folder / str(size), split="100/0/0"))
        sides["usual", size] = usual_batches(config, dataset, folder / f"grey-{size}")
        sides["segtf", size] = our_batches(config, dataset, folder / f"disk-{size}")
    speeds: dict[tuple[str, int], list[float]] = {side: [] for side in sides}
    for number in range(rounds):
        note(f"input: round {number + 1} of {rounds}")
        for side, batches in sides.items():
            speeds[side].append(samples_per_second(batches()))
    median = {side: statistics.median(found) for side, found in speeds.items()}
    gains = {size: median["segtf", size] / median["usual", size] for _, size in median}
    return Table(
        title=f"Input pipeline alone: {describe(config.shape)}, {config.augment} augmentation",
        columns=("images", "segtf.train, samples/s", "usual way, samples/s", "gain"),
        rows=tuple(
            (
                f"{size} x {size}",
                f"{median['segtf', size]:.0f}",
                f"{median['usual', size]:.0f}",
                f"{gain:.1f} x",
            )
            for size, gain in gains.items()
        ),
        note=f"Medians of {rounds} rounds. Target: 5 x from the larger images.",
        figures={
            "gain": gains[image_size],
            "samples_per_second": {
                f"{name} {size}": found for (name, size), found in speeds.items()
            },
        },
    )
