"""Measure an epoch of training with everything on, against a bare `keras.Model.fit`.

Both fit the same network to the same augmented batches with the same loss in one process, by turns:
ours makes the batches as it goes, measures, logs, averages weights, saves and draws; the bare one
has them in memory, plain Adam, and nothing else. The first epoch of each, in which Keras traces, is
left out.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from scripts.bench_table import Table, met, network_name
from scripts.bench_watch import train_watched
from segtf.data.batches import training_batches, validation_batches
from segtf.data.records import load_splits, loading, own_shares
from segtf.data.sampling import Sampler
from segtf.networks.losses import SegmentationLoss
from segtf.run.config import TrainConfig
from segtf.run.size import describe
from segtf.training.confusion import ConfusionCounts
from segtf.training.prepare import prepare
from voc_builder.base.progress import note
from voc_builder.tree.voc import Dataset

WANTED = 1.05  # times the bare epoch, at most
HOOKS = ("on_epoch_begin", "on_epoch_end", "on_train_batch_end", "on_test_begin", "on_test_end")
OURS, BARE, EXTRA = "`segtf.train`, everything on", "bare `fit`", "bare `fit`, averages and counts"
COLUMNS = (
    *("side", "epoch, s", "mean", "fastest", "slowest", "training", "validation", "callbacks"),
    *("CPU, s", "ratio"),
)
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # images and masks


@dataclass(frozen=True)
class Epochs:
    """What the epochs of one side took, from the second one on."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)  # of all cores
    validation: list[float] = field(default_factory=list)
    callbacks: list[dict[str, float]] = field(default_factory=list)  # by class
    data_wait: list[float] = field(default_factory=list)  # share of training


class Clock(keras.callbacks.Callback):
    """Times whole epochs, from the end of one to the end of the next; stands last in the list."""

    def __init__(self, epochs: Epochs) -> None:
        super().__init__()
        self.epochs = epochs
        self.spent: dict[str, float] = defaultdict(float)  # in callbacks, this epoch

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.last = time.perf_counter(), time.process_time()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.validated = time.perf_counter()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.validated = time.perf_counter() - self.validated

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        now = time.perf_counter(), time.process_time()
        if epoch:
            self.epochs.seconds.append(now[0] - self.last[0])
            self.epochs.cpu_seconds.append(now[1] - self.last[1])
            self.epochs.validation.append(self.validated)
            self.epochs.callbacks.append(dict(self.spent))
            self.epochs.data_wait.append((logs or {}).get("data_wait", 0.0))
        self.last = now
        self.spent.clear()

    def beside(self, callbacks: list[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """The callbacks, timed, and this one after them."""
        return [*map(self.timed, callbacks), self]

    def timed(self, callback: keras.callbacks.Callback) -> keras.callbacks.Callback:
        """The callback itself, after what it overrides was made to tell its time."""
        for name in HOOKS:
            if getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name):
                setattr(callback, name, self._timed(callback, name))
        return callback

    def _timed(self, callback: keras.callbacks.Callback, name: str) -> Callable[..., None]:
        hook, key = getattr(callback, name), f"{type(callback).__name__}.{name}"

        @wraps(hook)
        def hook_timed(*args: Any, **others: Any) -> None:
            begun = time.perf_counter()
            hook(*args, **others)
            self.spent[key] += time.perf_counter() - begun

        return hook_timed


@dataclass(frozen=True)
class Bare:
    """A network with arrays to fit it to; traced at its first fit."""

    network: keras.Model
    training: Arrays  # of all epochs, one after the other
    validation: Arrays
    batch: int
    validation_batch: int
    epochs: int

    def fit(self, found: Epochs) -> None:
        """Adds its epochs to `found`."""
        images, masks = self.training
        # TensorFlow as it comes: `prepare` lets it rewrite no graph on a CPU
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
        self.network.fit(
            images,
            masks,
            batch_size=self.batch,
            epochs=self.epochs,
            steps_per_epoch=len(images) // self.batch // self.epochs,
            shuffle=False,
            validation_data=self.validation,
            validation_batch_size=self.validation_batch,
            verbose=0,
            callbacks=[Clock(found)],
        )


def bare_sides(config: TrainConfig, dataset: Dataset, disk: Path, *, extra: bool) -> list[Bare]:
    """The bare side and, if wanted, the one that has our optimiser's averages and our counts."""
    classes, images = len(dataset.classes), {k: len(v) for k, v in dataset.splits.items()}
    config, devices, first = prepare(config, dataset.classes, images["train"])
    assert config.batch is not None and config.learning_rate is not None
    train, val = load_splits(dataset, ("train", "val"), loading(config, disk))
    sampler = Sampler(train, config, classes, own_shares(config), images["train"])
    steps = range(config.epochs * sampler.steps_per_epoch)
    training = _in_memory(training_batches(sampler, steps))
    checks = validation_batches(val, config, devices.local)
    size = next(checks.as_numpy_iterator())[0].shape[0]
    sides = []
    for more in (False, True)[: 1 + extra]:
        network = first if not more else prepare(config, dataset.classes, images["train"])[2]
        optimizer = keras.optimizers.Adam(config.learning_rate, use_ema=more)
        metrics = [ConfusionCounts(classes)] if more else []
        loss = SegmentationLoss(config.loss)
        network.compile(optimizer, loss, metrics=metrics, jit_compile=devices.jit)
        arrays = training, _in_memory(checks)
        sides.append(Bare(network, *arrays, config.batch, size, config.epochs))
    return sides


def _in_memory(batches: Any) -> Arrays:
    images, masks = zip(*batches.as_numpy_iterator(), strict=True)
    return np.concatenate(images), np.concatenate(masks)


def measure_epochs(
    config: TrainConfig, dataset: Dataset, folder: Path, *, repeats: int, extra: bool
) -> Table:
    """Fits every side `repeats` times by turns, `config.epochs` epochs each, two at least. Scratch
    files go to `folder`; run folders too, whatever `config` says.
    """
    sides = bare_sides(config, dataset, folder / "bare", extra=extra)
    found = {name: Epochs() for name in (OURS, BARE, EXTRA)[: 1 + len(sides)]}
    for repeat in range(repeats):
        note(f"epochs: repetition {repeat + 1} of {repeats}")
        clock = Clock(found[OURS])
        here = replace(config, artifacts=folder, run=f"repeat-{repeat}")
        disk = folder / f"disk-{repeat}"
        train_watched(here, dataset, disk, clock.beside)
        for side, name in zip(sides, (BARE, EXTRA), strict=False):
            gc.collect()
            side.fit(found[name])
            note(f"{name}: {statistics.median(found[name].seconds):.2f} s an epoch")
    return _table(config, len(sides[0].training[0]) // config.epochs, found)


def _table(config: TrainConfig, images: int, found: dict[str, Epochs]) -> Table:
    bare, ours = (statistics.median(found[name].seconds) for name in (BARE, OURS))
    means = [statistics.mean(found[name].seconds) for name in (OURS, BARE)]
    rows = []
    for name, epochs in found.items():
        middle, validation = map(statistics.median, (epochs.seconds, epochs.validation))
        within = _mean_spent(epochs, of_validation=True)
        outside = _mean_spent(epochs, of_validation=False)
        validating = validation - sum(within.values())
        calls = sum(within.values()) + sum(outside.values())
        mean = statistics.mean(epochs.seconds)
        parts = (
            middle,
            mean,
            min(epochs.seconds),
            max(epochs.seconds),
            middle - validating - calls,
        )
        cpu = statistics.median(epochs.cpu_seconds)
        cells = [f"{seconds:.2f}" for seconds in (*parts, validating, calls, cpu)]
        rows.append((name, *cells, f"{middle / bare:.3f}"))
    spent = {**_mean_spent(found[OURS], True), **_mean_spent(found[OURS], False)}
    longest = sorted(spent.items(), key=lambda item: -item[1])
    told = ", ".join(f"{name} {seconds:.3f} s" for name, seconds in longest if seconds > 5e-4)
    wait = statistics.mean(found[OURS].data_wait)
    return Table(
        title=f"Epoch: {network_name(config.arch, config.encoder)}, {describe(config.shape)}, "
        f"{images} images",
        columns=COLUMNS,
        rows=tuple(rows),
        verdict=f"Wanted: at most {WANTED} times the bare epoch: {met(ours / bare, WANTED)} "
        f"({ours / bare:.3f}, medians of {len(found[OURS].seconds)} epochs). Their means, in which "
        f"the save at the end of each {config.epochs} epochs counts: {means[0] / means[1]:.3f}. "
        f"Training waited "
        f"{wait:.1%} of its time for input. Callbacks, an epoch: {told or 'nothing'}.",
        figures={
            "ratio": ours / bare,
            "ratio_of_means": means[0] / means[1],
            "callbacks": spent,
            "data_wait": wait,
            "sides": {name: vars(epochs) for name, epochs in found.items()},
        },
    )


def _mean_spent(epochs: Epochs, of_validation: bool) -> dict[str, float]:
    """Seconds an epoch in each callback: within what `Clock` times as validation, or outside."""
    names = {name for spent in epochs.callbacks for name in spent}
    return {
        name: statistics.mean(spent.get(name, 0.0) for spent in epochs.callbacks)
        for name in sorted(names)
        if name.endswith("on_test_end") == of_validation
    }
