"""Read mask files, whose values or colours mean classes."""

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
from voc_builder.pixels.png import SIGNATURE

SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")  # JPEG only to be refused
BIT_DEPTH = 24  # its offset in a PNG (PNG specification, 11.2.2)
SAVE_COLOURS = "save it as PNG in plain RGB"


@dataclass(frozen=True)
class MaskFile:
    """The size and values of a mask file; without a size it cannot be used."""

    path: Path
    sha256: str = ""
    height: int | None = None
    width: int | None = None
    counts: Mapping[int, int] = field(default_factory=dict)  # pixels by value or 0xRRGGBB
    problems: tuple[Problem, ...] = ()


def read_mask_file(path: Path, *, coloured: bool = False) -> MaskFile:
    """The mask at `path`; if it cannot be read, its problems say why."""
    try:
        encoded = path.read_bytes()
        ids = decode_values(encoded, coloured=coloured)
    except OSError as error:
        wrong = (f"the mask cannot be read ({error.strerror})", "check its permissions")
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
    """The values of a mask by `decode_ids`, or its colours by `decode_colours`."""
    return decode_colours(encoded) if coloured else decode_ids(encoded)


def decode_colours(encoded: bytes) -> NDArray[np.int32]:
    """The colours of a mask as 0xRRGGBB, shape (height, width). A palette gives its colours; alpha
    must be opaque. Raises `ValueError("what: cure")`.
    """
    kind, mode, rgba = _open(encoded, "RGBA")
    _refuse_jpeg(kind)
    if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA") or _bits(encoded) == 16:
        raise ValueError(f"not 8 bits per channel: {SAVE_COLOURS}")
    if (rgba[..., 3] != 255).any():
        raise ValueError(f"a mask that is transparent in places: {SAVE_COLOURS}")
    parts = rgba.astype(np.int32)
    return parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2]


def decode_ids(encoded: bytes) -> NDArray[Any]:
    """The values of a mask, shape (height, width), integers from 0: palette indices, or stored grey
    values of 1 to 16 bits. RGB with equal channels is grey; alpha must be opaque. Raises
    `ValueError("what: cure")`.
    """
    kind, mode, values = _open(encoded)
    _refuse_jpeg(kind)
    if mode == "1":
        return values.astype(np.uint8)
    if mode == "L" and (bits := _bits(encoded)) in (2, 4):
        return values // (255 // (2**bits - 1))  # Pillow scales them to 8 bits
    if mode in ("L", "P", "I;16", "I;16B", "I"):
        return values
    if _bits(encoded) == 16:  # Pillow would reduce them to 8
        raise ValueError("16 bits in several channels: save it as a grey or palette PNG")
    return _one_channel(values, mode)


def _open(encoded: bytes, mode: str | None = None) -> tuple[str | None, str, NDArray[Any]]:
    """The format and mode of an image, and its pixels, converted to `mode` if given. Raises
    `ValueError("what: cure")`.
    """
    quiet_pillow()
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return image.format, image.mode, np.asarray(image.convert(mode) if mode else image)
    except (OSError, SyntaxError, ValueError, EOFError):
        what = "not an image that can be decoded, or cut short"
        raise ValueError(f"{what}: save it again as a grey or palette PNG") from None


def _refuse_jpeg(kind: str | None) -> None:
    if kind == "JPEG":
        raise ValueError("a JPEG, which changes ids: save it as a grey or palette PNG")


def _bits(encoded: bytes) -> int | None:
    """The bit depth of a PNG, None for other formats."""
    return encoded[BIT_DEPTH] if encoded.startswith(SIGNATURE) else None


def _one_channel(values: NDArray[Any], mode: str) -> NDArray[Any]:
    """The grey values of an image with several equal channels."""
    save = "save it as class ids, in a grey or palette PNG"
    if mode in ("LA", "RGBA"):
        if (values[..., -1] != 255).any():
            raise ValueError(f"a mask that is transparent in places: {save}")
        values = values[..., :-1]
    elif mode != "RGB":
        raise ValueError(f"an image of mode {mode}, neither grey nor palette: {save}")
    if (values != values[..., :1]).any():
        raise ValueError(f"a mask of colours, not of class ids: {save}, or name them in --colors")
    return values[..., 0]
