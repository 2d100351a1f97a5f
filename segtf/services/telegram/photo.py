"""Cut one photo that a stranger sent out of its background: encoded photo in, PNG out."""

from __future__ import annotations

import io
from dataclasses import dataclass

import cv2
from PIL import Image

from segtf.inference.prediction import ask
from segtf.inference.predictor import Predictor
from segtf.outputs.matting import cut_out
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image, quiet_pillow
from voc_builder.pixels.overlay import count_ids

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")  # what OpenCV decodes too
UNREADABLE = (
    "Sorry, I can't read this image: it may be damaged, or of a kind that I don't know. Please "
    "save it as JPEG or PNG and send it again."
)
TOO_MANY_PIXELS = (
    "This photo has {:.1f} megapixels, and I take {:g} at most. Please save it smaller, or send "
    "it as a photo instead of a file."
)


class Refused(Exception):
    """A photo that its sender can do something about: the text tells him what."""


@dataclass(frozen=True)
class CutPhoto:
    """A photo without its background, and what it shows."""

    png: bytes  # RGBA at the photo's size; empty where there is nothing but background
    shares: tuple[tuple[str, float], ...]  # of the area, 0 to 1, in the order of the classes


def cut_photo(predictor: Predictor, encoded: bytes, *, megapixels: float) -> CutPhoto:
    """What stays of an encoded photo without class 0. Raises `Refused` for what cannot be decoded
    and for more than `megapixels`, by its header.
    """
    _refuse_large(encoded, megapixels)
    try:
        photo = decode_image(encoded, "photo")
    except UserError:
        raise Refused(UNREADABLE) from None
    answer = ask(predictor, photo, background=True)
    assert answer.background is not None
    pixels = count_ids(answer.mask)[: len(predictor.classes)]
    shares = tuple(zip(predictor.classes, (pixels / pixels.sum()).tolist(), strict=True))
    cut = cut_out(photo, answer.background[..., None])
    if not cut[..., 3].any():
        return CutPhoto(b"", shares)
    encoded_png = cv2.imencode(".png", cv2.cvtColor(cut, cv2.COLOR_RGBA2BGRA))[1]
    return CutPhoto(encoded_png.tobytes(), shares)


def _refuse_large(encoded: bytes, megapixels: float) -> None:
    quiet_pillow()
    try:
        with Image.open(io.BytesIO(encoded), formats=FORMATS) as image:
            width, height = image.size
    except Exception:  # Pillow raises whatever a broken header makes it stumble over
        raise Refused(UNREADABLE) from None
    if width * height > megapixels * 1e6:
        raise Refused(TOO_MANY_PIXELS.format(width * height / 1e6, megapixels))
