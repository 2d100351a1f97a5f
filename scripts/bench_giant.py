"""Measure the memory that an image of hundreds of megapixels takes to be predicted."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.bench_table import Table, met
from segtf.inference.onnx_model import INPUT, OUTPUT, ModelInfo, write_metadata
from voc_builder.base.colours import voc_colours
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

LIMIT = 2 * 10**9  # bytes
TILE = 512
ROWS = 256  # of a strip of the TIFF
CLASSES = ("background", "green", "blue")
# A process begins with the memory of the one that starts it, which its peak then tells of: a small
# one must start it.
WATCH = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended.returncode)
"""
SAVE = {"mask": "mask", "mask and overlay": "mask,overlay"}


def measure_giant(folder: Path, side: int) -> Table:
    """The largest memory of `segtf.predict` for a striped TIFF of `side` x `side`, beyond what it
    takes for one of a single tile. The network is one layer, as its own need is not counted and the
    thousands of tiles of a real one would take an hour. Raises `UserError` where memory cannot be
    told.
    """
    model = write_colour_network(folder / "model.onnx")
    images = {length: write_stripes(folder / f"{length}.tif", length) for length in (TILE, side)}
    rows, figures = [], {}
    for name, save in SAVE.items():
        note(f"memory: {side} x {side}, {name}")
        least, most = (
            peak_of(["--save", save, "--mode", "tile"], model, images[length], folder / "out")
            for length in (TILE, side)
        )
        figures[name] = {"one_tile": least, "photo": most}
        cells = (least, most, most - least)
        rows.append((name, *(f"{value / 10**6:.0f}" for value in cells)))
    more = max(each["photo"] - each["one_tile"] for each in figures.values())
    return Table(
        title=f"Memory of an image of {side} x {side}, MB",
        columns=("written", f"{TILE} x {TILE}", f"{side} x {side}", "more"),
        rows=tuple(rows),
        verdict=f"Largest resident memory of the process; a TIFF of {side**2 / 10**6:,.0f} "
        "megapixels in strips, which are read as they are wanted. Wanted: less than "
        f"{LIMIT / 10**9:g} GB more than for one tile: {met(more, LIMIT)} ({more / 10**9:.2f} GB).",
        figures=figures,
    )


def peak_of(flags: list[str], model: Path, image: Path, out: Path) -> int:
    """Bytes that `segtf.predict` held at most. Raises RuntimeError if it fails, `UserError` where
    memory cannot be told.
    """
    if os.name != "posix":
        raise UserError("memory is measured on Linux and macOS: leave it out of --only")
    command = [sys.executable, "-m", "segtf.predict", str(model), str(image), "--out", str(out)]
    watched = [sys.executable, "-c", WATCH, *command, *flags]
    ended = subprocess.run(
        watched, capture_output=True, encoding="locale", errors="backslashreplace", check=False
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)}: {ended.stderr}")
    return int(ended.stdout.split()[-1]) * (1 if sys.platform == "darwin" else 1024)


def write_stripes(path: Path, side: int) -> Path:
    """A TIFF of stripes of all classes, compressed, strip by strip."""
    import tifffile

    # compressed here: tifffile takes strips that are, else whole pages
    strips = (
        zlib.compress(_strip(top, min(ROWS, side - top), side), 1) for top in range(0, side, ROWS)
    )
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


def _strip(top: int, height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = np.arange(top, top + height)[:, None], np.arange(width)
    strip = np.zeros((height, width, 3), np.uint8)
    np.put_along_axis(strip, ((rows + columns) // 700 % 3)[..., None], np.uint8(255), axis=2)
    return strip


def write_colour_network(path: Path) -> Path:
    """An ONNX file for which each colour channel is the probability of a class."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Cast", [INPUT], ["raw"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["raw", "scale"], [OUTPUT]),
    ]
    sizes = ["batch", "height", "width", 3]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, sizes)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, sizes)],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255])],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    info = ModelInfo(
        classes=CLASSES,
        colours=tuple((int(r), int(g), int(b)) for r, g, b in voc_colours(len(CLASSES))),
        shape=(TILE, TILE),
        multiple=1,
        fixed=False,
        arch="one layer",
        encoder="",
        dataset_sha256="",
        version=version("segtf"),
        mode="tile",
    )
    write_metadata(path, info)
    return path
