"""Losses over class probabilities, without void pixels, as a weighted sum: `0.7*ce + 0.3*dice`.

In every function truth is class ids (N, H, W) with 255 for void, probabilities are (N, H, W, C) in
[0, 1], cast to float32, and class weights are C positive numbers, None for all 1. The result is a
float32 scalar: 0, with a gradient of 0, if all pixels are void. `segtf.run.loss_expression` has the
parameters of an expression with their defaults and ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from segtf.run.loss_expression import parse_loss
from voc_builder.base.colours import VOID

# lower bound inside the logarithm; so low that softmax's own gradient, p, still compensates 1 / p:
# a pixel that is confidently wrong still learns
LEAST_PROBABILITY = 1e-20
NEARLY_ZERO = 1e-7  # the spacing of float32 below 1: a smaller error is rounding


def cross_entropy(
    truth: Any, probabilities: Any, class_weights: Sequence[float] | None = None
) -> Any:
    """Mean of -log p of the true class over the pixels that are not void, weighted by class: sum of
    w l / sum of w, as PyTorch's CrossEntropyLoss.
    """
    return _mean_over_pixels(_negative_log, truth, probabilities, class_weights)


def focal_loss(
    truth: Any, probabilities: Any, class_weights: Sequence[float] | None = None, *, gamma: float
) -> Any:
    """Cross-entropy times (1 - p)^gamma per pixel, which reduces the weight of easy pixels; gamma 0
    is cross-entropy (Lin et al. 2017, https://arxiv.org/abs/1708.02002; the class weights
    are its alpha).
    """

    def loss(p: Any) -> Any:
        # above 0, where a power below 1 has an infinite slope
        return ops.power(ops.maximum(1.0 - p, NEARLY_ZERO), gamma) * _negative_log(p)

    return _mean_over_pixels(loss, truth, probabilities, class_weights)


def dice_loss(truth: Any, probabilities: Any, class_weights: Sequence[float] | None = None) -> Any:
    """1 - 2 |A B| / (|A| + |B|), summed over the batch, mean over the classes in its truth (soft
    Dice, Milletari et al. 2016, https://arxiv.org/abs/1606.04797).
    """
    return tversky_loss(truth, probabilities, class_weights, alpha=0.5, beta=0.5)


def jaccard_loss(
    truth: Any, probabilities: Any, class_weights: Sequence[float] | None = None
) -> Any:
    """1 - |A B| / (|A| + |B| - |A B|), summed over the batch, mean over the classes in its truth
    (soft IoU, Rahman and Wang 2016, https://doi.org/10.1007/978-3-319-50835-1_22).
    """
    return tversky_loss(truth, probabilities, class_weights, alpha=1.0, beta=1.0)


def tversky_loss(
    truth: Any,
    probabilities: Any,
    class_weights: Sequence[float] | None = None,
    *,
    alpha: float,
    beta: float,
) -> Any:
    """1 - TI, TI = TP / (TP + alpha FP + beta FN), summed over the batch, mean over the classes in
    its truth (Salehi et al. 2017, https://arxiv.org/abs/1706.05721).
    """
    errors, present = _tversky_errors(truth, probabilities, alpha, beta)
    return _mean_over_classes(errors, present, class_weights)


def focal_tversky_loss(
    truth: Any,
    probabilities: Any,
    class_weights: Sequence[float] | None = None,
    *,
    alpha: float,
    beta: float,
    gamma: float,
) -> Any:
    """(1 - TI)^gamma of each class in the batch's truth, their mean (Abraham and Khan 2018,
    https://arxiv.org/abs/1810.07842).

    The paper writes the exponent as 1 / gamma: its 4/3 is 0.75 here, and its alpha and beta are
    swapped. Below an error of 1e-7 the power is replaced by a straight line to 0, since for
    gamma < 1 its slope is unbounded there.
    """
    errors, present = _tversky_errors(truth, probabilities, alpha, beta)
    steep = errors > NEARLY_ZERO
    power = ops.power(ops.where(steep, errors, NEARLY_ZERO), gamma)
    losses = ops.where(steep, power, errors * NEARLY_ZERO ** (gamma - 1.0))
    return _mean_over_classes(losses, present, class_weights)


def lovasz_loss(
    truth: Any, probabilities: Any, class_weights: Sequence[float] | None = None
) -> Any:
    """Lovasz-Softmax: the convex extension of 1 - IoU, mean over the classes in the batch's truth
    (Berman et al. 2018, https://arxiv.org/abs/1705.08790, algorithm 1).

    Sorts the errors of all pixels once per class, n log n: on a CPU ten times as slow as any other
    term with TensorFlow's own sort, seventy times with XLA's.
    """
    known, one_hot, probabilities = _one_hot(truth, probabilities)
    errors = one_hot + probabilities * (1.0 - 2.0 * one_hot)
    # void is sorted behind every known pixel, whose loss depends on the pixels before it
    errors = _rows(ops.where(known[..., None] > 0, errors, -1.0))
    members = _rows(one_hot)
    order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
    errors = ops.take_along_axis(errors, order, axis=-1)
    errors = ops.where(errors > -0.5, errors, 0.0)
    slopes = _jaccard_steps(ops.take_along_axis(members, order, axis=-1))
    present = ops.any(members > 0, axis=-1)
    return _mean_over_classes(ops.sum(errors * slopes, axis=-1), present, class_weights)


TERMS: dict[str, Callable[..., Any]] = {
    "ce": cross_entropy,
    "dice": dice_loss,
    "jaccard": jaccard_loss,
    "focal": focal_loss,
    "tversky": tversky_loss,
    "focal_tversky": focal_tversky_loss,
    "lovasz": lovasz_loss,
}


@keras.saving.register_keras_serializable(package="segtf")
class SegmentationLoss(keras.losses.Loss):
    """The weighted sum of `expression`, one number per batch, in float32 at any precision."""

    def __init__(
        self,
        expression: str = "ce + dice",
        class_weights: Sequence[float] | None = None,
        name: str = "loss",
    ) -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        self.expression = expression
        self.class_weights = None if class_weights is None else [float(w) for w in class_weights]
        self.terms = parse_loss(expression)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        value = sum(
            term.weight * TERMS[term.name](y_true, y_pred, self.class_weights, **term.arguments)
            for term in self.terms
        )
        # a value of rank 1: Keras averages it over replicas, but not a scalar
        return ops.reshape(value, (1,))

    def get_config(self) -> dict[str, Any]:
        return {
            "expression": self.expression,
            "class_weights": self.class_weights,
            "name": self.name,
        }


def _one_hot(truth: Any, probabilities: Any) -> tuple[Any, Any, Any]:
    """1.0 where the truth is not void, (N, H, W), the truth as one-hot (N, H, W, C), 0 at void, and
    the probabilities; all in float32.
    """
    truth = ops.cast(truth, "int32")
    known = ops.cast(truth != VOID, "float32")
    # an id past the last class has no one-hot, so void pixels are all zeros
    one_hot = ops.one_hot(truth, probabilities.shape[-1], dtype="float32")
    return known, one_hot, ops.cast(probabilities, "float32")


def _negative_log(p: Any) -> Any:
    return -ops.log(ops.maximum(p, LEAST_PROBABILITY))


def _mean_over_pixels(
    loss: Callable[[Any], Any],
    truth: Any,
    probabilities: Any,
    class_weights: Sequence[float] | None,
) -> Any:
    """Mean of `loss` of the true class's probability, weighted by class."""
    known, one_hot, probabilities = _one_hot(truth, probabilities)
    losses = loss(ops.sum(one_hot * probabilities, axis=-1))
    if class_weights is None:
        return _mean(losses, known)
    weights = _weight_vector(class_weights, probabilities.shape[-1])
    return _mean(losses, ops.sum(one_hot * weights, axis=-1))


def _mean_over_classes(losses: Any, present: Any, class_weights: Sequence[float] | None) -> Any:
    """Mean of (C,) over the classes that are present, weighted."""
    weights = ops.cast(present, "float32")
    if class_weights is not None:
        weights = weights * _weight_vector(class_weights, losses.shape[-1])
    return _mean(losses, weights)


def _mean(losses: Any, weights: Any) -> Any:
    total = ops.sum(weights)
    return ops.sum(weights * losses) / ops.where(total > 0, total, 1.0)


def _weight_vector(class_weights: Sequence[float], classes: int) -> Any:
    if len(class_weights) != classes:
        raise ValueError(
            f"class_weights must have one number for each of the {classes} classes. "
            f"Received: {list(class_weights)}"
        )
    return ops.convert_to_tensor(class_weights, dtype="float32")


def _tversky_errors(truth: Any, probabilities: Any, alpha: float, beta: float) -> tuple[Any, Any]:
    """1 - TI of each class, 0 without truth, and whether the truth has the class; both (C,)."""
    known, one_hot, probabilities = _one_hot(truth, probabilities)
    axes = (0, 1, 2)
    overlap = one_hot * probabilities
    true_positives = ops.sum(overlap, axis=axes)
    # each has its own sum: a difference of sums would round a small error to 0
    false_negatives = ops.sum(one_hot - overlap, axis=axes)
    false_positives = ops.sum((known[..., None] - one_hot) * probabilities, axis=axes)
    present = ops.any(one_hot > 0, axis=axes)
    wrong = ops.where(present, alpha * false_positives + beta * false_negatives, 0.0)
    return wrong / ops.where(present, true_positives + wrong, 1.0), present


def _rows(pixels: Any) -> Any:
    """(N, H, W, C) as (C, N H W)."""
    return ops.transpose(ops.reshape(pixels, (-1, pixels.shape[-1])))


def _jaccard_steps(members: Any) -> Any:
    """The increase of 1 - IoU of each class as the pixels become wrong one after the other.

    A member of the class (1 in `members`, (C, P)) leaves the intersection I: 1 / U. Any other joins
    the union U: I / (U (U - 1)). The differences of 1 - I / U themselves would be lost in float32.
    """
    counts = ops.cast(members, "int32")  # float32 counts to 16.7 million only
    left = ops.cumsum(counts, axis=-1)
    area = left[:, -1:]
    union = ops.cast(area + ops.cumsum(1 - counts, axis=-1), "float32")
    intersection = ops.cast(area - left, "float32")
    # only in a class without members the union is 1 here, and the intersection 0
    others = intersection / (union * ops.maximum(union - 1.0, 1.0))
    return ops.where(members > 0, 1.0 / union, others)
