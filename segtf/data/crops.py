"""Crops and tiles of an image and its mask."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.run.size import HeightWidth
from voc_builder.base.colours import VOID

Image = NDArray[np.uint8]  # (H, W, 3)
Mask = NDArray[np.uint8]  # (H, W)


def cut(image: Image, mask: Mask, top: int, left: int, shape: HeightWidth) -> tuple[Image, Mask]:
    """The crop of `shape` at `top`, `left`; beyond the edge the image is mirrored and the mask is
    void.
    """
    height, width = shape
    inside = np.s_[max(top, 0) : top + height, max(left, 0) : left + width]
    image, mask = image[inside], mask[inside]
    border = (
        max(-top, 0),
        height - max(-top, 0) - mask.shape[0],
        max(-left, 0),
        width - max(-left, 0) - mask.shape[1],
    )
    if not any(border):
        return image, mask
    return (
        cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT_101).astype(np.uint8, copy=False),
        cv2.copyMakeBorder(mask, *border, cv2.BORDER_CONSTANT, value=[VOID]).astype(
            np.uint8, copy=False
        ),
    )


def tile_corners(shape: tuple[int, ...], tile: HeightWidth) -> list[tuple[int, int]]:
    """Top and left of the tiles that cover an image without overlap, row by row; the last ones may
    reach beyond its edge.
    """
    height, width = shape
    return [(top, left) for top in range(0, height, tile[0]) for left in range(0, width, tile[1])]
