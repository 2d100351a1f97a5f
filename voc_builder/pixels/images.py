"""Decode images to upright RGB with 8 bits per channel, resize them, encode them as JPEG."""

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

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")  # upper or lower case
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
JPEG_QUALITY = 98
JPEG_SIDE = 65_500  # pixels, the longest side that libjpeg writes
EXIF_ORIENTATION = 0x0112


def decode_image(encoded: bytes, name: str) -> NDArray[np.uint8]:
    """RGB of an encoded image, shape (height, width, 3), values 0 to 255, rotated by its EXIF
    orientation; grey is repeated, alpha is dropped, 16 bits are cut to 8. Raises `UserError` that
    calls the image `name`. A truncated JPEG is an error; damage inside one is not noticed, because
    libjpeg only warns of it.
    """
    # the error below says what OpenCV would print
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
    """The image at (height, width): area interpolation to shrink, cubic to enlarge."""
    if image.shape[:2] == (height, width):
        return image
    shrinks = image.shape[0] * image.shape[1] > height * width
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


def resize_mask(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Class ids at (height, width) by nearest neighbour, so that no new id appears."""
    if mask.shape[:2] == (height, width):
        return mask
    resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Header:
    """The upright size of an image; `decoded` holds its upright RGB unless the file is an upright
    grey or RGB JPEG, whose bytes can be used as they are.
    """

    height: int
    width: int
    decoded: NDArray[np.uint8] | None = None


def read_header(encoded: bytes, name: str) -> Header:
    """The header of an image. It is decoded unless it is an upright JPEG with an end marker. Raises
    `UserError` that calls the image `name` if it cannot be decoded.
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
            if JPEG_END not in encoded[-64:]:  # truncated, or followed by data of the camera
                decode_image(encoded, name)
            return Header(size[1], size[0])
    decoded = decode_image(encoded, name)
    return Header(decoded.shape[0], decoded.shape[1], decoded)


@cache
def quiet_pillow() -> None:
    """Let Pillow open images of any size without warnings about EXIF; done once, because
    `catch_warnings` changes the filters of all threads.
    """
    Image.MAX_IMAGE_PIXELS = None  # aerial images exceed the limit
    warnings.filterwarnings("ignore", module=r"PIL\.")


def encode_jpeg(image: NDArray[np.uint8], *, quality: int = JPEG_QUALITY) -> bytes:
    """RGB as JPEG without chroma subsampling; at quality 98 the loss is below camera noise. Raises
    `UserError` for a side over `JPEG_SIDE`.
    """
    height, width = image.shape[:2]
    if max(height, width) > JPEG_SIDE:
        raise UserError(
            f"an image of {width} x {height} pixels cannot become a JPEG, whose longest side is "
            f"{JPEG_SIDE}: cut the image into tiles"
        )
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    encoded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1]
    return encoded.tobytes()


def as_stored(encoded: bytes, header: Header) -> bytes:
    """The image as a VOC tree stores it: an upright JPEG unchanged, any other encoded as JPEG."""
    return encoded if header.decoded is None else encode_jpeg(header.decoded)
