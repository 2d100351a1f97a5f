"""What happens between epochs: scores of each class, best network, backup, overlays, progress."""

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

from segtf import metrics
from segtf.data import Split
from voc_builder.colours import VOID, voc_colours
from voc_builder.files import replacing
from voc_builder.images import encode_jpeg
from voc_builder.overlay import draw_overlay
from voc_builder.progress import note

STATE = "state.json"
OVERLAYS_A_RUN = 12  # pictures of training's progress


class ConfusionCounts(keras.metrics.Metric):
    """The confusion matrix of what was seen since the last reset; its result is the mean IoU."""

    def __init__(self, classes: int, name: str = "miou") -> None:
        super().__init__(name=name)
        self.classes = classes
        # int64: a float32 stops counting single pixels at 16.7 million
        self.counts = self.add_variable((classes, classes), "zeros", dtype="int64", name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        prediction = ops.cast(ops.reshape(ops.argmax(y_pred, axis=-1), (-1,)), "int32")
        unknown = self.classes**2  # one bin more, for void
        pair = ops.where(truth == VOID, unknown, truth * self.classes + prediction)
        # not bincount: XLA cannot compile it
        seen = ops.segment_sum(ops.ones_like(pair), pair, num_segments=unknown + 1)[:unknown]
        self.counts.assign_add(ops.reshape(ops.cast(seen, "int64"), self.counts.shape))

    def result(self) -> Any:
        counts = ops.cast(self.counts, "float32")
        tp = ops.diagonal(counts)
        union = ops.sum(counts, axis=0) + ops.sum(counts, axis=1) - tp
        present = ops.cast(union > 0, "float32")
        return ops.sum(tp / ops.maximum(union, 1.0)) / ops.maximum(ops.sum(present), 1.0)

    def numpy(self) -> metrics.Counts:
        """The counts so far, int64, shape (C, C), rows the truth."""
        return np.asarray(ops.convert_to_numpy(self.counts), np.int64)

    def get_config(self) -> dict[str, Any]:
        return {"classes": self.classes, "name": self.name}


class PerClassIoU(keras.callbacks.Callback):
    """Adds `iou_CLASS`, `val_iou_CLASS` and `val_dice` to every epoch's logs, from one confusion
    matrix each for training and validation.
    """

    def __init__(self, counts: ConfusionCounts, classes: Sequence[str]) -> None:
        super().__init__()
        self.counts = counts
        self.classes = classes
        self.training: metrics.Counts | None = None

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.training = self.counts.numpy()  # validation resets them

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None and self.training is not None
        validation = self.counts.numpy()
        for prefix, counts in (("", self.training), ("val_", validation)):
            logs[f"{prefix}miou"] = metrics.miou(counts)
            scores = zip(self.classes, metrics.iou(counts), strict=True)
            logs.update({f"{prefix}iou_{name}": float(score) for name, score in scores})
        logs["val_dice"] = metrics.mean(metrics.dice(validation))


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
        self.begun, self.first = time.perf_counter(), -1

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.first = epoch if self.first < 0 else self.first
        self.bar.reset()
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.bar.disable:
            self.bar.set_postfix_str(f"loss {logs['loss']:.3f}" if logs else "", refresh=False)
            self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        done = epoch + 1 - self.first
        left = (time.perf_counter() - self.begun) / done * (self.params["epochs"] - epoch - 1)
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
