"""Show predictions on one page that opens from disk, to sort, filter and compare with the truth.

`index.html` holds the numbers, the folder `images` beside it the pictures. Predictions and truth
are transparent PNGs of a few kilobytes that lie over the image, so that a slider can uncover them.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segtf.outputs.page import render
from segtf.scoring import metrics
from segtf.scoring.faults import Faults, find_faults
from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID
from voc_builder.base.files import replacing
from voc_builder.pixels.images import encode_jpeg, resize_image, resize_mask
from voc_builder.pixels.overlay import FILL, count_ids, draw_overlay

PAGE = "index.html"
PICTURES = {  # paths in the folder of the gallery
    "image": "images/photos/{}.jpg",
    "prediction": "images/predictions/{}.png",
    "truth": "images/truths/{}.png",
    "thumbnail": "images/thumbnails/{}.jpg",
    "truth_thumbnail": "images/truth_thumbnails/{}.jpg",
}
FOLDERS = tuple(PurePath(pattern).parent for pattern in PICTURES.values())
VIEW, THUMBNAIL = 1600, 360  # pixels, the longer side
RARE = 0.05  # fraction of an image below which a class must survive resizing
BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)
MOST = 250  # classes in one layer: a palette has 256 colours
HATCH = ((90, 90, 90, 166), (200, 200, 200, 166))  # void
Rgba = tuple[int, int, int, int]


@dataclass(frozen=True)
class Drawn:
    """Numbers that the page shows of an image, whose pictures are written."""

    image_id: str
    size: tuple[int, int]  # width and height, pixels
    predicted: dict[int, float]  # fraction of the area by class id
    true: dict[int, float] | None
    faults: Faults | None
    scores: dict[str, float | None]
    uncertainty: float | None


class Gallery:
    """The page of some images: `draw` and `append` each, then `write`. It keeps only a few numbers
    per image.

    `classes` are the names by id, `colours` their RGB, shape (C, 3); `title` and `subtitle` are
    plain text.
    """

    def __init__(
        self,
        out: Path,
        classes: Sequence[str],
        colours: NDArray[np.uint8],
        *,
        title: str = "Predictions",
        subtitle: str = "",
    ) -> None:
        self.out = out
        self.classes = tuple(classes)
        self.colours = colours
        self.title, self.subtitle = title, subtitle
        self._unpainted = {0, VOID} if has_background(classes) else {VOID}
        self._rows: dict[str, Drawn] = {}
        self._scores: dict[str, None] = {}  # all names of scores, in order

    def draw(
        self,
        image_id: str,
        image: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        *,
        truth: NDArray[np.uint8] | None = None,
        faults: Faults | None = None,
        scores: Mapping[str, float | None] | None = None,
        uncertainty: float | None = None,
    ) -> Drawn:
        """Writes the pictures of an RGB image, shape (H, W, 3), with its predicted and, if known,
        true class ids, shape (H, W). The id may contain slashes. Any thread may call this; the page
        shows an image once the result is appended.

        "Worst first" sorts by `faults`; `scores` are named numbers, higher is better; by default
        both are computed from the truth. Higher `uncertainty` means a less certain model. None and
        NaN stand for unknown numbers. Raises ValueError for different shapes and for ids without a
        name, `OSError` if a picture cannot be written.
        """
        self._write_pictures(image_id, image, mask, truth)
        if truth is not None and faults is None:
            faults = find_faults(truth, mask, self.classes)
        if truth is not None and scores is None:
            counts = metrics.confusion(truth, mask, len(self.classes))
            scores = image_scores(counts, self.classes)
        return Drawn(
            image_id,
            (image.shape[1], image.shape[0]),
            _fractions(mask),
            None if truth is None else _fractions(truth),
            faults,
            {name: _number(score) for name, score in (scores or {}).items()},
            _number(uncertainty),
        )

    def append(self, drawn: Drawn) -> None:
        """Appends an image to the page, replacing an earlier one with the same id."""
        self._scores.update(dict.fromkeys(drawn.scores))
        self._rows[drawn.image_id] = drawn

    def write(self) -> Path:
        """Writes `index.html` with all images added so far; returns its path. Raises `OSError`."""
        page = render(
            Path(__file__).with_name("gallery.html"),
            title=self.title,
            subtitle=self.subtitle,
            values=self._values(),
        )
        out = self.out / PAGE
        with replacing(out) as beside:
            beside.write_text(page, encoding="utf-8")
        return out

    def _write_pictures(
        self,
        image_id: str,
        image: NDArray[np.uint8],
        mask: NDArray[np.uint8],
        truth: NDArray[np.uint8] | None,
    ) -> None:
        view = shrink_image(image, VIEW)
        thumbnail = shrink_image(view, THUMBNAIL)
        pictures = {"image": encode_jpeg(view, quality=80)}
        for kind, ids in {"prediction": mask, "truth": truth}.items():
            if ids is None:
                continue
            if ids.shape != image.shape[:2]:
                raise ValueError(
                    f"an image (H, W, 3) and its {kind} (H, W) are of one size. "
                    f"Received: {image.shape} and {ids.shape}"
                )
            ids = shrink_mask(ids, *view.shape[:2])
            small = shrink_mask(ids, *thumbnail.shape[:2])
            drawn = draw_overlay(thumbnail, small, self.classes, self.colours, legend=False)
            name = "thumbnail" if kind == "prediction" else "truth_thumbnail"
            pictures[name] = encode_jpeg(drawn, quality=75)
            pictures[kind] = draw_layer(ids, self.colours, self._unpainted)
        for kind, encoded in pictures.items():
            with replacing(self.out / PICTURES[kind].format(image_id)) as beside:
                beside.write_bytes(encoded)

    def _values(self) -> dict[str, Any]:
        """Values that the page's script reads."""
        unnamed = 0 if 0 in self._unpainted else -1
        ranks = sorted({drawn.faults.rank for drawn in self._rows.values() if drawn.faults})
        places = {rank: place for place, rank in enumerate(ranks)}
        return {
            "classes": [
                [i, name, self.colours[i].tolist()]
                for i, name in enumerate(self.classes)
                if i != unnamed
            ],
            "void": VOID,
            "scores": list(self._scores),
            "pictures": PICTURES,
            "images": [self._row(drawn, places) for drawn in self._rows.values()],
        }

    def _row(self, drawn: Drawn, places: Mapping[tuple[int, float], int]) -> list[Any]:
        """Name, width, height, fractions of prediction and truth by class id; missed objects,
        false alarms, wrong fraction and the place among the worst, null without any fault; scores
        in the order of their names, uncertainty; at the end the name in URLs where it is not the
        name itself.
        """
        scores = [drawn.scores.get(name) for name in self._scores]
        faults = None
        if (of := drawn.faults) is not None:
            faults = [of.missed, of.false, float(f"{of.wrong:.4g}"), places.get(of.rank)]
        values = [*drawn.size, drawn.predicted, drawn.true, faults, scores, drawn.uncertainty]
        raw = os.fsencode(drawn.image_id)
        name = raw.decode("utf-8", "backslashreplace")  # a file name need not be UTF-8
        return [name, *values] if name == drawn.image_id else [name, *values, quote(raw)]


def image_scores(counts: metrics.Counts, classes: Sequence[str]) -> dict[str, float | None]:
    """`IoU CLASS` of one image from its confusion matrix, shape (C, C); None for a class that is
    neither true nor predicted.
    """
    named = zip(classes, metrics.iou(counts), strict=True)
    return {f"IoU {name}": _number(score) for name, score in named}


def shrink_image(image: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """The image, resized so that its longer side has at most `longest` pixels."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    return resize_image(image, max(1, round(height * scale)), max(1, round(width * scale)))


def shrink_mask(mask: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Class ids, nearest-neighbour resized to (height, width), but keeping every pixel of rare
    classes: where several classes compete, the rarest wins.
    """
    small = resize_mask(mask, height, width).copy()
    if small.shape == mask.shape:
        return small
    areas = count_ids(mask)
    rare = [i for i in np.flatnonzero(areas) if areas[i] < RARE * mask.size]
    for i in sorted(rare, key=lambda i: -areas[i]):
        spots = np.where(mask == i, np.uint8(255), np.uint8(0))
        small[cv2.resize(spots, (width, height), interpolation=cv2.INTER_AREA) > 0] = i
    return small


def draw_layer(mask: NDArray[np.uint8], colours: NDArray[np.uint8], unpainted: set[int]) -> bytes:
    """A palette PNG that overlays an image: class ids, shape (H, W), as translucent fills with
    outlined contours, void hatched, `unpainted` ids transparent. `colours` is RGB, shape (C, 3).
    """
    areas = count_ids(mask)
    line = max(2, round(math.sqrt(mask.size) / 350))
    ids = [int(i) for i in np.flatnonzero(areas) if i not in unpainted]
    # the largest first: a small area beside a large one keeps its own contour
    present = sorted(ids, key=lambda i: -areas[i])[:MOST]
    palette: list[Rgba] = [(0, 0, 0, 0), BLACK, WHITE, *HATCH]
    fill_of = np.zeros(256, np.uint8)
    fill_of[present] = range(len(palette), len(palette) + len(present))
    rgb = [tuple(colours[i].tolist()) for i in present]
    palette += [(*colour, round(255 * FILL)) for colour in rgb]
    # with more classes than the palette has room for, contours are translucent too
    lines = len(present) if len(palette) + len(present) <= 256 else 0
    palette += [(*colour, 255) for colour in rgb[:lines]]

    canvas = cv2.LUT(mask, fill_of)
    if areas[VOID]:
        stripes = np.add.outer(*map(np.arange, mask.shape)) // (3 * line) % 2
        canvas = np.where(mask == VOID, stripes + palette.index(HATCH[0]), canvas).astype(np.uint8)
    outlines = []
    for i in present:
        area = (mask == i).view(np.uint8)
        contours = cv2.findContours(area, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
        outlines.append((i, contours))
    for i, contours in outlines:
        light = colours[i] @ (0.299, 0.587, 0.114) > 150
        cv2.drawContours(canvas, contours, -1, palette.index(BLACK if light else WHITE), 3 * line)
    for i, contours in outlines:
        cv2.drawContours(canvas, contours, -1, int(fill_of[i]) + lines, line)

    layer = Image.fromarray(canvas)
    layer.putpalette(np.array(palette, np.uint8)[:, :3].tobytes())
    encoded = io.BytesIO()
    opacities = bytes(colour[3] for colour in palette)
    layer.save(encoded, "PNG", transparency=opacities, compress_level=3)
    return encoded.getvalue()


def _fractions(mask: NDArray[np.uint8]) -> dict[int, float]:
    """Fraction of the image, 0 to 1, of each class id in it, to four digits."""
    areas = count_ids(mask)
    return {int(i): float(f"{areas[i] / mask.size:.4g}") for i in np.flatnonzero(areas)}


def _number(value: float | None) -> float | None:
    """Four decimals; None for NaN and infinity, which JSON lacks."""
    return None if value is None or not math.isfinite(value) else round(float(value), 4)
