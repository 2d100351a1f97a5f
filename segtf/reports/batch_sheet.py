"""Lay out samples and their masks on one sheet, with a legend of class frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.run.size import HeightWidth
from segtf.scoring.format import text_table
from voc_builder.base.colours import VOID, voc_colours
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.pixels.images import encode_jpeg
from voc_builder.pixels.overlay import draw_overlay, format_fraction
from voc_builder.tree.voc import Dataset

WIDTH = 1800  # pixels that a sheet of many samples is about wide
LARGEST, SMALLEST = 512, 128  # pixels, side of an image on the sheet
LEAST_WIDTH = 820  # pixels; the legend needs them
MARGIN, GAP, SEAM = 24, 16, 4  # pixels around the sheet, between samples, from image to mask
TEXT, ROW = 17, 27  # pixels, letters and lines
NAME = 300  # pixels that the name of a class may take
INK, SOFT, LINE = (30, 30, 30), (110, 110, 110), (210, 210, 210)
COLUMNS = ("drawn", "in training", "samples", "images")
RIGHT = (450, 555, 670, 815)  # pixels, where each column ends
NOTE = (
    "drawn, in training: fraction of labelled pixels (void: of all pixels) in these batches and in "
    "the training split; samples, images: number that contain the class"
)
Rgb = tuple[int, int, int]


@dataclass(frozen=True)
class Frequency:
    """How often a class occurs."""

    drawn: float  # fraction of the labelled pixels of the batches; void: of all pixels
    training: float  # the same of the training split
    samples: int  # that contain it
    images: int  # of the training split that contain it


@dataclass(frozen=True)
class Frequencies:
    """Frequencies of each class and of void in `samples` drawn and in `images` of training."""

    classes: tuple[Frequency, ...]
    void: Frequency
    samples: int
    images: int

    @classmethod
    def of(cls, masks: NDArray[np.uint8], dataset: Dataset) -> Frequencies:
        """Counted in masks (N, H, W) and read from the data set."""
        counts = np.array([np.bincount(mask.reshape(-1), minlength=VOID + 1) for mask in masks])
        pixels, images = dataset.pixels["train"], dataset.images["train"]
        names = (*dataset.classes, "__ignore__")
        ids = (*range(len(dataset.classes)), VOID)
        labelled = counts[:, :VOID].sum()
        known = sum(pixels.get(name, 0) for name in dataset.classes)
        found = []
        for name, class_id in zip(names, ids, strict=True):
            is_void = class_id == VOID
            seen = known + pixels.get(name, 0) if is_void else known
            found.append(
                Frequency(
                    drawn=counts[:, class_id].sum() / max(1, counts.sum() if is_void else labelled),
                    training=pixels.get(name, 0) / max(1, seen),
                    samples=int(np.count_nonzero(counts[:, class_id])),
                    images=images.get(name, 0),
                )
            )
        return cls(tuple(found[:-1]), found[-1], len(masks), len(dataset.splits["train"]))


def frequency_table(frequencies: Frequencies, classes: Sequence[str]) -> str:
    """The legend as text, one line per class."""
    rows: list[tuple[str, ...]] = [("", *COLUMNS)]
    rows += [(name, *cells) for name, cells in _rows(frequencies, classes)]
    return f"{text_table(rows)}\n{NOTE}"


def draw_sheet(
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    classes: Sequence[str],
    frequencies: Frequencies,
    *,
    title: str,
    settings: Sequence[str],
    batch: int,
) -> NDArray[np.uint8]:
    """One RGB picture (H, W, 3) of images (N, H, W, 3) and masks (N, H, W), each image beside its
    mask drawn over it, in rows; a new row starts after every `batch` samples.
    """
    across, shape = _layout(min(batch, len(images)), masks.shape[1:])
    pairs = [_pair(image, mask, shape, classes) for image, mask in zip(images, masks, strict=True)]
    grids = [_grid(pairs[i : i + batch], across) for i in range(0, len(pairs), batch)]
    width = max(LEAST_WIDTH, grids[0].shape[1])
    parts = [_heading(title, settings, width), _legend(frequencies, classes, width)]
    for number, grid in enumerate(grids, 1):
        if len(grids) > 1:
            parts.append(_line(f"batch {number}", width, colour=SOFT))
        parts += [_widened(grid, width), _blank(GAP, width)]
    sheet = np.concatenate(parts)
    return cv2.copyMakeBorder(
        sheet, *(MARGIN,) * 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)
    ).astype(np.uint8, copy=False)


def write_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Writes RGB, shape (H, W, 3), as PNG or JPEG, by the suffix."""
    if path.suffix.lower() == ".png":
        done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if not done:
            raise UserError(f"{path}: {picture.shape} is too large for a PNG: draw fewer batches")
        encoded = data.tobytes()
    else:
        encoded = encode_jpeg(picture, quality=92)
    with replacing(path) as beside:
        beside.write_bytes(encoded)


def _layout(count: int, shape: tuple[int, ...]) -> tuple[int, HeightWidth]:
    """Samples per row, and height and width of each on the sheet: roughly square, with few empty
    places in the last row.
    """
    height, width = shape
    square = math.ceil(math.sqrt(count / 2 * height / width))
    across = min((square, square + 1), key=lambda n: (-count % n, n))
    side = min(LARGEST, max(SMALLEST, WIDTH // (2 * across)))
    scale = side / max(shape)
    if scale > 1:
        scale = math.floor(scale)  # a small image grows by whole pixels
    return across, (max(round(height * scale), 1), max(round(width * scale), 1))


def _pair(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], shape: HeightWidth, classes: Sequence[str]
) -> NDArray[np.uint8]:
    smooth = cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_NEAREST
    resized = cv2.resize(image, shape[::-1], interpolation=smooth).astype(np.uint8, copy=False)
    ids = cv2.resize(mask, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    overlay = draw_overlay(
        resized, ids.astype(np.uint8, copy=False), classes, voc_colours(), legend=False
    )
    seam = np.full((shape[0], SEAM, 3), 255, np.uint8)
    return np.concatenate([resized, seam, overlay], axis=1)


def _grid(pairs: Sequence[NDArray[np.uint8]], across: int) -> NDArray[np.uint8]:
    height, width = pairs[0].shape[:2]
    down = -(-len(pairs) // across)
    shape = (down * (height + GAP) - GAP, across * (width + GAP) - GAP, 3)
    grid = np.full(shape, 255, np.uint8)
    for index, pair in enumerate(pairs):
        top, left = (height + GAP) * (index // across), (width + GAP) * (index % across)
        grid[top : top + height, left : left + width] = pair
    return grid


def _heading(title: str, settings: Sequence[str], width: int) -> NDArray[np.uint8]:
    lines = [_line(_shorten(title, width, TEXT + 5), width, size=TEXT + 5, weight=700)]
    for text in _wrapped(settings, width):
        lines.append(_line(text, width, colour=SOFT))
    return np.concatenate([*lines, _blank(GAP // 2, width)])


def _legend(frequencies: Frequencies, classes: Sequence[str], width: int) -> NDArray[np.uint8]:
    """The table of classes, in two blocks side by side if they are many and there is room."""
    rows = _rows(frequencies, classes)
    block = RIGHT[-1]
    blocks = 2 if len(rows) > 6 and width >= 2 * block + 3 * GAP else 1
    each = -(-len(rows) // blocks)
    canvas = _blank((each + 1) * ROW, width)
    for number in range(blocks):
        left = number * (block + 3 * GAP)
        for right, text in zip(RIGHT, COLUMNS, strict=True):
            _right(canvas, text, left + right, ROW // 2, SOFT)
        cv2.line(canvas, (left, ROW - 2), (left + block, ROW - 2), LINE)
        for line, (name, cells) in enumerate(rows[number * each : (number + 1) * each], 1):
            middle = line * ROW + ROW // 2
            index = number * each + line - 1
            _swatch(canvas[middle - 9 : middle + 9, left : left + 36], index, classes)
            _put(canvas, _shorten(name, NAME, TEXT), left + 48, middle)
            for right, cell in zip(RIGHT, cells, strict=True):
                _right(canvas, cell, left + right, middle, INK)
    notes = [_line(text, width, size=TEXT - 3, colour=SOFT) for text in _note_lines(width)]
    return np.concatenate([canvas, *notes, _blank(GAP, width)])


def _rows(frequencies: Frequencies, classes: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Name and cells of each class, and of void if there is any."""
    of = [*zip(classes, frequencies.classes, strict=True)]
    if frequencies.void.drawn or frequencies.void.training:
        of.append(("void", frequencies.void))
    return [
        (
            name,
            (
                format_fraction(one.drawn),
                format_fraction(one.training),
                f"{one.samples} of {frequencies.samples}",
                f"{one.images} of {frequencies.images}",
            ),
        )
        for name, one in of
    ]


def _swatch(area: NDArray[np.uint8], index: int, classes: Sequence[str]) -> None:
    """Paint a class as overlays do: outlined, or hatched for void."""
    height, width = area.shape[:2]
    ids = np.full((height, width), index if index < len(classes) else VOID, np.uint8)
    grey = np.full((height, width, 3), 235, np.uint8)
    area[:] = draw_overlay(grey, ids, classes, voc_colours(), legend=False)
    cv2.rectangle(area, (0, 0), (width - 1, height - 1), SOFT)


def _note_lines(width: int) -> list[str]:
    return _wrapped(NOTE.split(" "), width, between=" ", size=TEXT - 3)


def _wrapped(
    parts: Sequence[str], width: int, *, between: str = "   ·   ", size: int = TEXT
) -> list[str]:
    """The parts in as few lines as are no wider than `width` pixels."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else part
        if lines and _width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(_shorten(part, width, size))
    return lines


@cache
def _font() -> Any:
    return cv2.FontFace("sans")  # built into OpenCV 5: Latin, Greek, Cyrillic, CJK


def _width(text: str, size: int, weight: int = 400) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _font(), size, weight)
    return int(width)


def _shorten(text: str, width: int, size: int) -> str:
    """The text, with an ellipsis in its middle where it is wider than `width` pixels: long names
    often differ at their ends.
    """
    if _width(text, size) <= width:
        return text
    kept = len(text)
    while kept > 1 and _width(_elided(text, kept), size) > width:
        kept -= 1
    return _elided(text, kept)


def _elided(text: str, kept: int) -> str:
    return f"{text[: -(-kept // 2)]}…{text[len(text) - kept // 2 :]}"


def _put(
    canvas: NDArray[np.uint8],
    text: str,
    left: int,
    middle: int,
    *,
    size: int = TEXT,
    weight: int = 400,
    colour: Rgb = INK,
) -> None:
    cv2.putText(canvas, text, (left, middle + round(0.36 * size)), colour, _font(), size, weight)


def _right(canvas: NDArray[np.uint8], text: str, right: int, middle: int, colour: Rgb) -> None:
    _put(canvas, text, right - _width(text, TEXT), middle, colour=colour)


def _line(
    text: str, width: int, *, size: int = TEXT, weight: int = 400, colour: Rgb = INK
) -> NDArray[np.uint8]:
    canvas = _blank(round(1.55 * size), width)
    _put(canvas, text, 0, canvas.shape[0] // 2, size=size, weight=weight, colour=colour)
    return canvas


def _blank(height: int, width: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)


def _widened(part: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.concatenate([part, _blank(part.shape[0], width - part.shape[1])], axis=1)
