"""What the cells of a notebook display: sections of the report, tables, sheets of images."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from html import escape, unescape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from segtf.outputs.page import content_style
from segtf.reports.figures import chart_style, shorten
from segtf.reports.report import sections
from voc_builder.base.colours import voc_colours
from voc_builder.pixels.images import resize_image, resize_mask
from voc_builder.pixels.overlay import draw_overlay

if TYPE_CHECKING:
    from IPython.display import HTML, Image

WIDTH, DPI = 10.0, 90  # inches and dots of a sheet
VIEW = 480  # pixels, longer side of an image before it goes onto a sheet


def section(run: Path, *names: str) -> HTML:
    """Sections of the run's report by their ids, those that it has, with their pictures inside."""
    from IPython.display import HTML

    found = [part.html for part in sections(run) if part.id in names]
    html = re.sub(r'(?<=src=")([^":]+)(?=")', lambda m: _inlined(run, m[1]), "\n".join(found))
    # nested, the report's style touches nothing else in the notebook
    style = content_style().replace(":root", "&")
    return HTML(f'<style>.segtf {{ {style} }}</style><div class="segtf">{html}</div>')


def _inlined(run: Path, link: str) -> str:
    path = run / unquote(unescape(link))
    kind = "png" if path.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> HTML:
    """Rows of plain text under their heads; all columns but the first are right-aligned."""
    from IPython.display import HTML

    def line(cells: Sequence[str], tag: str) -> str:
        sides = ["left", *["right"] * (len(cells) - 1)]
        return "".join(
            f'<{tag} style="text-align: {side}">{escape(cell)}</{tag}>'
            for cell, side in zip(cells, sides, strict=True)
        )

    body = "".join(f"<tr>{line(cells, 'td')}</tr>\n" for cells in rows)
    return HTML(f"<table><thead><tr>{line(head, 'th')}</tr></thead>\n<tbody>{body}</tbody></table>")


def view(
    image: NDArray[np.uint8], mask: NDArray[np.uint8] | None, classes: Sequence[str]
) -> NDArray[np.uint8]:
    """An RGB image (H, W, 3) at the size of a sheet, with class ids (H, W) drawn over it."""
    scale = VIEW / max(image.shape[:2])
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    shown = resize_image(image, height, width)
    if mask is None:
        return shown
    return draw_overlay(shown, resize_mask(mask, height, width), classes, voc_colours())


def sheet(rows: Sequence[Sequence[tuple[str, NDArray[np.uint8]]]]) -> Image:
    """Rows of images (H, W, 3), each under its title, as one JPEG."""
    import matplotlib
    from IPython.display import Image
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    across = max(len(row) for row in rows)
    wide = min(WIDTH / across, 3.2)
    high = wide * float(np.median([i.shape[0] / i.shape[1] for row in rows for _, i in row])) + 0.25
    with matplotlib.rc_context(chart_style()):
        figure = Figure(figsize=(wide * across, high * len(rows)), layout="constrained")
        axes = figure.subplots(len(rows), across, squeeze=False)
        for place in axes.flat:
            place.set_axis_off()
        for places, row in zip(axes, rows, strict=True):
            for place, (title, image) in zip(places, row, strict=False):
                place.imshow(image)
                short = shorten(title, max(8, round(12 * wide)))
                place.set_title(short, fontsize=8, fontweight="normal", parse_math=False)
        FigureCanvasAgg(figure)
        encoded = io.BytesIO()
        figure.savefig(encoded, format="jpeg", dpi=DPI, facecolor="white")
    return Image(encoded.getvalue(), format="jpeg")
