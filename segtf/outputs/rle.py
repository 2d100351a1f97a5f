"""Write a mask as run lengths: row by row for tables of results, column by column as COCO does."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError

COLUMNS = ("id", "rle_mask")  # of rle.csv


def foreground(
    mask: NDArray[np.uint8], classes: Sequence[str], label: str | None = None
) -> NDArray[np.bool_]:
    """Which pixels of class ids, shape (H, W), run lengths are made of: those of the class `label`,
    else of every class but the background; never void. Raises `UserError` for a label that is no
    class, and without one where no class is the background, as everything would be covered.
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
    the top left, counted from 1. Nothing true is the empty string.
    """
    starts, ends = _runs(mask)
    pairs = np.stack([starts + 1, ends - starts], 1)
    return " ".join(map(str, pairs.ravel().tolist()))


def decode_rle(text: str, height: int, width: int) -> NDArray[np.bool_]:
    """The inverse of `encode_rle`, shape (height, width). Raises `UserError` for what are not runs
    in rising order inside the image.
    """
    parts = text.split()
    try:
        numbers = np.array([int(part) for part in parts], np.int64)
    except (ValueError, OverflowError):
        raise UserError(f"run lengths are whole numbers. Received: {_shorten(text)}") from None
    if len(numbers) % 2:
        raise UserError(f"run lengths come in pairs. Received {len(numbers)}: {_shorten(text)}")
    starts, lengths = numbers[::2] - 1, numbers[1::2]
    edges = np.stack([starts, starts + lengths], 1).ravel()
    counts = np.diff(edges, prepend=0, append=height * width)  # of false and true by turns
    if (lengths < 1).any() or (counts < 0).any():
        raise UserError(
            f"runs must rise from 1 to {height * width}, the pixels of {width} x {height}, "
            f"none empty and none over another. Received: {_shorten(text)}"
        )
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)


class RleWriter:
    """Writes `rle.csv` as it comes: a line `id,rle_mask`, then one for each image that is added."""

    def __init__(self, file: TextIO) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def add(self, image_id: str, runs: str) -> None:
        """Writes what `encode_rle` gives of the next image."""
        self._rows.writerow((image_id, runs))


def coco_counts(
    mask: NDArray[np.bool_],
    *,
    corner: tuple[int, int] = (0, 0),
    size: tuple[int, int] | None = None,
) -> str:
    """COCO's compressed run lengths: column by column from the top left, by turns of false and true
    pixels, as in `pycocotools.mask.encode`.

    `mask` (h, w) may be the part of an image of `size` (height, width) whose top left pixel is
    `corner` (row, column); all outside is false.
    """
    height, width = size or mask.shape
    top, left = corner
    starts, ends = _runs(np.pad(mask.T, ((0, 0), (0, 1))))  # a run ends with its column
    column, row = np.divmod(starts, mask.shape[0] + 1)
    first = (left + column) * height + top + row
    edges, times = np.unique(np.r_[first, first + ends - starts], return_counts=True)
    edges = edges[times == 1]  # twice: one run goes on in the next column
    counts = np.diff(edges, prepend=0, append=height * width)
    return _compress(counts if counts[-1] or len(counts) == 1 else counts[:-1])


def _runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where runs of true begin and end, row after row, as indices of the flat mask."""
    turns = np.flatnonzero(np.diff(mask.ravel().view(np.int8), prepend=0, append=0))
    return turns[::2], turns[1::2]


def _compress(counts: NDArray[np.int64]) -> str:
    """The text of counts: each from the fourth on less the last but one, in digits of five bits,
    lowest first, a sixth bit says that more follow; 48 is added to make them letters
    (rleToString of https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c).
    """
    values = counts.copy()
    values[3:] -= counts[1:-2]
    going = np.ones(len(values), bool)
    letters = []
    while going.any():
        digits, values = values & 31, values >> 5
        more = going & (values != np.where(digits & 16, -1, 0))  # the fifth bit is the sign
        letters.append(np.where(going, 48 + digits + 32 * more, 0))
        going = more
    text = np.stack(letters, 1).ravel()
    return text[text > 0].astype(np.uint8).tobytes().decode("ascii")


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
