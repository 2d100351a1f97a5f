"""Masks survive their PNG, in colour for people and in grey for TensorFlow."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from voc_builder.base.colours import voc_colours
from voc_builder.pixels.png import decode_mask, encode_mask, grey_mask


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (300, 200)])
def test_a_mask_comes_back_from_its_palette_png(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(encode_mask(mask))) as image:
        assert image.mode == "P"
        assert image.getpalette() == voc_colours().ravel().tolist()
        np.testing.assert_array_equal(np.array(image), mask)


def test_the_grey_png_holds_the_same_ids_and_the_same_deflate_stream() -> None:
    mask = np.array([[0, 1, 255], [2, 2, 0]], np.uint8)
    palette = encode_mask(mask)
    grey = grey_mask(palette)
    with Image.open(io.BytesIO(grey)) as image:
        assert image.mode == "L"
        np.testing.assert_array_equal(np.array(image), mask)
    stream = palette[palette.index(b"IDAT") : palette.index(b"IEND") - 4]
    assert stream in grey


def test_runs_are_small() -> None:
    mask = np.zeros((1000, 1000), np.uint8)
    mask[200:800, 300:700] = 1
    assert len(encode_mask(mask)) < 5000  # 768 of them the palette


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1), (300, 200), (1, 70_000), (10_000, 9_000)])
def test_decode_mask_reads_the_ids_of_both_kinds_at_any_size(shape: tuple[int, int]) -> None:
    mask = np.zeros(shape, np.uint8)  # Pillow warns of the largest
    mask[-1, -1] = 255
    palette = encode_mask(mask)
    np.testing.assert_array_equal(decode_mask(palette), mask)
    np.testing.assert_array_equal(decode_mask(grey_mask(palette)), mask)


@pytest.mark.parametrize("png", [b"", b"hello", encode_mask(np.ones((9, 9), np.uint8))[:-40]])
def test_decode_mask_refuses_what_is_no_mask(png: bytes) -> None:
    with pytest.raises(ValueError, match="PNG"):
        decode_mask(png)
