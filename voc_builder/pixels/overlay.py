"""Draw class ids over their image: translucent fills, contours, a legend with area fractions.

All lengths scale with the image, so that images of 300 and of 5,000 pixels look alike when they
are shown at the same size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FILL = 0.4  # opacity of a class colour inside its contour
PANEL = 0.75  # opacity of the black panel behind the legend
SMALLEST = 160  # pixels; on a smaller image a legend would hide the objects


def draw_overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    classes: Sequence[str],
    colours: NDArray[np.uint8],
    *,
    truth: NDArray[np.uint8] | None = None,
    legend: bool = True,
) -> NDArray[np.uint8]:
    """The RGB image (H, W, 3) with the class ids `mask` (H, W) drawn on it, the same shape.

    The background (id 0, if its name says so) is left unpainted, ignored pixels (255) are hatched.
    `colours` is RGB, shape (C, 3). The outlines of `truth` (H, W), if given, become white dashes on
    a line of the class colour. An image under 160 x 160 pixels has no legend.
    Raises ValueError for unequal sizes and for ids without a name or a colour.
    """
    areas = _checked_areas(image, mask, classes, colours)
    side = math.sqrt(mask.size)
    line = max(2, round(side / 350))
    # the largest first, so that the contour of a small area stays visible
    unpainted = {0, VOID} if has_background(classes) else {VOID}
    present = sorted({*np.flatnonzero(areas).tolist()} - unpainted, key=lambda i: -areas[i])

    canvas = _fill(image, mask, colours, unpainted)
    if areas[VOID]:
        _hatch(canvas, mask == VOID, period=6 * line)
    outlines = [(_rgb(colours[i]), _contours(mask == i)) for i in present]
    for colour, contours in outlines:
        cv2.drawContours(canvas, contours, -1, _casing(colour), 3 * line, cv2.LINE_AA)
    for colour, contours in outlines:
        cv2.drawContours(canvas, contours, -1, colour, line, cv2.LINE_AA)
    if truth is not None:
        true_areas = _checked_areas(image, truth, classes, colours)
        for i in sorted({*np.flatnonzero(true_areas).tolist()} - unpainted):
            _dash(canvas, _contours(truth == i), _rgb(colours[i]), line)

    if legend and side >= SMALLEST:
        entries = _entries(areas, classes, colours, truth is not None)
        covered = mask != 0 if 0 in unpainted else np.ones_like(mask, bool)
        _draw_legend(canvas, covered, entries, text=max(10, round(side / 40)))
    return canvas


def count_ids(mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of each id of a mask (H, W), shape (256,). Counted in parts, as OpenCV's float32 is
    exact up to 2**24; `np.bincount` would copy the mask to eight bytes per pixel.
    """
    each = max(2**22 // max(mask.shape[1], 1), 1)
    counts = np.zeros(256, np.int64)
    for top in range(0, mask.shape[0], each):
        part = np.ascontiguousarray(mask[top : top + each])
        counts += cv2.calcHist([part], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


@dataclass(frozen=True)
class Entry:
    """A line of the legend."""

    name: str
    fraction: float | None  # of the image's area, 0 to 1
    colour: tuple[int, ...] | None  # None: hatched
    dashed: bool = False  # the swatch is a dashed line


def _entries(
    areas: NDArray[np.int64], classes: Sequence[str], colours: NDArray[np.uint8], truth: bool
) -> list[Entry]:
    """The present classes in order, void, the truth; the background if there is nothing else."""
    fractions = areas / areas.sum()
    entries = [
        Entry(name, fractions[i], _rgb(colours[i]))
        for i, name in enumerate(classes[:VOID])
        if areas[i] and (i or not has_background(classes))
    ]
    if areas[VOID]:
        entries.append(Entry("void", fractions[VOID], None))
    if not entries:
        entries.append(Entry(classes[0], 1.0, _rgb(colours[0])))
    if truth:
        entries.append(Entry("truth", None, None, dashed=True))
    return entries


def format_fraction(fraction: float) -> str:
    """A fraction from 0 to 1 as a percentage: `41 %`, `3.2 %`, `0.05 %`, `< 0.01 %`."""
    percent = 100 * fraction
    if 0 < percent < 0.01:
        return "< 0.01 %"
    digits = 0 if percent >= 10 or percent == 0 else 1 if percent >= 1 else 2
    return f"{percent:.{digits}f} %"


def _checked_areas(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    classes: Sequence[str],
    colours: NDArray[np.uint8],
) -> NDArray[np.int64]:
    """Pixels of each id, shape (256,). Raises ValueError as `draw_overlay`."""
    if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != mask.shape:
        raise ValueError(
            "draw_overlay takes an image (H, W, 3) and class ids (H, W) of one size. "
            f"Received: {image.shape} and {mask.shape}"
        )
    areas = count_ids(mask)
    known = min(len(classes), len(colours))
    nameless = [int(i) for i in np.flatnonzero(areas) if i != VOID and i >= known]
    if nameless:
        raise ValueError(
            f"every class id but {VOID} needs a name and a colour. Received: ids {nameless} "
            f"with {len(classes)} names and {len(colours)} colours"
        )
    return areas


def _rgb(colour: NDArray[np.uint8]) -> tuple[int, ...]:
    return tuple(int(value) for value in colour)


def _casing(colour: tuple[int, ...]) -> tuple[int, int, int]:
    """White for a dark colour, black for a light one."""
    red, green, blue = colour
    return BLACK if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else WHITE


def _contours(area: NDArray[np.bool_]) -> Sequence[Any]:
    """The outer contours and those of holes, each of shape (points, 1, 2)."""
    return cv2.findContours(area.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]


def _fill(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    colours: NDArray[np.uint8],
    unpainted: set[int],
) -> NDArray[np.uint8]:
    """A copy of the image, blended with the colours of all ids that are not `unpainted`."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours[:256]
    tinted = cv2.addWeighted(image, 1 - FILL, table[mask], FILL, 0)
    painted = np.ones(256, np.uint8)
    painted[list(unpainted)] = 0
    canvas = image.copy()
    cv2.copyTo(tinted, painted[mask], canvas)
    return canvas


def _hatch(canvas: NDArray[np.uint8], area: NDArray[np.bool_], *, period: int) -> None:
    """Grey out `area` with light and dark stripes, which are visible on any image."""
    rows, columns = np.nonzero(area)
    stripes = np.where((rows + columns) % period < period // 2, 90, 200)
    grey = canvas[rows, columns].mean(axis=1)
    canvas[rows, columns] = (0.35 * grey + 0.65 * stripes).astype(np.uint8)[:, None]


def _dash(
    canvas: NDArray[np.uint8], contours: Sequence[Any], colour: tuple[int, ...], line: int
) -> None:
    """Draw white dashes along the contours, on a line of `colour` with a black casing."""
    length = 6 * line
    dashes = [
        contour[start : start + length + 1]
        for contour in contours
        for start in range(0, len(contour), 2 * length)
    ]
    cv2.drawContours(canvas, contours, -1, BLACK, 2 * line, cv2.LINE_AA)
    cv2.drawContours(canvas, contours, -1, colour, line, cv2.LINE_AA)
    cv2.polylines(canvas, dashes, False, WHITE, line, cv2.LINE_AA)


def _font() -> Any:
    # Latin, Greek, Cyrillic, CJK; new each time, as threads that share one draw other pixels
    return cv2.FontFace("sans")


def _text_width(text: str, size: int) -> int:
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _font(), size, 500)
    return int(width)


def _shorten(text: str, size: int, width: float) -> str:
    """The text, shortened with an ellipsis to `width` pixels."""
    if _text_width(text, size) <= width:
        return text
    while text and _text_width(text + "…", size) > width:
        text = text[:-1]
    return text + "…"


def _draw_legend(
    canvas: NDArray[np.uint8], covered: NDArray[np.bool_], entries: list[Entry], text: int
) -> None:
    """Draw a dark panel with a line per entry in the corner with the fewest `covered` pixels."""
    height, width = covered.shape
    # many classes need smaller letters, 9 pixels at least
    text = max(9, min(text, round(0.6 * height / (1.6 * len(entries) + 1))))
    row, gap = round(1.6 * text), round(0.6 * text)
    shown = max(1, min(len(entries), (height - 2 * gap) // row))
    if shown < len(entries):
        more = Entry(f"+ {len(entries) - shown + 1} more", None, BLACK)
        entries = [*entries[: shown - 1], more]
    areas = ["" if e.fraction is None else format_fraction(e.fraction) for e in entries]
    area_width = max(_text_width(area, text) for area in areas)
    room = min(0.45 * width, width - area_width - 2 * text - 5 * gap)
    names = [_shorten(e.name, text, room) for e in entries]
    name_width = max(_text_width(name, text) for name in names)
    panel_width = min(width, 4 * gap + 2 * text + name_width + area_width)
    panel_height = min(height, len(entries) * row + gap)
    left, top = _quietest_corner(covered, panel_height, panel_width, margin=gap // 2)

    panel = canvas[top : top + panel_height, left : left + panel_width]
    panel[:] = (panel * (1 - PANEL)).astype(np.uint8)
    for index, (entry, name, area) in enumerate(zip(entries, names, areas, strict=True)):
        middle = gap // 2 + index * row + row // 2
        _draw_swatch(panel[middle - text // 2 : middle + text // 2, gap : gap + 2 * text], entry)
        baseline = middle + round(0.36 * text)
        cv2.putText(panel, name, (2 * gap + 2 * text, baseline), WHITE, _font(), text, 500)
        right = panel_width - gap - _text_width(area, text)
        cv2.putText(panel, area, (right, baseline), WHITE, _font(), text, 500)


def _draw_swatch(swatch: NDArray[np.uint8], entry: Entry) -> None:
    """Fill a part of the legend in the style of its class."""
    height, width = swatch.shape[:2]
    border = max(1, height // 10)
    if entry.dashed:
        for left in range(0, width, 2 * (width // 5)):
            swatch[height // 2 - border : height // 2 + border, left : left + width // 5] = WHITE
    elif entry.colour is None:
        _hatch(swatch, np.ones((height, width), bool), period=max(4, height // 2))
    else:
        swatch[:] = WHITE
        swatch[border:-border, border:-border] = entry.colour


def _quietest_corner(
    covered: NDArray[np.bool_], height: int, width: int, *, margin: int
) -> tuple[int, int]:
    """Left and top of a panel in the corner with the fewest covered pixels."""
    bottom = max(0, covered.shape[0] - height - margin)
    right = max(0, covered.shape[1] - width - margin)
    top, left = min(margin, bottom), min(margin, right)
    corners = [(left, top), (right, top), (left, bottom), (right, bottom)]
    hidden = [np.count_nonzero(covered[y : y + height, x : x + width]) for x, y in corners]
    return corners[int(np.argmin(hidden))]
