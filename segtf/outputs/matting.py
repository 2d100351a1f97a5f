"""Cut an image out of its background by alpha matting: a soft edge without a colour fringe."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.base.errors import UserError

BAND = 1 / 250  # largest half width of the soft edge, as a fraction of the image's side
NARROWEST = 1.5  # pixels that the half width may always have
SHARPER = 1.5  # how much steeper opacity rises than the probability
SMOOTH = 1.2  # pixels; smooths the steps along the edge of class ids
MIXED = 3.0  # pixels from the edge in which lenses, JPEG and rough outlines mix colours


def cut_out(
    image: NDArray[np.uint8],
    prediction: NDArray[np.float32] | NDArray[np.uint8],
    background_ids: Sequence[int] = (0,),
) -> NDArray[np.uint8]:
    """RGBA, shape (H, W, 4), of an RGB image, shape (H, W, 3), in which the background is
    transparent; the colours are not multiplied by the opacity.

    `prediction` is probabilities, shape (H, W, C), or class ids, shape (H, W), `background_ids` the
    classes to remove. A pixel stays if the other classes are at least as probable as these. Opacity
    is 1 or 0 but for a narrow band along the edge, in which it follows the probability. Colours are
    the image's; along the edge, those of the background are replaced by the nearest ones of the
    foreground, and farther out all is black. Raises `UserError` without background ids,
    `ValueError` for other shapes.
    """
    if not background_ids:
        raise UserError("no class is the background, so nothing can be cut out")
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != prediction.shape[:2]:
        raise ValueError(
            "cut_out takes an image (H, W, 3) and probabilities (H, W, C) or class ids (H, W) of "
            f"one size. Received: {image.shape} and {prediction.shape}"
        )
    if prediction.ndim == 2:
        objects = 1 - np.isin(prediction, background_ids).astype(np.float32)
    else:
        objects = 1 - prediction[..., list(background_ids)].sum(-1, dtype=np.float32)
    band = max(NARROWEST, BAND * math.sqrt(objects.size))
    depth = _depth(objects >= 0.5)
    sure, farthest = max(band, MIXED), 2 * band
    colours = _without_fringe(image, depth >= sure, math.ceil(sure + farthest) + 1)
    colours[depth <= -farthest] = 0  # the background cannot be recovered from the file
    return np.dstack([colours, np.rint(255 * _opacity(objects, depth, band)).astype(np.uint8)])


def encode_cutout(image: NDArray[np.uint8], background: NDArray[np.float32]) -> bytes:
    """The PNG of an RGB image, shape (H, W, 3), cut out of its background, of which `background` is
    the probability, shape (H, W), 0 to 1: RGBA as of `cut_out`.
    """
    rgba = cut_out(image, background[..., None])
    return cv2.imencode(".png", cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def _depth(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels to the edge, negative outside, shape (H, W)."""
    sides = (
        cv2.distanceTransform(side.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for side in (inside, ~inside)
    )
    within, without = (np.maximum(np.asarray(side, np.float32) - 0.5, 0) for side in sides)
    return within - without


def _opacity(
    objects: NDArray[np.float32], depth: NDArray[np.float32], band: float
) -> NDArray[np.float32]:
    """0 to 1, shape (H, W): follows the probability of objects; where that changes too slowly, the
    depth, which reaches 1 and 0 a band and a pixel from the edge.
    """
    smooth = np.asarray(cv2.GaussianBlur(objects, (0, 0), SMOOTH), np.float32)
    alpha = 0.5 + SHARPER * (smooth - 0.5)
    least, most = (0.5 + 0.5 * (depth + pixel) / band for pixel in (-1, 1))
    alpha = np.where(depth > 0, np.maximum(alpha, least), np.minimum(alpha, most))
    return np.clip(alpha, 0, 1)


def _without_fringe(
    image: NDArray[np.uint8], sure: NDArray[np.bool_], reach: int
) -> NDArray[np.uint8]:
    """The image with each channel clipped to the range of the `sure` pixels, shape (H, W), up to
    `reach` pixels away; unchanged if there are none.
    """
    own = sure[..., None]
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    low = np.asarray(cv2.erode(np.where(own, image, np.uint8(255)), square), np.uint8)
    high = np.asarray(cv2.dilate(np.where(own, image, np.uint8(0)), square), np.uint8)
    return np.where(own | (low > high), image, np.minimum(np.maximum(image, low), high))
