"""Encode masks as run lengths: row by row for `rle.csv`, column by column as COCO does."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError

COLUMNS = ("id", "rle_mask")  # of rle.csv


def foreground(
    mask: NDArray[np.uint8], classes: Sequence[str], label: str | None = None
) -> NDArray[np.bool_]:
    """The pixels of class ids, shape (H, W), to encode: those of the class `label`, else of every
    class but the background; never void. Raises `UserError` for a label that is no class, and
    without a label if no class is the background.
    """
    if label is not None and label not in classes:
        raise UserError(f"no class {label!r} to encode: take one of {', '.join(classes)}")
    if label is not None:
        return mask == classes.index(label)
    if not has_background(classes):
        raise UserError(
            f"no class is the background, so name the one to encode: one of {', '.join(classes)}"
        )
    return (mask != 0) & (mask != VOID)


def encode_rle(mask: NDArray[np.bool_]) -> str:
    """The runs of true pixels, shape (H, W), as "start length start length ...": row by row from
    the top left, counted from 1; empty if no pixel is true.
    """
    starts, ends = _runs(mask)
    pairs = np.stack([starts + 1, ends - starts], 1)
    return " ".join(map(str, pairs.ravel().tolist()))


class RleWriter:
    """Writes `rle.csv` image by image: a line `id,rle_mask`, then one per image."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def add(self, image_id: str, runs: str) -> None:
        """Writes the result of `encode_rle` for the next image."""
        self._rows.writerow((image_id, runs))


def coco_counts(mask: NDArray[np.bool_], *, corner: tuple[int, int], size: tuple[int, int]) -> str:
    """COCO's compressed run lengths of an image of `size` (height, width), column by column from
    the top left: the same as `pycocotools.mask.encode`, without the memory of the whole image.

    `mask`, shape (h, w), is the part whose top left pixel is `corner` (row, column); all outside
    is false.
    """
    (height, width), (top, left) = size, corner
    starts, ends = _runs(np.pad(mask.T, ((0, 0), (0, 1))))  # a run ends with its column
    column, row = np.divmod(starts, mask.shape[0] + 1)
    first = (left + column) * height + top + row
    edges, times = np.unique(np.r_[first, first + ends - starts], return_counts=True)
    edges = edges[times == 1]  # an edge found twice: the run goes on in the next column
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    if len(counts) > 1 and not counts[-1]:
        counts.pop()
    runs = {"counts": counts, "size": [height, width]}
    return coco.frPyObjects(runs, height, width)["counts"].decode("ascii")


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The starts and ends of runs of true, row after row, as indices of the flat mask."""
    turns = np.flatnonzero(np.diff(mask.ravel().view(np.int8), prepend=0, append=0))
    return turns[::2], turns[1::2]
