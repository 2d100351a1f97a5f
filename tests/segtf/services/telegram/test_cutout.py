"""Encoded images become cut-outs or a refusal; captions fit."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from segtf.services.telegram import cutout
from segtf.services.telegram.cutout import Refused
from segtf.services.telegram.messages import (
    NOTHING,
    TOO_MANY_PIXELS,
    UNREADABLE,
    caption,
    help_text,
)
from tests.segtf.services.telegram.talking import (
    HALVES,
    LIMITS,
    Cut,
    assert_right_half_stays,
    encode,
    halves,
)

pytestmark = pytest.mark.slow


def test_an_image_is_rotated_as_its_exif_says(cut: Cut) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # its first row is the right side
    lying = np.ascontiguousarray(np.rot90(halves()))
    made = cut(encode(lying, "JPEG", quality=95, exif=exif))
    assert_right_half_stays(made.png)
    assert made.fractions == (("__background__", 0.5), ("green", 0.5), ("синий", 0.0))


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (encode(halves()[:, :20]), NOTHING),
        (b"", UNREADABLE),
        (b"not an image at all", UNREADABLE),
        (encode(halves(200, 200), "JPEG")[:600], UNREADABLE),
        (HALVES[:33], UNREADABLE),  # the header alone
    ],
)
def test_an_image_without_a_result_is_refused(encoded: bytes, reason: str, cut: Cut) -> None:
    with pytest.raises(Refused) as refused:
        cut(encoded)
    assert str(refused.value) == reason


def with_size(png: bytes, width: int, height: int) -> bytes:
    """The PNG with another size in its header."""
    header = b"IHDR" + struct.pack(">II", width, height) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def test_too_many_pixels_are_refused_before_decoding(
    cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutout, "decode_image", lambda *_: 1 / 0)
    for width, height in ((1001, 1000), (200_000, 100_000)):
        with pytest.raises(Refused) as refused:
            cut(with_size(HALVES, width, height))
        assert str(refused.value) == TOO_MANY_PIXELS.format(width * height / 1e6, 1)
    with pytest.raises(ZeroDivisionError):
        cut(with_size(HALVES, 1000, 1000))


def test_the_caption_names_the_largest_classes_and_fits() -> None:
    fractions = [("background", 0.2), ("cat", 0.796), ("dog", 0.004), ("fox", 0.0)]
    assert caption(fractions) == "cat: 80 %\nbackground: 20 %\ndog: 0.40 %"
    many = caption([(f"{'щ🙂' * 10} {i}", 1 / 200) for i in range(200)])
    assert 900 < len(many.encode("utf-16-le")) / 2 <= 1024
    lines = many.splitlines()
    assert lines[-1] == f"and {200 - (len(lines) - 1)} more"


def test_the_help_fits_however_many_classes_there_are() -> None:
    text = help_text([f"class of things {i}" for i in range(254)], LIMITS)
    assert 1500 < len(text) < 4096
    assert "class of things 0, class of things 1, " in text
