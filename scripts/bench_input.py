"""Measure the input pipeline alone: images decoded once, against images decoded every epoch again.

The usual pipeline reads and decodes each image and its mask with TensorFlow, resizes them with
`tf.image.resize` and augments them with albumentations in a `numpy_function`, in parallel and with
prefetching. Both sides augment by the same code.
"""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from scripts.bench_table import Table, met
from scripts.bench_watch import draw_dataset
from segtf.data.augment import augmenter
from segtf.data.batches import training_batches
from segtf.data.records import load_splits, loading, own_shares
from segtf.data.sampling import Sampler
from segtf.run.config import TrainConfig
from segtf.run.size import describe
from voc_builder.base.progress import note
from voc_builder.pixels.png import grey_mask
from voc_builder.tree.voc import Dataset

WANTED = 5.0  # times the samples a second, at least
SAME = 1.1  # the cost of a sample may depend on the image's size by noise alone
WARM_UP = 2  # batches that are not timed


@dataclass(frozen=True)
class Speed:
    """What one side took in each round, a sample."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)  # of all cores

    @property
    def samples_a_second(self) -> float:
        """In the middle round."""
        return 1 / statistics.median(self.seconds)


def our_batches(config: TrainConfig, dataset: Dataset, disk: Path) -> Callable[[], Any]:
    """Starts the pipeline of `segtf.train` after every image was decoded: its second epoch."""
    (split,) = load_splits(dataset, ("train",), loading(config, disk))
    count = len(dataset.splits["train"])
    sampler = Sampler(split, config, len(dataset.classes), own_shares(config), count)
    return lambda: training_batches(sampler, range(sampler.steps_per_epoch, 10**6))


def usual_batches(config: TrainConfig, dataset: Dataset, folder: Path) -> Callable[[], Any]:
    """Starts the usual pipeline; `folder` gets masks that TensorFlow can decode: grey ones."""
    folder.mkdir()
    ids, shape, change = (
        dataset.splits["train"],
        config.shape,
        augmenter(config.augment, config.shape),
    )
    for image_id in ids:
        grey = grey_mask(dataset.mask(image_id).read_bytes())
        (folder / f"{image_id}.png").write_bytes(grey)
    images = [str(dataset.image(image_id)) for image_id in ids]
    masks = [str(folder / f"{image_id}.png") for image_id in ids]
    numbers = itertools.count()

    def read(photo: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.io.decode_jpeg(tf.io.read_file(photo), channels=3)
        image = tf.cast(tf.round(tf.image.resize(image, shape)), tf.uint8)
        ids = tf.io.decode_png(tf.io.read_file(mask), channels=1)
        return image, tf.image.resize(ids, shape, method="nearest")[..., 0]

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


def time_round(batches: Any, seconds: float, speed: Speed) -> None:
    """Takes batches for so many seconds, one at least."""
    endless: Iterator[Any] = iter(batches)
    for _ in range(WARM_UP):
        next(endless)
    begun, begun_cpu, samples = time.perf_counter(), time.process_time(), 0
    while not samples or time.perf_counter() - begun < seconds:
        samples += len(next(endless)[0])
    speed.seconds.append((time.perf_counter() - begun) / samples)
    speed.cpu_seconds.append((time.process_time() - begun_cpu) / samples)


def measure_input(
    config: TrainConfig, folder: Path, *, image_size: int, count: int, seconds: float, rounds: int
) -> Table:
    """Draws images of `image_size` and of half of it in `folder`, and times both sides on them by
    turns. `config` decides size, batch and augmentation.
    """
    sides, speeds = {}, {}
    for side in (image_size, image_size // 2):
        dataset = draw_dataset(folder / str(side), count, side, split="100/0/0")
        usual = usual_batches(config, dataset, folder / str(side) / "grey")
        sides["usual", side] = usual
        sides["segtf", side] = our_batches(config, dataset, folder / str(side) / "disk")
    speeds = {key: Speed() for key in sides}
    for number in range(rounds):
        for key, batches in sides.items():
            note(f"input: round {number + 1} of {rounds}, {key[0]} from {key[1]} x {key[1]}")
            time_round(batches(), seconds, speeds[key])
    return _table(config, image_size, speeds)


def _table(config: TrainConfig, large: int, speeds: dict[tuple[str, int], Speed]) -> Table:
    usual, ours = speeds["usual", large], speeds["segtf", large]
    small = speeds["segtf", large // 2]
    gain = ours.samples_a_second / usual.samples_a_second
    growth = small.samples_a_second / ours.samples_a_second
    rows = [
        (
            f"{name} from {side} x {side}",
            f"{speed.samples_a_second:.1f}",
            f"{1 / max(speed.seconds):.1f}",
            f"{1 / min(speed.seconds):.1f}",
            f"{1000 * statistics.median(speed.cpu_seconds):.1f}",
            f"{speed.samples_a_second / usual.samples_a_second:.2f} x",
        )
        for (name, side), speed in sorted(speeds.items(), key=lambda item: item[0][1:] < (large,))
    ]
    names = {f"{name} from {side}": vars(speed) for (name, side), speed in speeds.items()}
    return Table(
        title=f"Input alone: {config.augment} augmentation, {describe(config.shape)}, "
        f"{os.cpu_count()} cores",
        columns=("pipeline", "samples a second", "slowest", "fastest", "CPU, ms a sample", "gain"),
        rows=tuple(rows),
        verdict=f"Wanted: at least {WANTED:.0f} times the usual pipeline from {large} x {large}: "
        f"{met(gain, WANTED, least=True)} ({gain:.2f}). Wanted: a cost that does not grow with the "
        f"image: {met(growth, SAME)} (four times the pixels, {growth:.2f} times the time).",
        figures={"gain": gain, "growth": growth, "sides": names},
    )
