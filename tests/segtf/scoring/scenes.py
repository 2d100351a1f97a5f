"""Probabilities of a class, and the true class ids."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from voc_builder.base.colours import VOID

Mask = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
LEVELS = [0.0, 0.1, 0.25, 0.4, 0.5, 0.7, 0.996, 1.0]


def scene(*defects: float, elsewhere: float = 0.0) -> tuple[Probabilities, Mask]:
    """An image with a defect of 5 x 5 pixels for each probability, and a mark of that of
    `elsewhere` where there is none.
    """
    probability, truth = np.zeros((60, 20), np.float32), np.zeros((60, 20), np.uint8)
    for i, sure in enumerate(defects):
        probability[8 * i : 8 * i + 5, :5] = sure
        truth[8 * i : 8 * i + 5, :5] = 1
    probability[:4, 10:14] = elsewhere
    return probability, truth


@st.composite
def images(draw: st.DrawFn) -> tuple[Probabilities, Mask]:
    """Patches of probabilities of class 1 and of true class ids."""
    height, width = draw(st.integers(1, 10)), draw(st.integers(1, 10))
    probability, truth = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    for mask, values in ((probability, LEVELS), (truth, [0, 1, 1, 2, VOID])):
        for _ in range(draw(st.integers(0, 5))):
            top, left = draw(st.integers(0, 9)), draw(st.integers(0, 9))
            rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
            mask[top : top + rows, left : left + columns] = draw(st.sampled_from(values))
    return probability, truth
