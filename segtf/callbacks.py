"""What happens between epochs: averaged weights, best network, backup, overlays, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from segtf.data import Split
from voc_builder.colours import voc_colours
from voc_builder.files import replacing
from voc_builder.images import encode_jpeg
from voc_builder.overlay import draw_overlay
from voc_builder.progress import note

STATE = "state.json"
OVERLAYS_A_RUN = 12  # pictures of training's progress


class Pace(keras.callbacks.Callback):
    """Adds `learning_rate`, `seconds` (the whole epoch) and `images_per_second` (of training)."""

    def __init__(self, images: int) -> None:
        super().__init__()
        self.images = images  # an epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.begun = time.perf_counter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        logs["learning_rate"] = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
        logs["seconds"] = round(time.perf_counter() - self.begun, 3)
        logs["images_per_second"] = round(self.images / (self.trained - self.begun), 3)


class AveragedWeights(keras.callbacks.SwapEMAWeights):
    """Validates with the moving average of the weights, and leaves that average in `network`.

    The weights of single steps swing with the few photos of each batch, and validation with them;
    their average over the last epochs does not (Polyak and Juditsky 1992).
    """

    def __init__(self, network: keras.Model) -> None:
        super().__init__()
        self.network = network  # float32, its own weights

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        self.network.set_weights(self.model.get_weights())
        super().on_test_end(logs)


class BestModel(keras.callbacks.Callback):
    """Saves `network` whenever `val_miou` is the highest so far; stops training after `patience`
    epochs without a higher one (0: never).
    """

    def __init__(self, network: keras.Model, path: Path, patience: int) -> None:
        super().__init__()
        self.network = network  # what validation has just measured
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
            with replacing(self.path) as beside:
                self.network.save(beside)
        elif self.patience and epoch - self.best_epoch >= self.patience:
            note(f"no better val_miou since epoch {self.best_epoch + 1}: stopped early")
            self.model.stop_training = True


def has_backup(folder: Path) -> bool:
    """Whether a whole epoch was ever backed up there."""
    return (folder / STATE).is_file()


class Backup(keras.callbacks.Callback):
    """Keeps what is needed to go on after the last whole epoch: weights, optimiser, best score.

    The state names its weights and is written after them, so that a run which is killed at any
    moment finds a pair that belongs together.
    """

    def __init__(self, folder: Path, best: BestModel) -> None:
        super().__init__()
        self.folder = folder
        self.best = best

    def restore(self, model: keras.Model, epochs: int) -> int:
        """Sets `model` and the best score to their last state; returns the epoch to begin with,
        `epochs` if training had stopped early.
        """
        if not has_backup(self.folder):
            return 0
        state = json.loads(self.state_file.read_text(encoding="utf-8"))
        model.load_weights(self.folder / state["weights"])
        self.best.best, self.best.best_epoch = state["best"], state["best_epoch"]
        return epochs if state["stopped"] else int(state["epochs"])

    @property
    def state_file(self) -> Path:
        return self.folder / STATE

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        if not np.isfinite(logs["loss"]):
            return
        weights = self.folder / f"epoch-{epoch + 1:04d}.weights.h5"
        with replacing(weights) as beside:
            named = beside.with_name(f"{beside.name.removesuffix('.h5')}.weights.h5")
            self.model.save_weights(named)
            named.rename(beside)
        state = {
            "epochs": epoch + 1,
            "weights": weights.name,
            "best": self.best.best,
            "best_epoch": self.best.best_epoch,
            "stopped": self.model.stop_training,
        }
        with replacing(self.state_file) as beside:
            beside.write_text(json.dumps(state), encoding="utf-8")
        for old in self.folder.glob("*.weights.h5"):
            if old != weights:
                old.unlink()


class Overlays(keras.callbacks.Callback):
    """Draws the same few photos of a split as training goes on, truth above prediction."""

    def __init__(
        self,
        network: keras.Model,
        split: Split,
        classes: Sequence[str],
        folder: Path,
        epochs: int,
        photos: int = 4,
    ) -> None:
        super().__init__()
        self.network = network  # what validation has just measured
        self.classes = classes
        self.folder = folder
        self.every = -(-epochs // OVERLAYS_A_RUN)
        # the photos with the most classes, the smallest objects first among equals
        richness = [(-len(np.unique(m)), int((m > 0).sum())) for m in split.masks]
        chosen = sorted(range(len(split)), key=lambda i: richness[i])[:photos]
        self.images, self.masks = split.images[chosen], split.masks[chosen]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch % self.every and epoch + 1 != self.params["epochs"]:
            return
        colours = voc_colours(len(self.classes))
        strips = []
        for image, mask in zip(self.images, self.masks, strict=True):
            probabilities = ops.convert_to_numpy(self.network(image[None], training=False))[0]
            prediction = probabilities.argmax(-1).astype(np.uint8)
            drawn = [draw_overlay(image, m, self.classes, colours) for m in (mask, prediction)]
            strips.append(np.vstack(drawn))
        with replacing(self.folder / f"epoch-{epoch + 1:04d}.jpg") as beside:
            beside.write_bytes(encode_jpeg(np.hstack(strips)))


class Progress(keras.callbacks.Callback):
    """A bar with the time left on a terminal; a line an epoch everywhere."""

    def __init__(self, best: BestModel) -> None:
        super().__init__()
        self.best = best

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        from tqdm import tqdm

        self.bar = tqdm(
            total=self.params["steps"], disable=not sys.stderr.isatty(), unit="step", leave=False
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.bar.reset()
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.bar.disable:
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}" if logs else "", refresh=False)
            self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        left = logs["seconds"] * (self.params["epochs"] - epoch - 1)
        note(
            f"epoch {epoch + 1}/{self.params['epochs']}: loss {logs['loss']:.4f}, "
            f"val_loss {logs['val_loss']:.4f}, val_miou {logs['val_miou']:.4f} "
            f"(best {self.best.best:.4f} in epoch {self.best.best_epoch + 1}), "
            f"{logs['seconds']:.1f} s, at most {_minutes(left)} left"
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.bar.close()


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
