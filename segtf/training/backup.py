"""Back up a run, with everything that is needed to resume it, in the middle of an epoch too."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from segtf.run.folder import BEST, STATE
from segtf.training.callbacks import BestModel
from segtf.training.devices import alone
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing, sync

PLATEAU_STATE = ("best", "wait", "cooldown_counter")  # of keras.callbacks.ReduceLROnPlateau
BYTES_A_NUMBER, HDF5_BYTES = 4, 2**20  # of weights in a file, and of their names


@dataclass(frozen=True)
class Position:
    """Progress of a run."""

    epoch: int = 0  # completed epochs
    step: int = 0  # completed steps of the next epoch
    stopped: bool = False  # by patience


def has_backup(folder: Path) -> bool:
    """Whether the folder holds a backup."""
    return (folder / STATE).is_file()


class Backup(keras.callbacks.Callback):
    """Saves what is needed to resume: weights, optimiser, random state of dropout, best score, and
    in the middle of an epoch the counts of its metrics. It saves at the end of an epoch unless that
    would take more than `fraction` of the time, at the end of the last epoch, and when `stop`
    returns true.

    The state names its weights and is written after them, so that a run killed at any moment finds
    a consistent pair.
    """

    def __init__(
        self,
        folder: Path,
        best: BestModel,
        steps: int,
        fraction: float,
        *,
        counts: keras.metrics.Metric,
        plateau: keras.callbacks.ReduceLROnPlateau | None = None,
        stop: Callable[[], bool] = bool,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.best = best
        self.steps = steps  # per epoch
        self.fraction = fraction
        self.cost, self.saved = 0.0, -math.inf  # seconds of the last saving, and when it ended
        self.counts = counts
        self.plateau = plateau
        self.stop = stop
        self.writes = writes  # true in one process only
        self.begun = Position()
        self.kept_plateau: dict[str, Any] | None = None

    def position(self) -> Position:
        """The position of the backup, the start if there is none."""
        if not has_backup(self.folder):
            return Position()
        state = self._read()
        return Position(state["epochs"], state.get("step", 0), state["stopped"])

    def restore(self, model: keras.Model, position: Position) -> None:
        """Restores `model`, the best score and the plateau to `position`, that of the backup; the
        counts of the metrics are restored at the begin of the epoch.
        """
        state = self._read()
        self._refuse_other_policy(state)
        try:
            model.load_weights(self.folder / state["weights"])
        except (OSError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.folder / state['weights']}: cannot be read: {reason}: {self._cure()}"
            ) from None
        seeds = state.get("seeds", [])  # backups of the first version have none
        for variable, value in zip(_seeds(model), seeds, strict=False):
            variable.assign(np.array(value, variable.dtype))
        self.best.best, self.best.best_epoch = state["best"], state["best_epoch"]
        self.kept_plateau = state.get("plateau")
        if self.kept_plateau:
            rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
            self.kept_plateau["learning_rate"] = rate
        self.begun = position

    def _read(self) -> dict[str, Any]:
        path = self.folder / STATE
        try:
            state: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            state["epochs"], state["weights"], state["stopped"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: damaged ({error!r}): {self._cure()}") from None
        return state

    def _cure(self) -> str:
        best = self.folder.parent / BEST
        return f"begin a run of another name with --encoder-weights {best}"

    def _refuse_other_policy(self, state: dict[str, Any]) -> None:
        """Float16 needs an optimiser that scales the loss, whose state no other can read."""
        before, now = state.get("policy"), keras.config.dtype_policy().name
        if before is not None and (before == "mixed_float16") != (now == "mixed_float16"):
            raise UserError(
                f"{self.folder}: was written in {before}, this machine computes in {now}: use "
                f"a GPU of the same kind, or {self._cure()}"
            )

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self.plateau is not None and self.kept_plateau:  # Keras has just reset it
            for name in PLATEAU_STATE:
                setattr(self.plateau, name, self.kept_plateau[name])
            # a new optimiser would start at the peak again
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
            self.best.write()
            self._save(Position(self.epoch, step))
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        if not np.isfinite(logs["loss"]):
            self.best.write()
        elif self._is_due(epoch + 1):
            begun = time.monotonic()
            self.best.write()
            self._save(Position(epoch + 1, 0, bool(self.model.stop_training)))
            self.saved = time.monotonic()
            self.cost = self.saved - begun
        if self.stop():
            raise KeyboardInterrupt

    def _is_due(self, epochs: int) -> bool:
        """Whether to save after so many epochs: always at the end of a call of `fit`, otherwise if
        the last saving took a small fraction of the time since.
        """
        ends = epochs == self.params["epochs"] or self.model.stop_training or self.stop()
        return ends or time.monotonic() - self.saved >= self.cost * (1 / self.fraction - 1)

    def _counted(self) -> list[keras.Variable]:
        """The variables behind the epoch's mean loss and scores."""
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
                sync(named)
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
            "policy": keras.config.dtype_policy().name,
            "seeds": [ops.convert_to_numpy(v).tolist() for v in _seeds(self.model)],
        }
        if self.plateau is not None:
            state["plateau"] = {name: getattr(self.plateau, name) for name in PLATEAU_STATE}
        if position.step:
            state["metrics"] = [ops.convert_to_numpy(v).tolist() for v in self._counted()]
        with replacing(self.folder / STATE) as beside:
            beside.write_text(json.dumps(state), encoding="utf-8")
            sync(beside)
        sync(self.folder)  # the new names survive a power cut before the old ones are removed
        for old in self.folder.glob("*.weights.h5"):
            if old != weights:
                old.unlink()

    def _reserve(self, path: Path) -> None:
        """Raises `OSError` if the disk has no room for the weights: HDF5 would fail halfway, and
        again for each part of the file that it then cannot close.
        """
        variables = [*self.model.variables, *self.model.optimizer.variables]
        size = BYTES_A_NUMBER * sum(math.prod(variable.shape) for variable in variables)
        with path.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size + HDF5_BYTES)


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """The random state of each dropout, which Keras does not save with the weights."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]
