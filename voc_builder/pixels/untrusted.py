"""Check the header of an image from a stranger before anything of it is decoded."""

from __future__ import annotations

import io

from PIL import Image, UnidentifiedImageError

from voc_builder.base.errors import UserError
from voc_builder.pixels.images import quiet_pillow

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")  # Pillow's names; OpenCV decodes each
KINDS = "JPEG, PNG, WebP, TIFF, BMP or GIF"


class NotAnImage(UserError):
    """The bytes are no image of one of the `FORMATS`."""


class TooManyPixels(UserError):
    """The image is larger than allowed."""

    def __init__(self, width: int, height: int, megapixels: float) -> None:
        super().__init__(
            f"the image has {width} x {height} pixels, more than {megapixels:g} megapixels: send "
            "a smaller one"
        )
        self.megapixels = width * height / 1e6


def check_header(encoded: bytes, megapixels: float) -> int:
    """Number of pixels of an encoded image by its header. Raises `NotAnImage`, `TooManyPixels` for
    more than `megapixels`, and `UserError` if the header is damaged.
    """
    quiet_pillow()
    Image.init()  # without it Pillow knows only the most common formats
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise NotAnImage(f"this is no image that can be read: send a {KINDS}") from None
    except Exception as error:  # a broken header makes Pillow raise anything
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(f"the image is damaged or cut short: {reason}") from None
    if width * height > megapixels * 1e6:
        raise TooManyPixels(width, height, megapixels)
    return width * height
