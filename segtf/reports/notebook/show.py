"""Tables, pictures and text that a notebook shows by themselves, as the last value of a cell."""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from segtf.outputs.gallery import shrink_mask
from segtf.reports.figures import chart_style, shorten
from segtf.scoring.format import text_table
from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID, voc_colours
from voc_builder.pixels.images import resize_image, resize_mask
from voc_builder.pixels.overlay import draw_overlay

WIDTH, DPI = 10.0, 90  # inches and dots of a sheet of images
WIDEST = 3.2  # inches that an image of it takes at most
VIEW = 480  # pixels, longer side of an image before it goes onto a sheet
QUALITY = 85  # of its JPEG
Shown = tuple[bytes, dict[str, int]]  # a picture and how Jupyter is to show it
TITLE = 40  # characters of a title over the width of a sheet of one image, about


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of text under their heads; columns of numbers stand at the right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __repr__(self) -> str:
        left = [i for i, right in enumerate(self._right()) if not right]
        return text_table((self.head, *self.rows), left)

    def _repr_html_(self) -> str:
        sides = ["right" if right else "left" for right in self._right()]

        def row(cells: Sequence[str], tag: str) -> str:
            return "".join(
                f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
                for cell, side in zip(cells, sides, strict=True)
            )

        body = "".join(f"<tr>{row(cells, 'td')}</tr>\n" for cells in self.rows)
        head = f"<thead><tr>{row(self.head, 'th')}</tr></thead>"
        return f"<table>{head}\n<tbody>{body}</tbody></table>"

    def _right(self) -> list[bool]:
        """Which columns are numbers, from the second one on."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.head)
        return [
            i > 0 and all(re.match(r"[-+–<>]|\d", cell) for cell in column)
            for i, column in enumerate(columns)
        ]


@dataclass(frozen=True, repr=False)
class Picture:
    """An encoded PNG or JPEG."""

    encoded: bytes
    width: int | None = None  # pixels that it is shown at; None: its own

    @property
    def is_png(self) -> bool:
        return self.encoded.startswith(b"\x89PNG")

    def __repr__(self) -> str:
        return f"a picture of {len(self.encoded) / 1000:.0f} kB"

    def _repr_png_(self) -> Shown | None:
        return self._shown() if self.is_png else None

    def _repr_jpeg_(self) -> Shown | None:
        return None if self.is_png else self._shown()

    def _shown(self) -> Shown:
        return self.encoded, {} if self.width is None else {"width": self.width}


@dataclass(frozen=True, repr=False)
class Text:
    """Paragraphs in Markdown."""

    markdown: str

    def __repr__(self) -> str:
        return self.markdown

    def _repr_markdown_(self) -> str:
        return self.markdown


def drawn(draw: Callable[[Path], None], *, width: int | None = None) -> Picture:
    """The PNG that `draw` writes to the path that it is given, shown `width` pixels wide."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "picture.png")
        draw(path)
        return Picture(path.read_bytes(), width)


def view(
    image: NDArray[np.uint8], mask: NDArray[np.uint8] | None, classes: Sequence[str]
) -> NDArray[np.uint8]:
    """An RGB image (H, W, 3) at the size of a sheet, with class ids (H, W) drawn over it. What is
    smaller keeps its pixels, as squares.
    """
    scale = VIEW / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    # resize_mask takes the nearest pixel of anything
    shown = resize_mask(image, height, width) if scale > 1 else resize_image(image, height, width)
    if mask is None:
        return shown
    ids = shrink_mask(mask, height, width) if scale < 1 else resize_mask(mask, height, width)
    return draw_overlay(shown, ids, classes, voc_colours(), legend=False)


def sheet(
    rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]], classes: Sequence[str] = ()
) -> Picture:
    """Rows of images (H, W, 3), each under its title, as one JPEG; below it the colours of
    `classes` and of void. Raises ValueError without an image.
    """
    across = max((len(row) for row in rows), default=0)
    if not across:
        raise ValueError("a sheet takes at least one image. Received: none")
    wide = min(WIDTH / across, WIDEST)
    shapes = [image.shape[0] / image.shape[1] for row in rows for _, image in row]
    high = wide * float(np.median(shapes)) + 0.25
    names = list(classes)[1 if classes and has_background(classes) else 0 :]
    with matplotlib.rc_context(chart_style()):
        figure = Figure(
            figsize=(wide * across, high * len(rows) + (0.4 if names else 0)), layout="constrained"
        )
        axes = figure.subplots(len(rows), across, squeeze=False)
        for place, row in zip(axes, rows, strict=True):
            for one in place:
                one.set_axis_off()
            for one, (title, image) in zip(place, row, strict=False):
                one.imshow(image)
                length = max(8, round(TITLE * wide / WIDEST))
                one.set_title(
                    shorten(title, length), fontsize=8, fontweight="normal", parse_math=False
                )
        if names:
            _draw_legend(figure, classes, names)
        return Picture(_jpeg(figure))


def _draw_legend(figure: Figure, classes: Sequence[str], names: Sequence[str]) -> None:
    first = len(classes) - len(names)
    colours = voc_colours()[first : len(classes)] / 255
    patches = [Patch(facecolor=colour, edgecolor="#777777") for colour in colours]
    void = Patch(facecolor="#dddddd", edgecolor="#777777", hatch="////")
    legend = figure.legend(
        [*patches, void],
        ["class"] * (len(names) + 1),
        loc="outside lower center",
        ncols=min(8, len(names) + 1),
        fontsize=8,
    )
    # set afterwards: matplotlib drops labels that begin with _ and reads $ as mathematics
    for text, name in zip(legend.get_texts(), [*names, f"void ({VOID})"], strict=True):
        text.set_parse_math(False)
        text.set_text(shorten(name, 28))


def _jpeg(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    encoded = io.BytesIO()
    figure.savefig(
        encoded, format="jpeg", dpi=DPI, facecolor="white", pil_kwargs={"quality": QUALITY}
    )
    return encoded.getvalue()
