"""Boundary IoU (Cheng et al. 2021, https://arxiv.org/abs/2103.16562).

It is the IoU of the pixels within some distance of the outlines of each mask. Unlike the IoU of all
pixels it does not rise with the area of an object.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.scoring.metrics import Counts
from voc_builder.base.colours import VOID

RATIO = 0.02  # of the image's diagonal: the paper's distance


def boundary_counts(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int, *, ratio: float = RATIO
) -> Counts:
    """Pixels of each class in both boundary bands, and in either: shape (C, 2); of two masks of
    class ids of the same shape (H, W). Raises ValueError for shapes that differ.

    A pixel is in the band of its class if a pixel of another class, or the edge of the image, is at
    most `ratio` of the diagonal away (rounded, at least 1), with diagonal steps as long as straight
    ones, as in the code of the paper's authors. In void (255 in `truth`) the prediction stands for
    the truth: it makes no outline, and its pixels are not counted.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"shapes differ. Received: {truth.shape} and {prediction.shape}")
    known = truth != VOID
    reach = max(1, round(ratio * math.hypot(*truth.shape)))
    real = _band(np.where(known, truth, prediction), reach)[known]
    predicted = _band(prediction, reach)[known]
    both = np.bincount(real[real == predicted], minlength=VOID + 1)
    either = np.bincount(real, minlength=VOID + 1) + np.bincount(predicted, minlength=VOID + 1)
    return np.stack([both, either - both], axis=1)[:classes]


def _band(mask: NDArray[np.uint8], reach: int) -> NDArray[np.uint8]:
    """Class ids of the pixels with another class within `reach`; void elsewhere."""
    block = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    least, most = (
        change(mask, block, borderType=cv2.BORDER_CONSTANT, borderValue=[VOID])
        for change in (cv2.erode, cv2.dilate)  # beyond the edge is no class
    )
    return np.where((least != mask) | (most != mask), mask, VOID).astype(np.uint8)
