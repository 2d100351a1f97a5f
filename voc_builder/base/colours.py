"""The colours of Pascal VOC by class id, as used in masks, overlays and legends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VOID = 255  # class id of ignored pixels: neither trained on nor scored
IGNORE = "__ignore__"  # their label in labelme


def voc_colours(count: int = 256) -> NDArray[np.uint8]:
    """RGB of class ids 0 to `count` - 1, shape (count, 3), values 0 to 255.

    The bits of the id go to red, green and blue in turn, from the highest bit down
    (Pascal VOC development kit, VOClabelcolormap). Id 0 is black, id 255 a pale cream.
    """
    ids = np.arange(count)
    colours = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(
                np.uint8
            )
    return colours
