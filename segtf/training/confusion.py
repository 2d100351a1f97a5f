"""Count true and predicted classes during training, and log the scores of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from segtf.scoring import metrics
from voc_builder.base.colours import VOID


class ConfusionCounts(keras.metrics.Metric):
    """The confusion matrix since the last reset; its result is the mean IoU."""

    def __init__(self, classes: int, name: str = "miou") -> None:
        super().__init__(name=name)
        self.classes = classes
        # float32 stops counting single pixels at 16.7 million, and JAX has no int64 unless asked:
        # there each count is two words, the low 32 bits and the high ones
        self.words = keras.backend.backend() == "jax"
        shape = (2, classes, classes) if self.words else (classes, classes)
        dtype = "uint32" if self.words else "int64"
        self.counts = self.add_variable(shape, "zeros", dtype=dtype, name="counts")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truth = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        prediction = ops.cast(ops.reshape(ops.argmax(y_pred, axis=-1), (-1,)), "int32")
        unknown = self.classes**2  # one bin more, for void
        pair = ops.where(truth == VOID, unknown, truth * self.classes + prediction)
        # not bincount: XLA cannot compile it
        seen = ops.segment_sum(ops.ones_like(pair), pair, num_segments=unknown + 1)[:unknown]
        self._add(ops.reshape(seen, (self.classes, self.classes)))

    def _add(self, seen: Any) -> None:
        if not self.words:
            self.counts.assign_add(ops.cast(seen, "int64"))
            return
        before, high = self.counts[0], self.counts[1]
        low = before + ops.cast(seen, "uint32")
        carry = ops.cast(low < before, "uint32")  # the sum went past 2^32 and began again at 0
        self.counts.assign(ops.stack([low, high + carry]))

    def result(self) -> Any:
        counts = ops.cast(self.counts, "float32")
        if self.words:
            counts = counts[0] + counts[1] * 2.0**32
        tp = ops.diagonal(counts)
        union = ops.sum(counts, axis=0) + ops.sum(counts, axis=1) - tp
        present = ops.cast(union > 0, "float32")
        return ops.sum(tp / ops.maximum(union, 1.0)) / ops.maximum(ops.sum(present), 1.0)

    def numpy(self) -> metrics.Counts:
        """The counts so far, int64, shape (C, C), rows the truth."""
        counts = np.asarray(ops.convert_to_numpy(self.counts), np.int64)
        return counts[0] + (counts[1] << 32) if self.words else counts

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
