"""Losses over class probabilities, void left out, as a weighted sum: `ce + dice`.

Probabilities are float32 (N, H, W, C), truth class ids (N, H, W) with 255 for void.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from segtf.loss_expression import parse_loss
from voc_builder.colours import VOID

SMALLEST = 1e-7  # probability under which the logarithm is cut off


def cross_entropy(truth: Any, probabilities: Any) -> Any:
    """Mean of -log p of the true class over the pixels that are not void; 0 if all are."""
    known, one_hot = _one_hot(truth, probabilities)
    true = ops.sum(one_hot * probabilities, axis=-1)
    log = ops.log(ops.maximum(true, SMALLEST)) * known
    return -ops.sum(log) / ops.maximum(ops.sum(known), 1.0)


def dice_loss(truth: Any, probabilities: Any) -> Any:
    """1 - 2 |A B| / (|A| + |B|), summed over the batch, mean over the classes in its truth; 0 if
    all is void (soft Dice, Milletari et al. 2016, https://arxiv.org/abs/1606.04797).
    """
    known, one_hot = _one_hot(truth, probabilities)
    probabilities = probabilities * known[..., None]
    axes = (0, 1, 2)
    area = ops.sum(one_hot, axis=axes)
    overlap = ops.sum(one_hot * probabilities, axis=axes)
    both = area + ops.sum(probabilities, axis=axes)
    present = ops.cast(area > 0, "float32")
    losses = present * (1.0 - 2.0 * overlap / ops.maximum(both, SMALLEST))
    return ops.sum(losses) / ops.maximum(ops.sum(present), 1.0)


TERMS: dict[str, Callable[[Any, Any], Any]] = {"ce": cross_entropy, "dice": dice_loss}


class SegmentationLoss(keras.losses.Loss):
    """The weighted sum that `expression` names, one number a batch."""

    def __init__(self, expression: str = "ce + dice", name: str = "loss") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.expression = expression
        self.terms = parse_loss(expression)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        value = sum(weight * TERMS[name](y_true, y_pred) for weight, name in self.terms)
        # one value of rank 1: Keras shares a mean among replicas, but not a bare number
        return ops.reshape(value, (1,))

    def get_config(self) -> dict[str, Any]:
        return {"expression": self.expression, "name": self.name}


def _one_hot(truth: Any, probabilities: Any) -> tuple[Any, Any]:
    """1.0 where the truth is known, (N, H, W), and the truth as one-hot (N, H, W, C), 0 at void."""
    truth = ops.cast(truth, "int32")
    known = ops.cast(truth != VOID, "float32")
    # an id past the last class has no one-hot, so void pixels are all zeros
    return known, ops.one_hot(truth, probabilities.shape[-1], dtype="float32")
