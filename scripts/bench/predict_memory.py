"""Measure the memory that prediction takes for a giant image and for many images."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.bench.measure import Table, peak_memory, write_colour_network
from voc_builder.base.progress import note

TILE = 512  # pixels
ROWS = 256  # of a strip of the TIFF


def measure_memory(folder: Path, *, giant: int, model: Path, few_and_many: Sequence[Path]) -> Table:
    """Peak memory of `segtf.predict` for a TIFF of `giant` x `giant` pixels, beside one of a single
    tile, and of `model` for a folder of many images, beside one of few.

    The network of the TIFF has one layer: a real one would take an hour for the thousands of tiles,
    and its own memory does not count.
    """
    colours = write_colour_network(folder / "model.onnx", TILE)
    stripes = [write_stripes(folder / f"stripes-{side}.tif", side) for side in (TILE, giant)]
    counts = [len(list(images.iterdir())) for images in few_and_many]
    cases = {
        f"TIFF of {giant} x {giant}, not {TILE} x {TILE}": (
            *(colours, stripes),
            ["--save", "mask,overlay", "--mode", "tile"],
        ),
        f"{counts[1]} images, not {counts[0]}": (model, few_and_many, ["--save", "mask,coco,rle"]),
    }
    rows, figures = [], {}
    for name, (network, inputs, flags) in cases.items():
        note(f"memory: {name}")
        command = ["-m", "segtf.predict", str(network), "--out", str(folder / "out"), *flags]
        less, more = (peak_memory([*command[:3], str(path), *command[3:]]) for path in inputs)
        cells = (f"{value / 10**6:.0f}" for value in (less, more, more - less))
        rows.append((name, flags[1], *cells))
        figures[name] = {"less": less, "more": more}
    return Table(
        title="Peak memory of segtf.predict, MB",
        columns=("images", "saved", "the smaller job", "the larger job", "difference"),
        rows=tuple(rows),
        note="Targets: less than 2 GB more for the giant image, at most 5 % more for many images.",
        figures=figures,
    )


def write_stripes(path: Path, side: int) -> Path:
    """A compressed TIFF of `side` x `side` pixels with stripes of three colours, strip by strip."""
    import tifffile

    row = np.eye(3, dtype=np.uint8)[np.arange(side) // 700 % 3] * 255
    strip = np.broadcast_to(row, (ROWS, side, 3))
    # compressed here: of raw strips tifffile wants the whole image at once
    strips = (zlib.compress(strip[: side - top].tobytes(), 1) for top in range(0, side, ROWS))
    tifffile.imwrite(
        path,
        strips,
        shape=(side, side, 3),
        dtype=np.uint8,
        rowsperstrip=ROWS,
        photometric="rgb",
        compression="zlib",
    )
    return path
