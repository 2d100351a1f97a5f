"""One confusion matrix; every score is a pure function of it.

`counts` is int64, shape (C, C), rows the truth, columns the prediction, in pixels without void.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voc_builder.base.colours import VOID

BLOCK = 2**22  # pixels that are counted at once: int64 pairs of them are 32 MB

Counts = NDArray[np.int64]
Scores = NDArray[np.float64]


def confusion(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> Counts:
    """Pixels of each true and predicted class; `truth` and `prediction` are class ids of the same
    shape; void pixels of the truth are left out. Raises ValueError for an id that is no class.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"shapes differ. Received: {truth.shape} and {prediction.shape}")
    counts = np.zeros(classes**2, np.int64)
    flat, predicted = truth.ravel(), prediction.ravel()
    for start in range(0, truth.size, BLOCK):
        true, other = flat[start : start + BLOCK], predicted[start : start + BLOCK]
        known = true != VOID
        pairs = true[known].astype(np.int64) * classes + other[known]
        if pairs.size and (true[known].max() >= classes or other[known].max() >= classes):
            raise ValueError(f"class ids must be under {classes}")
        counts += np.bincount(pairs, minlength=classes**2)
    return counts.reshape(classes, classes)


def iou(counts: Counts) -> Scores:
    """tp / (tp + fp + fn) of each class, shape (C,); NaN for a class neither true nor predicted."""
    tp = np.diag(counts)
    return share(tp, counts.sum(0) + counts.sum(1) - tp)


def dice(counts: Counts) -> Scores:
    """2 tp / (2 tp + fp + fn) of each class, shape (C,); NaN for a class neither true nor
    predicted.
    """
    return share(2 * np.diag(counts), counts.sum(0) + counts.sum(1))


def pixel_accuracy(counts: Counts) -> float:
    """Share of pixels with the right class; NaN without pixels."""
    return float(share(np.trace(counts), counts.sum()))


def iou_micro_imagewise(images: Iterable[Counts]) -> float:
    """IoU of each image with tp, fp and fn summed over its classes, mean over the images: the score
    of remote sensing (`reduction="micro-imagewise"` of segmentation_models.pytorch). An image of
    void alone has none; NaN without images.
    """
    hits = np.array([(np.trace(counts), counts.sum()) for counts in images]).reshape(-1, 2)
    # every wrong pixel is a fp of one class and a fn of another
    return mean(share(hits[:, 0], 2 * hits[:, 1] - hits[:, 0]))


def mean(scores: Scores) -> float:
    """Mean over the classes that have a score; NaN if none has."""
    present = scores[~np.isnan(scores)]
    return float(present.mean()) if present.size else float("nan")


def miou(counts: Counts) -> float:
    """Mean IoU over the classes that are there."""
    return mean(iou(counts))


def share(part: ArrayLike, whole: ArrayLike) -> Scores:
    """part / whole, broadcast; NaN without a whole."""
    above, below = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
