"""Read a picture whose values or colours are classes."""

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

from voc_builder.base.problems import Problem
from voc_builder.pixels.images import quiet_pillow

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")  # JPEG to be refused by name
GREY_BITS = 24  # place of the bit depth in a PNG (PNG specification, 11.2.2)
SAVE_COLOURS = "save it as PNG in plain RGB"
PNG_START = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class MaskFile:
    """A mask that was looked at; without a size it cannot be used."""

    path: Path
    sha256: str = ""
    height: int | None = None
    width: int | None = None
    counts: Mapping[int, int] = field(default_factory=dict)  # pixels by value, or by 0xRRGGBB
    problems: tuple[Problem, ...] = ()


def read_mask_file(path: Path, *, coloured: bool = False) -> MaskFile:
    """The size of the mask at `path` and the values or colours in it; what keeps it from being read
    is in its problems.
    """
    try:
        encoded = path.read_bytes()
        ids = decode_values(encoded, coloured=coloured)
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


def decode_values(encoded: bytes, *, coloured: bool) -> NDArray[Any]:
    """What a mask holds, shape (height, width): values as `decode_ids` reads them, or colours as
    0xRRGGBB. Raises `ValueError("what: cure")`.
    """
    return decode_colours(encoded) if coloured else decode_ids(encoded)


def decode_colours(encoded: bytes) -> NDArray[np.int32]:
    """The colours of a mask as 0xRRGGBB, shape (height, width); of a palette those that its indices
    stand for, alpha has to be opaque. Raises `ValueError("what: cure")`.
    """
    kind, mode, rgba = _open(encoded, "RGBA")
    _refuse_jpeg(kind)
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA") or _bits(encoded) == 16:
        raise ValueError(f"no picture of 8 bits a channel: {SAVE_COLOURS}")
    if (rgba[..., 3] != 255).any():
        raise ValueError(f"a mask that is transparent in places: {SAVE_COLOURS}")
    parts = rgba.astype(np.int32)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]


def decode_ids(encoded: bytes) -> NDArray[Any]:
    """The values of a mask, shape (height, width), whole numbers from 0 on: of a palette the
    indices, never the colours, of grey what is stored, in 1 to 16 bits; RGB is taken for grey where
    its channels are equal, alpha has to be opaque. Raises `ValueError("what: cure")`.
    """
    kind, mode, values = _open(encoded)
    _refuse_jpeg(kind)
    if mode == "1":
        return values.astype(np.uint8)
    if mode == "L" and (bits := _bits(encoded)) in (2, 4):
        return values // (255 // (2**bits - 1))  # Pillow spreads them over 8 bits
    if mode in ("L", "P", "I;16", "I;16B", "I"):
        return values
    if _bits(encoded) == 16:  # Pillow would cut them to 8
        raise ValueError("16 bits in several channels: save it as a grey or palette PNG")
    return _one_channel(values, mode)


def _open(encoded: bytes, mode: str | None = None) -> tuple[str | None, str, NDArray[Any]]:
    """The format of a picture, its mode, and its pixels, turned into another mode if one is given.
    Raises `ValueError("what: cure")`.
    """
    quiet_pillow()
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.format, image.mode, np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError, ValueError, EOFError):
        what = "not a picture that can be decoded, or cut short"
        raise ValueError(f"{what}: save it again as a grey or palette PNG") from None


def _refuse_jpeg(kind: str | None) -> None:
    if kind == "JPEG":
        raise ValueError("a JPEG, which changes ids: save it as a grey or palette PNG")


def _bits(encoded: bytes) -> int | None:
    """The bit depth of a PNG, None for another picture."""
    return encoded[GREY_BITS] if encoded.startswith(PNG_START) else None


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
        raise ValueError(f"a mask of colours, not of class ids: {save}, or name them in --colors")
    return values[..., 0]
