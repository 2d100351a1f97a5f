"""Cut one image that a stranger sent out of its background: encoded image in, PNG out."""

from __future__ import annotations

from dataclasses import dataclass

from segtf.inference.prediction import ask
from segtf.inference.predictor import Predictor
from segtf.outputs.matting import encode_cutout
from segtf.services.telegram.messages import NOTHING, TOO_MANY_PIXELS, UNREADABLE
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image
from voc_builder.pixels.overlay import count_ids
from voc_builder.pixels.untrusted import TooManyPixels, check_header


class Refused(Exception):
    """An image without a result: the text tells its sender why, and what to do."""


@dataclass(frozen=True)
class Cutout:
    """An image without its background."""

    png: bytes  # RGBA at the image's size
    fractions: tuple[tuple[str, float], ...]  # of the area, 0 to 1, by class name in order of ids


def cut_image(predictor: Predictor, encoded: bytes, *, megapixels: float) -> Cutout:
    """An encoded image without class 0. Raises `Refused` if it cannot be decoded, if it has more
    than `megapixels` by its header, and if it shows nothing but background.
    """
    try:
        check_header(encoded, megapixels)
        image = decode_image(encoded, "image")
    except TooManyPixels as error:
        raise Refused(TOO_MANY_PIXELS.format(error.megapixels, megapixels)) from None
    except UserError:
        raise Refused(UNREADABLE) from None
    answer = ask(predictor, image, background=True)
    assert answer.background is not None
    if answer.background.min() > 0.5:
        raise Refused(NOTHING)
    pixels = count_ids(answer.mask)[: len(predictor.classes)]
    fractions = (pixels / pixels.sum()).tolist()
    return Cutout(
        encode_cutout(image, answer.background),
        tuple(zip(predictor.classes, fractions, strict=True)),
    )
