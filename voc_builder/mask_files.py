"""Read a picture whose values are class ids."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from voc_builder.images import quiet_pillow
from voc_builder.problems import Problem

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")  # JPEG to be refused by name
GREY_BITS = 24  # place of the bit depth in a PNG (PNG specification, 11.2.2)
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class MaskFile:
    """A mask that was looked at; without a size it cannot be used."""

    path: Path
    sha256: str = ""
    height: int | None = None
    width: int | None = None
    counts: Mapping[int, int] = field(default_factory=dict)  # pixels by value
    problems: tuple[Problem, ...] = ()


def read_mask_file(path: Path) -> MaskFile:
    """The size of the mask at `path` and the values in it; what keeps it from being read is in its
    problems.
    """
    try:
        encoded = path.read_bytes()
        ids = decode_ids(encoded)
    except OSError as error:
        wrong = (f"the mask cannot be read ({error.strerror})", "check its rights")
    except ValueError as error:
        value, _, cure = str(error).partition(": ")
        wrong = (value, cure)
    else:
        values, counts = np.unique(ids, return_counts=True)
        pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
        height, width = ids.shape
        return MaskFile(path, hashlib.sha256(encoded).hexdigest(), height, width, pixels)
    return MaskFile(path, problems=(Problem(path, "error", "mask-unreadable", *wrong),))


def decode_ids(encoded: bytes) -> NDArray[Any]:
    """The values of a mask, shape (height, width), whole numbers from 0 on: of a palette the
    indices, never the colours, of grey what is stored, in 1 to 16 bits; RGB is taken for grey where
    its channels are equal, alpha has to be opaque. Raises `ValueError("what: cure")`.
    """
    quiet_pillow()
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            kind, mode = image.format, image.mode
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError):
        what = "not a picture that can be decoded, or cut short"
        raise ValueError(f"{what}: save it again as a grey or palette PNG") from None
    if kind == "JPEG":
        raise ValueError("a JPEG, which changes ids: save it as a grey or palette PNG")
    if mode == "1":
        return values.astype(np.uint8)
    if mode == "L" and encoded.startswith(PNG_START) and encoded[GREY_BITS] in (2, 4):
        return values // (255 // (2 ** encoded[GREY_BITS] - 1))  # Pillow spreads them over 8 bits
    if mode in ("L", "P", "I;16", "I;16B", "I"):
        return values
    if encoded.startswith(PNG_START) and encoded[GREY_BITS] == 16:  # Pillow would cut them to 8
        raise ValueError("16 bits in several channels: save it as a grey or palette PNG")
    return _one_channel(values, mode)


def _one_channel(values: NDArray[Any], mode: str) -> NDArray[Any]:
    """The grey of a picture that says it in several channels."""
    save = "save it as class ids, in a grey or palette PNG"
    if mode in ("LA", "RGBA"):
        if (values[..., -1] != 255).any():
            raise ValueError(f"a mask that is transparent in places: {save}")
        values = values[..., :-1]
    elif mode != "RGB":
        raise ValueError(f"a picture of mode {mode}, neither grey nor palette: {save}")
    if (values != values[..., :1]).any():
        raise ValueError(f"a mask of colours, not of class ids: {save}")
    return values[..., 0]
