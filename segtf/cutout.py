"""Cut what a photo shows out of its background: RGBA with a soft edge and without a fringe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.errors import UserError

BAND = 1 / 250  # half the width of the soft edge, of the photo's side
NARROWEST = 1.5  # pixels, of the same
SHARPER = 1.5  # how much steeper opacity rises than the probability does
SMOOTH = 1.2  # pixels; takes the steps off the edge of class ids
REACH = 3  # bands from which colours are taken


def cut_out(
    photo: NDArray[np.uint8],
    prediction: NDArray[np.float32] | NDArray[np.uint8],
    background_ids: Sequence[int] = (0,),
) -> NDArray[np.uint8]:
    """RGBA, shape (H, W, 4), of an RGB photo, shape (H, W, 3), in which the background is
    transparent; the colours are not multiplied by the opacity.

    `prediction` is probabilities, shape (H, W, C), or class ids, shape (H, W), `background_ids` the
    classes that vanish. A pixel stays where something else is at least as probable as they are.
    Opacity is 1 and colours are the photo's, and opacity is 0 and colours are black, but for a band
    along the edge, in which opacity follows the probability and colours are freed of the
    background's. Raises `UserError` without background ids, `ValueError` for other shapes.
    """
    if not background_ids:
        raise UserError("no class is the background, so there is nothing to cut out of")
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.shape[:2] != prediction.shape[:2]:
        raise ValueError(
            "cut_out takes a photo (H, W, 3) and probabilities (H, W, C) or class ids (H, W) of "
            f"one size. Received: {photo.shape} and {prediction.shape}"
        )
    if prediction.ndim == 2:
        objects = 1 - np.isin(prediction, background_ids).astype(np.float32)
    else:
        objects = 1 - prediction[..., list(background_ids)].sum(-1, dtype=np.float32)
    band = max(NARROWEST, BAND * math.sqrt(objects.size))
    depth = _depth(objects >= 0.5) / band
    alpha = _opacity(objects, depth)
    colours = _without_fringe(photo, depth, band)
    colours[depth <= -2] = 0  # nothing of the background is left to be seen by other programs
    return np.dstack([colours, np.rint(255 * alpha).astype(np.uint8)])


def _depth(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far pixels lie from the edge, negative outside, shape (H, W)."""
    sides = (
        cv2.distanceTransform(side.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (inside, ~inside)
    )
    within, without = (np.maximum(np.asarray(side, np.float32) - 0.5, 0) for side in sides)
    return within - without


def _opacity(objects: NDArray[np.float32], depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """0 to 1, shape (H, W), of the probability of objects and the depth in bands: all and nothing
    beyond one band from the edge, however unsure the network is there, and no step on the way.
    """
    smooth = np.asarray(cv2.GaussianBlur(objects, (0, 0), SMOOTH), np.float32)
    alpha = 0.5 + SHARPER * (smooth - 0.5)
    return np.clip(alpha, np.clip(depth, 0, 1), np.clip(1 + depth, 0, 1))


def _without_fringe(
    photo: NDArray[np.uint8], depth: NDArray[np.float32], band: float
) -> NDArray[np.uint8]:
    """The photo with the colours along the edge, shape (H, W, 3), brought into the range that those
    deeper inside have nearby, channel by channel.
    """
    sure = (depth >= 1)[..., None]
    reach = math.ceil(REACH * band)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    low = cv2.erode(np.where(sure, photo, 255), kernel)
    high = cv2.dilate(np.where(sure, photo, 0), kernel)
    free = sure | (low > high)  # nothing is sure nearby
    return np.where(free, photo, np.clip(photo, low, np.maximum(low, high)))
