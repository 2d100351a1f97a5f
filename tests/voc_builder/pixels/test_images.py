"""Images of every kind become upright RGB of 8 bits; broken ones become one line."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from voc_builder.base.errors import UserError
from voc_builder.pixels.images import (
    decode_image,
    encode_jpeg,
    quiet_pillow,
    read_header,
    resize_image,
    resize_mask,
)

RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)
# two rows and three columns: upright, it cannot be taken for a turned one
IMAGE = np.array([[RED, BLUE, BLUE], [GREEN, GREEN, GREEN]], np.uint8)


def encoded(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_a_colour_image_keeps_its_values(kind: str) -> None:
    decoded = decode_image(encoded(IMAGE, kind), "a")
    np.testing.assert_array_equal(decoded, IMAGE)
    assert decoded.dtype == np.uint8


def test_grey_is_repeated() -> None:
    grey = np.array([[0, 100, 255]], np.uint8)
    decoded = decode_image(encoded(grey, "PNG"), "a")
    np.testing.assert_array_equal(decoded, [[[0] * 3, [100] * 3, [255] * 3]])


def test_alpha_is_dropped() -> None:
    clear = np.dstack([IMAGE, np.zeros((2, 3), np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(clear, "PNG"), "a"), IMAGE)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_are_cut_to_8(suffix: str) -> None:
    deep = np.array([[0x0000, 0x80FF, 0xFFFF]], np.uint16)
    decoded = decode_image(cv2.imencode(suffix, deep)[1].tobytes(), "a")
    np.testing.assert_array_equal(decoded[0, :, 0], [0, 0x80, 0xFF])


def test_a_palette_becomes_its_colours() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([*RED, *BLUE])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    np.testing.assert_array_equal(decode_image(buffer.getvalue(), "a"), [[RED, BLUE]])


def test_cmyk_becomes_rgb() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (255, 0, 0)).convert("CMYK").save(buffer, "JPEG", quality=100)
    decoded = decode_image(buffer.getvalue(), "a")
    assert np.abs(decoded.astype(int) - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, IMAGE),
        (2, IMAGE[:, ::-1]),
        (3, IMAGE[::-1, ::-1]),
        (4, IMAGE[::-1]),
        (5, IMAGE.transpose(1, 0, 2)),
        (6, np.rot90(IMAGE, -1)),
        (7, IMAGE[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(IMAGE)),
    ],
)
def test_an_image_is_turned_as_its_exif_says(
    kind: str, orientation: int, upright: NDArray[np.uint8]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(decode_image(encoded(IMAGE, kind, exif=exif), "a"), upright)


def test_a_jpeg_is_turned_as_its_exif_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(encoded(IMAGE, "JPEG", exif=exif), "a").shape == (3, 2, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_truncated_image_is_named(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    whole = encoded(noise, kind)
    for content in (whole[: len(whole) // 2], b"", b'{"version": "5.0"}'):
        with pytest.raises(UserError, match=r"^belt/a\.jpg: "):
            decode_image(content, "belt/a.jpg")


def test_damage_in_the_middle_of_a_jpeg_is_not_noticed() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    damaged = bytearray(encoded(noise, "JPEG"))
    middle = len(damaged) // 2
    damaged[middle : middle + 2000] = bytes(2000)
    seen = decode_image(bytes(damaged), "a")
    assert seen.shape == (300, 400, 3)
    assert (seen != decode_image(encoded(noise, "JPEG"), "a")).any()


def test_odd_exif_is_no_warning_and_leaves_other_threads_their_filters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # an entry whose text would lie behind the end
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0e\x01\x02\0\xff\0\0\0\xff\xff\0\0\0\0\0\0"
    image = encoded(np.zeros((6, 8, 3), np.uint8), "JPEG", exif=exif)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Image.open(io.BytesIO(image)).getexif().get(0x0112)
        assert len(caught) == 1
        monkeypatch.setattr(warnings, "catch_warnings", None)
        quiet_pillow.cache_clear()
        assert read_header(image, "a").width == 8
        assert len(caught) == 1


def test_a_header_that_promises_too_many_pixels_is_named() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    size = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(UserError, match=r"^a: "):
        decode_image(bomb, "a")


def test_resize_image_averages_when_it_shrinks_and_keeps_its_own_size() -> None:
    image = np.array([[[0, 0, 0], [100, 0, 0]], [[200, 0, 0], [100, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(resize_image(image, 1, 1), [[[100, 0, 0]]])
    assert resize_image(image, 2, 2) is image
    assert resize_image(image, 5, 3).shape == (5, 3, 3)


def test_resize_mask_brings_no_new_id() -> None:
    mask = np.array([[0, 7], [255, 7]], np.uint8)
    larger = [[0, 0, 7, 7], [0, 0, 7, 7], [255, 255, 7, 7], [255, 255, 7, 7]]
    np.testing.assert_array_equal(resize_mask(mask, 4, 4), larger)
    np.testing.assert_array_equal(resize_mask(np.array(larger, np.uint8), 2, 2), mask)


def test_encode_jpeg_is_finer_with_quality_and_names_a_side_that_is_too_long() -> None:
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert len(encode_jpeg(image, quality=80)) < len(encode_jpeg(image)) / 2
    assert decode_image(encode_jpeg(np.zeros((1, 65_500, 3), np.uint8)), "a").shape[1] == 65_500
    with pytest.raises(UserError, match="65501 x 1 pixels cannot become a JPEG"):
        encode_jpeg(np.zeros((1, 65_501, 3), np.uint8))
