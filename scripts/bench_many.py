"""Measure the memory that many images take to be predicted, beside that of few."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.bench_giant import peak_of
from scripts.bench_table import Table, met
from scripts.bench_whole import lay_images
from segtf.inference.onnx_model import find_model
from voc_builder.base.progress import note

LIMIT = 0.05  # of the memory for few images: that of a process is not the same twice
SAVE = ("mask", "mask,coco,rle")


def measure_many(
    run: Path, found: Sequence[Path], folder: Path, side: int, counts: tuple[int, int]
) -> Table:
    """The largest memory of `segtf.predict` for few and for many images of `side` x `side`, each in
    a process of its own. Raises `UserError` where memory cannot be told.
    """
    model, (few, many) = find_model(run), counts
    images = {count: folder / f"photos_{count}" for count in counts}
    for count, place in images.items():
        lay_images(found, place, side, count)
    rows, figures = [], {}
    for save in SAVE:
        peaks = {}
        for count, place in images.items():
            note(f"many: {count} images, {save}")
            peaks[count] = peak_of(["--save", save], model, place, folder / "out")
        figures[save] = {str(count): peak for count, peak in peaks.items()}
        cells = (peaks[few], peaks[many], peaks[many] - peaks[few])
        rows.append((save, *(f"{value / 10**6:.0f}" for value in cells)))
    growth = max(each[str(many)] / each[str(few)] for each in figures.values()) - 1
    return Table(
        title=f"Memory over images of {side} x {side}, MB",
        columns=("written", f"{few} images", f"{many} images", "more"),
        rows=tuple(rows),
        verdict="Largest resident memory of the process. Wanted: flat in the number of images, at "
        f"most {LIMIT:.0%} more for {many} than for {few}: {met(growth, LIMIT)} ({growth:.1%}).",
        figures=figures,
    )
