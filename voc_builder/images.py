"""Decode a photo as every part of the program sees it: upright RGB, 8 bits a channel."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.command import UserError


def decode_image(encoded: bytes, name: str) -> NDArray[np.uint8]:
    """RGB of an encoded photo, shape (height, width, 3), values 0 to 255, turned as its EXIF says;
    grey is repeated, alpha dropped, 16 bits cut to 8. Raises `UserError` naming `name`.
    """
    image = None
    if encoded:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise UserError(f"{name}: not a photo that can be decoded: save it again as JPEG or PNG")
    return image.astype(np.uint8, copy=False)


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The photo at (height, width): by area when it shrinks, cubic when it grows."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] * image.shape[1] > height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


def resize_mask(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Class ids at (height, width), each pixel that of the nearest one: no new id appears."""
    if mask.shape[:2] == (height, width):
        return mask
    how = cv2.INTER_NEAREST_EXACT
    return cv2.resize(mask, (width, height), interpolation=how).astype(np.uint8, copy=False)
