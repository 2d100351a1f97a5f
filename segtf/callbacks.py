"""What happens between epochs: averaged weights, best network, backup, overlays, progress."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from segtf.data import Split
from segtf.devices import alone
from voc_builder.colours import voc_colours
from voc_builder.files import naming, replacing
from voc_builder.images import encode_jpeg
from voc_builder.overlay import draw_overlay
from voc_builder.progress import note

STATE = "state.json"
PLATEAU_STATE = ("best", "wait", "cooldown_counter")  # of keras.callbacks.ReduceLROnPlateau
OVERLAYS_A_RUN = 12  # pictures of training's progress
BYTES_A_NUMBER, HDF5_BYTES = 4, 2**20  # of weights in a file, and of the names around them


class Trainer(keras.Model):
    """A model that knows how long its training steps waited for input."""

    waited = 0.0  # seconds since it was last set to 0
    train_function: Callable[..., Any] | None

    def make_train_function(self, force: bool = False) -> None:
        if self.train_function is not None and not force:
            return
        super().make_train_function(force)
        step: Any = self.train_function

        def timed(*state_and_batches: Any) -> Any:
            """A step whose batch is fetched here and not inside the compiled function."""
            *state, batches = state_and_batches
            begun = time.perf_counter()
            batch = next(batches)
            self.waited += time.perf_counter() - begun
            return step(*state, iter((batch,)))

        self.train_function = timed


class Pace(keras.callbacks.Callback):
    """Adds `learning_rate`, `seconds` (the whole epoch), `images_per_second` (of training) and
    `data_wait`, the share of training that was spent waiting for input, to every epoch's logs.
    """

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images  # a step

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
    """Keeps what validation measures as a network of its own, in float32 on one device.

    With `keras.callbacks.SwapEMAWeights` after it in the list that is the moving average of the
    weights: the weights of single steps swing with the few photos of each batch, and validation
    with them; their average does not (Polyak and Juditsky 1992).
    """

    def __init__(self, build: Callable[[], keras.Model]) -> None:
        super().__init__()
        self.build = build

    @cached_property  # at the first validation: until then training need not wait for it
    def network(self) -> keras.Model:
        """The network of the last validation; not to be trained."""
        return self.build()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.network.set_weights(self.model.get_weights())


class BestModel(keras.callbacks.Callback):
    """Saves what was measured whenever `val_miou` is the highest so far; stops training after
    `patience` epochs without a higher one (0: never). Without `path` it only judges.
    """

    def __init__(self, measured: Measured, path: Path | None, patience: int) -> None:
        super().__init__()
        self.measured = measured
        self.path = path
        self.patience = patience
        self.best = -np.inf
        self.best_epoch = -1  # from 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        if not np.isfinite(logs["loss"]):  # validation scores even a network of NaN
            return
        if logs["val_miou"] > self.best:
            self.best, self.best_epoch = logs["val_miou"], epoch
            if self.path is not None:
                with alone(), replacing(self.path) as beside:
                    self.measured.network.save(beside)
        elif self.patience and epoch - self.best_epoch >= self.patience:
            note(f"no better val_miou since epoch {self.best_epoch + 1}: stopped early")
            self.model.stop_training = True


@dataclass(frozen=True)
class Position:
    """How far a run has come."""

    epoch: int = 0  # whole epochs
    step: int = 0  # of the epoch after them
    stopped: bool = False  # by patience


def has_backup(folder: Path) -> bool:
    """Whether any training was ever backed up there."""
    return (folder / STATE).is_file()


class Backup(keras.callbacks.Callback):
    """Keeps what is needed to go on: weights, optimiser, the chance of dropout, best score, and in
    the middle of an epoch what its metrics have counted; after every epoch, and when `stop` says
    that the run must end.

    The state names its weights and is written after them, so that a run which is killed at any
    moment finds a pair that belongs together.
    """

    def __init__(
        self,
        folder: Path,
        best: BestModel,
        steps: int,
        *,
        counts: keras.metrics.Metric,
        plateau: keras.callbacks.ReduceLROnPlateau | None = None,
        stop: Callable[[], bool] = bool,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.best = best
        self.steps = steps  # an epoch
        self.counts = counts
        self.plateau = plateau
        self.stop = stop
        self.writes = writes  # one process of several does
        self.begun = Position()
        self.kept_plateau: dict[str, Any] | None = None

    def position(self) -> Position:
        """Where the run was backed up."""
        if not has_backup(self.folder):
            return Position()
        state = self._read()
        return Position(state["epochs"], state.get("step", 0), state["stopped"])

    def restore(self, model: keras.Model, position: Position) -> None:
        """Sets `model`, the best score and the plateau to their state at `position`, which is what
        was backed up; what the metrics had counted comes back with the epoch's begin.
        """
        state = self._read()
        model.load_weights(self.folder / state["weights"])
        seeds = state.get("seeds", [])  # those of the first version are not in its backups
        for variable, value in zip(_seeds(model), seeds, strict=False):
            variable.assign(np.array(value, variable.dtype))
        self.best.best, self.best.best_epoch = state["best"], state["best_epoch"]
        self.kept_plateau = state.get("plateau")
        if self.kept_plateau:
            rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
            self.kept_plateau["learning_rate"] = rate
        self.begun = position

    def _read(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.folder / STATE).read_text(encoding="utf-8"))
        return state

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.plateau is not None and self.kept_plateau:  # it has just forgotten everything
            for name in PLATEAU_STATE:
                setattr(self.plateau, name, self.kept_plateau[name])
            # an optimiser that begins with this stage would begin at the peak again
            self.model.optimizer.learning_rate = self.kept_plateau["learning_rate"]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch = epoch
        if self.begun.step and epoch == self.begun.epoch:
            counted = self._read()["metrics"]
            for variable, value in zip(self._counted(), counted, strict=True):
                variable.assign(np.array(value, variable.dtype))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.stop():
            return
        step = batch + 1 + (self.begun.step if self.epoch == self.begun.epoch else 0)
        if step < self.steps:  # else the epoch's validation comes next, and its end
            self._save(Position(self.epoch, step))
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        if np.isfinite(logs["loss"]):
            self._save(Position(epoch + 1, 0, bool(self.model.stop_training)))
        if self.stop():
            raise KeyboardInterrupt

    def _counted(self) -> list[keras.Variable]:
        """What the epoch's mean loss and scores are made of."""
        return [*self.model.metrics[0].variables, *self.counts.variables]

    def _save(self, position: Position) -> None:
        if not self.writes:
            return
        if hasattr(self.model, "jax_state_sync"):  # JAX holds the weights in the middle of an epoch
            self.model.jax_state_sync()
        name = f"epoch-{position.epoch:04d}-{position.step:05d}"
        weights = self.folder / f"{name}.weights.h5"
        with alone(), replacing(weights) as beside:
            # Keras insists on this suffix
            named = beside.with_name(f"{beside.name.removesuffix('.h5')}.weights.h5")
            try:
                self._reserve(named)
                self.model.save_weights(named)
                named.rename(beside)
            finally:
                named.unlink(missing_ok=True)
        state: dict[str, Any] = {
            "epochs": position.epoch,
            "step": position.step,
            "weights": weights.name,
            "best": self.best.best,
            "best_epoch": self.best.best_epoch,
            "stopped": position.stopped,
            "seeds": [ops.convert_to_numpy(v).tolist() for v in _seeds(self.model)],
        }
        if self.plateau is not None:
            state["plateau"] = {name: getattr(self.plateau, name) for name in PLATEAU_STATE}
        if position.step:
            state["metrics"] = [ops.convert_to_numpy(v).tolist() for v in self._counted()]
        with replacing(self.folder / STATE) as beside:
            beside.write_text(json.dumps(state), encoding="utf-8")
        for old in self.folder.glob("*.weights.h5"):
            if old != weights:
                old.unlink()

    def _reserve(self, path: Path) -> None:
        """Raises `OSError` if the disk has no room for the weights: HDF5 would find out in their
        midst, and complain again for each part of the file that it then cannot close.
        """
        variables = [*self.model.variables, *self.model.optimizer.variables]
        size = BYTES_A_NUMBER * sum(math.prod(variable.shape) for variable in variables)
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size + HDF5_BYTES)


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """How far the chance of each dropout has come, which Keras does not save with the weights."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


class Log(keras.callbacks.CSVLogger):
    """A row an epoch; names its file when it cannot be written or has vanished."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        with naming(Path(self.filename)):
            if not Path(self.filename).is_file():  # else what follows fills a folder of the name
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            super().on_epoch_end(epoch, logs)


class Overlays(keras.callbacks.Callback):
    """Draws the same few photos of a split as training goes on, truth above prediction."""

    def __init__(
        self,
        measured: Measured,
        split: Split,
        classes: Sequence[str],
        folder: Path,
        epochs: int,
        photos: int = 4,
    ) -> None:
        super().__init__()
        self.measured = measured
        self.classes = classes
        self.folder = folder
        self.epochs = epochs
        self.every = -(-epochs // OVERLAYS_A_RUN)
        # the photos with the most classes, the smallest objects first among equals
        richness = [(-len(np.unique(m)), int((m > 0).sum())) for m in split.masks]
        chosen = sorted(range(len(split)), key=lambda i: richness[i])[:photos]
        self.images = [split.images[i] for i in chosen]
        self.masks = [split.masks[i] for i in chosen]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch % self.every and epoch + 1 != self.epochs:
            return
        with alone(), replacing(self.folder / f"epoch-{epoch + 1:04d}.jpg") as beside:
            beside.write_bytes(encode_jpeg(self._drawn()))

    def _drawn(self) -> NDArray[np.uint8]:
        colours = voc_colours(len(self.classes))
        strips = []
        for image, mask in zip(self.images, self.masks, strict=True):
            probabilities = ops.convert_to_numpy(
                self.measured.network(image[None], training=False)
            )[0]
            prediction = probabilities.argmax(-1).astype(np.uint8)
            drawn = [draw_overlay(image, m, self.classes, colours) for m in (mask, prediction)]
            strips.append(np.vstack(drawn))
        return np.hstack(strips)


class Progress(keras.callbacks.Callback):
    """A bar with the time left on a terminal; a line an epoch everywhere."""

    def __init__(self, best: BestModel, epochs: int) -> None:
        super().__init__()
        self.best = best
        self.epochs = epochs  # of the run: Keras knows those of a stage

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
