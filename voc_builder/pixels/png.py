"""Masks as PNG files: class ids in 8 bits, with the VOC palette or as plain grey."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.base.colours import voc_colours

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BYTES_AT_ONCE = 2**24  # compressed together, as a mask may take half a gigabyte
GREY, PALETTE = 0, 3  # colour types (PNG specification, 11.2.2)


def encode_mask(mask: NDArray[np.uint8]) -> bytes:
    """A palette PNG with the VOC colours of class ids, shape (height, width).

    Masks are runs of one id: deflate with `Z_RLE` and small tables is faster than level 1 and gives
    a third of the size.
    """
    height, width = mask.shape
    deflate = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, 5, zlib.Z_RLE)
    each = max(BYTES_AT_ONCE // (width + 1), 1)
    rows = np.zeros((min(each, height), width + 1), np.uint8)  # each row begins with 0: no filter
    parts = []
    for top in range(0, height, each):
        some = rows[: height - top]
        some[:, 1:] = mask[top : top + each]
        parts.append(deflate.compress(some.data))
    pixels = b"".join([*parts, deflate.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, PALETTE, 0, 0, 0)
    palette = voc_colours().tobytes()
    chunks = {b"IHDR": header, b"PLTE": palette, b"IDAT": pixels, b"IEND": b""}
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks.items())


def grey_mask(palette_png: bytes) -> bytes:
    """The same class ids as a grey PNG, without compressing again: `tf.io.decode_png` would turn a
    palette into colours, whatever `channels` is.
    """
    parts, place = [SIGNATURE], len(SIGNATURE)
    while place < len(palette_png):
        (length,) = struct.unpack_from(">I", palette_png, place)
        kind, content = palette_png[place + 4 : place + 8], palette_png[place + 8 :][:length]
        if kind == b"IHDR":
            content = content[:9] + bytes([GREY]) + content[10:]
        if kind != b"PLTE":
            parts.append(_chunk(kind, content))
        place += 12 + length
    return b"".join(parts)


def decode_mask(png: bytes) -> NDArray[np.uint8]:
    """The class ids of an 8-bit palette or grey PNG of any size, shape (height, width). Raises
    `ValueError` if it is none.
    """
    if not png.startswith(SIGNATURE):
        raise ValueError("not a PNG")
    try:
        ids = cv2.imdecode(np.frombuffer(grey_mask(png), np.uint8), cv2.IMREAD_GRAYSCALE)
    except (struct.error, cv2.error) as error:
        raise ValueError(f"not readable as a PNG ({error})") from None
    if ids is None:
        raise ValueError("not readable as a PNG")
    return np.asarray(ids, np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
