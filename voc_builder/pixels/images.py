"""Decode an image as every part of the program sees it: upright RGB, 8 bits a channel."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voc_builder.base.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")  # in any case
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_QUALITY = 98
JPEG_SIDE = 65_500  # pixels; no longer one is written
EXIF_ORIENTATION = 0x0112


def decode_image(encoded: bytes, name: str) -> NDArray[np.uint8]:
    """RGB of an encoded image, shape (height, width, 3), values 0 to 255, turned as its EXIF says;
    grey is repeated, alpha dropped, 16 bits cut to 8. Raises `UserError` naming `name`.

    A JPEG that is cut short is found, damage in its middle is not: libjpeg only warns of that and
    paints what it can.
    """
    # what OpenCV itself would print is in the error below
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    image = None
    if encoded:
        try:
            image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
        except cv2.error as error:  # too large, by its header
            raise UserError(f"{name}: cannot be decoded: {error.err}") from None
    if image is None:
        raise UserError(
            f"{name}: not an image that can be decoded, or cut short: save it again as JPEG or PNG"
        )
    return image.astype(np.uint8, copy=False)


def resize_image(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The image at (height, width): by area when it shrinks, cubic when it grows."""
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


@dataclass(frozen=True)
class Header:
    """The upright size of an image. A JPEG that is upright and grey or RGB can be used byte for
    byte; of any other image `decoded` holds the upright RGB.
    """

    height: int
    width: int
    decoded: NDArray[np.uint8] | None = None


def read_header(encoded: bytes, name: str) -> Header:
    """The header of an image, which is decoded only if it is no upright JPEG, or one that does not
    end as JPEGs do. Raises `UserError` naming `name` if it cannot be decoded or is cut short.
    """
    if encoded.startswith(JPEG_START):
        quiet_pillow()
        try:
            with Image.open(io.BytesIO(encoded)) as image:
                upright = image.getexif().get(EXIF_ORIENTATION, 1) in (0, 1)
                plain = image.mode in ("L", "RGB")
                size = image.size
        except (OSError, SyntaxError, ValueError):  # Pillow does not know it, OpenCV may
            upright, plain, size = False, False, (0, 0)
        if upright and plain:
            if JPEG_END not in encoded[-64:]:  # cut short, or a camera wrote more behind the end
                decode_image(encoded, name)
            return Header(size[1], size[0])
    decoded = decode_image(encoded, name)
    return Header(decoded.shape[0], decoded.shape[1], decoded)


@cache
def quiet_pillow() -> None:
    """Let Pillow open an image of any size and say nothing of odd EXIF. Once for the process:
    `catch_warnings` swaps the filters of all threads.
    """
    Image.MAX_IMAGE_PIXELS = None  # an aerial image is no attack
    warnings.filterwarnings("ignore", module=r"PIL\.")


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = JPEG_QUALITY) -> bytes:
    """RGB as JPEG with colour at full resolution; at quality 98 what it loses is below camera
    noise. Raises `UserError` for a side over `JPEG_SIDE`.
    """
    height, width = image.shape[:2]
    if max(height, width) > JPEG_SIDE:
        raise UserError(
            f"a picture of {width} x {height} pixels cannot become a JPEG, which ends at "
            f"{JPEG_SIDE}: cut the image into tiles"
        )
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1]
    return encoded.tobytes()


def as_stored(encoded: bytes, header: Header) -> bytes:
    """The image as a VOC tree holds it: an upright JPEG as it came, any other image as one."""
    return encoded if header.decoded is None else encode_jpeg(header.decoded)
