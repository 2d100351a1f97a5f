"""A mask is read as the class ids that are stored in it, in any image format."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_builder.sources.mask_files import decode_ids, read_mask_file

IDS = np.array([[0, 1, 5], [255, 2, 0]], np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def palette(ids: Any, *, colours: int = 256) -> Image.Image:
    image = Image.fromarray(ids).convert("P")
    image.putdata(ids.reshape(-1).tolist())
    image.putpalette(np.random.default_rng(0).integers(0, 256, 3 * colours, np.uint8).tobytes())
    return image


def png(depth: int, colour_type: int, row: bytes, width: int) -> bytes:
    """A PNG of one row of pixels, which Pillow itself would not write so."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, 1, depth, colour_type, 0, 0, 0)
    pixels = zlib.compress(b"\0" + row)
    parts = [(b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")]
    if colour_type == 3:
        parts.insert(1, (b"PLTE", bytes(range(48))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.mark.parametrize(
    "content",
    [
        encoded(Image.fromarray(IDS)),
        encoded(palette(IDS)),
        encoded(palette(IDS), "GIF", optimize=False),
        encoded(Image.fromarray(IDS), "BMP"),
        encoded(Image.fromarray(IDS), "TIFF"),
        encoded(Image.fromarray(IDS.astype(np.uint16))),
        encoded(Image.fromarray(IDS.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(np.stack([IDS] * 3, axis=-1))),
        encoded(Image.fromarray(np.stack([IDS] * 3 + [np.full_like(IDS, 255)], axis=-1))),
    ],
    ids=["grey", "palette", "gif", "bmp", "tiff", "16 bits", "32 bits", "grey as RGB", "RGBA"],
)
def test_ids_are_read_from_every_format(content: bytes) -> None:
    np.testing.assert_array_equal(decode_ids(content), IDS)


@pytest.mark.parametrize("colour_type", [0, 3], ids=["grey", "palette"])
@pytest.mark.parametrize(
    ("depth", "row", "ids"),
    [(1, b"\x40", [0, 1, 0, 0]), (2, b"\x1b", [0, 1, 2, 3]), (4, b"\x01\x2f", [0, 1, 2, 15])],
)
def test_pixels_of_few_bits_are_not_spread_over_eight(
    depth: int, row: bytes, ids: list[int], colour_type: int
) -> None:
    np.testing.assert_array_equal(decode_ids(png(depth, colour_type, row, 4)), [ids])


COLOURS = np.stack([IDS, IDS, 255 - IDS], axis=-1)
SEE_THROUGH = np.stack([IDS] * 3 + [IDS], axis=-1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (encoded(Image.fromarray(COLOURS)), "a mask of colours"),
        (encoded(Image.fromarray(SEE_THROUGH)), "transparent"),
        (encoded(Image.fromarray(COLOURS).convert("CMYK"), "TIFF"), "CMYK"),
        (encoded(Image.fromarray(IDS), "JPEG"), "a JPEG"),
        (png(16, 2, bytes(range(24)), 4), "16 bits"),
        (encoded(Image.fromarray(IDS))[:-30], "cut short"),
        (b"", "cut short"),
    ],
)
def test_what_holds_no_ids_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode_ids(content)


def test_a_mask_file_tells_its_size_and_its_values(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(palette(IDS)))
    mask = read_mask_file(tmp_path / "a.png")
    assert (mask.height, mask.width, mask.problems) == (2, 3, ())
    assert mask.counts == {0: 2, 1: 1, 2: 1, 5: 1, 255: 1}


def test_a_mask_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    for name in ("a.png", "b.png"):
        mask = read_mask_file(tmp_path / name)
        assert [(one.file.name, one.rule) for one in mask.problems] == [(name, "mask-unreadable")]
        assert mask.height is None
