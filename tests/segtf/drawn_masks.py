"""Masks that look like predictions and masks that no network would give."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray


def blobs(
    seed: int, height: int, width: int, *, classes: int = 3, smooth: float = 3.0
) -> NDArray[np.uint8]:
    """Class ids, shape (height, width), in rounded areas, rather of `smooth` pixels; 0 is half of
    all.
    """
    noise = np.random.default_rng(seed).random((height, width)).astype(np.float32)
    if smooth:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), smooth), np.float32)
    levels = np.quantile(noise, np.linspace(0.5, 1, classes)[:-1])
    return np.digitize(noise, levels).astype(np.uint8)


def any_masks(*, classes: int = 3, largest: int = 40) -> st.SearchStrategy[NDArray[np.uint8]]:
    """From noise, where regions are pixels, thin lines and nets, to a few round areas."""
    side = st.integers(1, largest)
    return st.builds(
        lambda seed, height, width, smooth: blobs(
            seed, height, width, classes=classes, smooth=smooth
        ),
        st.integers(0, 2**32 - 1),
        side,
        side,
        st.sampled_from([0.0, 1.0, 2.0, 4.0]),
    )


def ellipse(size: int, radii: tuple[float, float], angle: float) -> NDArray[np.uint8]:
    """One ellipse of class 1 in the middle of a square."""
    mask = np.zeros((size, size), np.uint8)
    box = ((size / 2, size / 2), (2 * radii[0], 2 * radii[1]), angle)
    return np.asarray(cv2.ellipse(mask, box, 1, cv2.FILLED), np.uint8)


def decoded_runs(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """The mask that the row-by-row run lengths of `rle.csv` encode."""
    flat = np.zeros(height * width, bool)
    numbers = [int(number) for number in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        assert length > 0
        assert not flat[start - 1 : start - 1 + length].any(), "one run over another"
        flat[start - 1 : start - 1 + length] = True
    return flat.reshape(height, width)
