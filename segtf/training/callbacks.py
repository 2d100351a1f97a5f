"""Callbacks: time per step, averaged weights, best network, log, overlays, progress."""

from __future__ import annotations

import errno
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from segtf.data.records import Split
from segtf.training.devices import alone
from voc_builder.base.colours import VOID, voc_colours
from voc_builder.base.files import naming, replacing, sync
from voc_builder.base.progress import note
from voc_builder.pixels.images import encode_jpeg
from voc_builder.pixels.overlay import draw_overlay

OVERLAYS_A_RUN = 12  # pictures of training's progress
OVERLAYS_TIME = 0.01  # fraction of the time that they may take


class Trainer(keras.Model):
    """Model that records how long each step waits for input."""

    waited = 0.0  # seconds, summed; the caller resets it
    train_function: Callable[..., Any] | None

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        step: Any = self.train_function

        def timed(*state_and_batches: Any) -> Any:
            """A step whose batch is fetched outside the compiled function."""
            *state, batches = state_and_batches
            begun = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - begun
            return step(*state, iter((batch,)))

        self.train_function = timed


class Pace(keras.callbacks.Callback):
    """Adds `learning_rate`, `seconds` (the whole epoch), `images_per_second` (of training) and
    `data_wait`, the fraction of training time spent waiting for input, to every epoch's logs.
    """

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images  # per step

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.begun = time.perf_counter()
        self.steps = 0
        self.model.waited = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps += 1

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.trained = time.perf_counter() - self.begun

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        logs["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs["seconds"] = round(time.perf_counter() - self.begun, 3)
        logs["images_per_second"] = round(self.steps * self.images / self.trained, 3)
        logs["data_wait"] = round(min(self.model.waited / self.trained, 1.0), 4)


class Measured(keras.callbacks.Callback):
    """Copies the validated weights to a network of its own, in float32 on one device.

    With `Averages` after it in the list these are the moving averages of the weights, which vary
    less from batch to batch than the weights themselves (Polyak and Juditsky 1992).
    """

    def __init__(self, build: Callable[[], keras.Model]) -> None:
        super().__init__()
        self.build = build

    @cached_property  # built at the first validation, so that training starts without it
    def network(self) -> keras.Model:
        """The network of the last validation; not for training."""
        return self.build()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.network.set_weights(self.model.get_weights())


class Averages(keras.callbacks.SwapEMAWeights):
    """Validates with the moving averages of the weights.

    On TensorFlow Keras swaps them by adding and subtracting, for several replicas: three operations
    per weight and a rounding error. One replica needs neither.
    """

    def _tf_swap_variables(self, optimizer: keras.optimizers.Optimizer) -> None:
        if self.model.distribute_strategy.num_replicas_in_sync > 1:
            super()._tf_swap_variables(optimizer)
        else:
            self._backend_swap_variables(optimizer)


class Log(keras.callbacks.CSVLogger):
    """A row per epoch, in UTF-8; an error names the file."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        path = Path(self.filename)
        with naming(path):
            self.append_header = not (self.append and path.is_file() and path.stat().st_size)
            # Keras would use the encoding of the locale, which may lack letters of class names
            self.csv_file = path.open("a" if self.append else "w", encoding="utf-8", newline="")
        self.writer = self.keys = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with naming(Path(self.filename)):
            if not Path(self.filename).is_file():  # the folder must not be created anew
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            super().on_epoch_end(epoch, logs)


class Overlays(keras.callbacks.Callback):
    """Draws the same few images of a split during training, truth above prediction: about a dozen
    times per run, less often where that would take more than a hundredth of the time.
    """

    def __init__(
        self,
        measured: Measured,
        split: Split,
        classes: Sequence[str],
        folder: Path,
        epochs: int,
        images: int = 4,
    ) -> None:
        super().__init__()
        self.measured = measured
        self.classes = classes
        self.folder = folder
        self.epochs = epochs
        self.every = -(-epochs // OVERLAYS_A_RUN)
        # the images with the most classes, the smallest objects first among equals
        known = [np.bincount(m.ravel(), minlength=VOID + 1)[:VOID] for m in split.masks]
        richness = [(-np.count_nonzero(pixels), pixels[1:].sum()) for pixels in known]
        chosen = sorted(range(len(split)), key=lambda i: richness[i])[:images]
        self.images = [split.images[i] for i in chosen]
        self.masks = [split.masks[i] for i in chosen]
        self.cost, self.drawn = 0.0, -math.inf  # seconds of the last drawing, and when it ended

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        soon = time.monotonic() - self.drawn < self.cost * (1 / OVERLAYS_TIME - 1)
        if epoch + 1 != self.epochs and (epoch % self.every or soon):
            return
        if self.drawn == -math.inf:
            with alone():
                self._predict(self.images[0])  # compiles the network once; not counted as cost
        begun = time.monotonic()
        with alone(), replacing(self.folder / f"epoch-{epoch + 1:04d}.jpg") as beside:
            beside.write_bytes(encode_jpeg(self._picture()))
        self.drawn = time.monotonic()
        self.cost = self.drawn - begun

    def _picture(self) -> NDArray[np.uint8]:
        colours = voc_colours(len(self.classes))
        strips = []
        for image, truth in zip(self.images, self.masks, strict=True):
            masks = (truth, self._predict(image))
            drawn = [draw_overlay(image, mask, self.classes, colours) for mask in masks]
            strips.append(np.vstack(drawn))
        return np.hstack(strips)

    def _predict(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class ids, shape (H, W), of one image, by the compiled network: an eager call keeps the
        output of every layer, 1.6 GB per image of 1024 x 1024.
        """
        (probabilities,) = self.measured.network.predict_on_batch(image[None])
        return np.asarray(probabilities).argmax(-1).astype(np.uint8)


class Progress(keras.callbacks.Callback):
    """A progress bar on a terminal; a line per epoch everywhere."""

    def __init__(self, best: BestModel, epochs: int) -> None:
        super().__init__()
        self.best = best
        self.epochs = epochs  # of the run, not of a stage as in Keras

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        from tqdm import tqdm

        self.bar = tqdm(
            total=self.params["steps"], disable=not sys.stderr.isatty(), unit="step", leave=False
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.reset()
        self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.bar.disable:
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}" if logs else "", refresh=False)
            self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        left = logs["seconds"] * (self.epochs - epoch - 1)
        note(
            f"epoch {epoch + 1}/{self.epochs}: loss {logs['loss']:.4f}, "
            f"val_loss {logs['val_loss']:.4f}, val_miou {logs['val_miou']:.4f} "
            f"(best {self.best.best:.4f} in epoch {self.best.best_epoch + 1}), "
            f"{logs['seconds']:.1f} s, at most {_minutes(left)} left"
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.close()


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


class BestModel(keras.callbacks.Callback):
    """Keeps the validated weights with the highest `val_miou` until `write` saves them; stops
    training after `patience` epochs without a higher one (0: never). Saves nothing without `path`.
    """

    def __init__(self, measured: Measured, path: Path | None, patience: int) -> None:
        super().__init__()
        self.measured = measured
        self.path = path
        self.patience = patience
        self.best = -np.inf
        self.best_epoch = -1  # from 0
        self.unsaved: list[NDArray[Any]] | None = None  # the best network's weights

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        if not np.isfinite(logs["loss"]):  # a network of NaN has validation scores too
            return
        if logs["val_miou"] > self.best:
            self.best, self.best_epoch = logs["val_miou"], epoch
            if self.path is not None:
                self.unsaved = self.measured.network.get_weights()
        elif self.patience and epoch - self.best_epoch >= self.patience:
            note(f"no better val_miou since epoch {self.best_epoch + 1}: stopped early")
            self.model.stop_training = True

    def write(self) -> None:
        """Saves the best network, unless it is saved already."""
        if self.unsaved is None or self.path is None:
            return
        network = self.measured.network
        with alone():
            last = network.get_weights()
            network.set_weights(self.unsaved)
            with replacing(self.path) as beside:
                network.save(beside)
                sync(beside)
            network.set_weights(last)
        self.unsaved = None
