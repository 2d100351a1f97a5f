"""Measure prediction beside the bare network: python -m scripts.bench_predict RUN

Prints a Markdown table for each part and writes `bench_predict.md` and `bench_predict.json`. Both
sides of a part are measured by turns on the same images. Figures are worth something on a machine
that does nothing else meanwhile; its load is written down with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.bench_table import Table, measure_parts
from segtf.inference.find_images import find_images
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one


@dataclass(frozen=True)
class BenchConfig:
    """Measure prediction end to end, the engines, the seams of tiles, and the memory of a large
    image and of many.
    """

    run: Path
    """Run folder with best.keras, saved_model and model.onnx."""
    images: Path = Path("fishki_labelme")
    """Folder of images of the kind that the network knows; side by side they make larger ones."""
    out: Path = Path("artifacts/bench_predict")
    """Folder for bench_predict.md and bench_predict.json."""
    only: str = "whole,engines,seam,memory,many"
    """Parts to measure, with commas."""
    side: int = 2448
    """Side of the images of the parts whole and seam, pixels."""
    count: int = 3
    """Images of the parts whole and seam."""
    rounds: int = 3
    """How often each side is measured, by turns; the medians count."""
    sizes: tuple[int, ...] = (512, 1024, 2448)
    """Sides of the images of the part engines, made larger to what the network can take."""
    overlap: float = 0.25
    """Of the tiles."""
    giant: int = 20_000
    """Side of the image of the part memory, pixels."""
    many: tuple[int, ...] = (50, 500)
    """Numbers of images of the part many: few and many."""
    many_side: int = 1024
    """Side of the images of the part many, pixels."""


def bench_predict(config: BenchConfig) -> None:
    """Measures the parts in the order in which they are named, and writes after each of them.
    Raises `UserError` for a part that is not there and for a run without its networks.
    """
    parts: dict[str, Callable[[BenchConfig, Path], Table]] = {
        "whole": _whole,
        "engines": _engines,
        "seam": _seam,
        "memory": _memory,
        "many": _many,
    }
    refuse_below_one(side=config.side, count=config.count, rounds=config.rounds, giant=config.giant)
    if len(config.many) != 2 or not 0 < config.many[0] < config.many[1]:
        raise UserError(f"--many takes two rising numbers from 1 on. Received: {config.many}")
    bound = {name: partial(part, config) for name, part in parts.items()}
    measure_parts(bound, config.only, config.out, "bench_predict", ("onnxruntime",))


def _whole(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_whole import lay_images, measure_whole

    images = lay_images(find_images([config.images]), folder, config.side, config.count)
    return measure_whole(config.run, images, folder, overlap=config.overlap, rounds=config.rounds)


def _engines(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_engines import measure_engines
    from scripts.bench_whole import lay_images

    (image,) = lay_images(find_images([config.images]), folder, max(config.sizes), 1)
    return measure_engines(config.run, image, config.sizes, rounds=config.rounds)


def _seam(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_seam import measure_seam
    from scripts.bench_whole import lay_images

    images = lay_images(find_images([config.images]), folder, config.side, config.count)
    return measure_seam(config.run, images, overlap=config.overlap)


def _memory(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_giant import measure_giant

    return measure_giant(folder, config.giant)


def _many(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_many import measure_many

    few, many = config.many
    found = find_images([config.images])
    return measure_many(config.run, found, folder, config.many_side, (few, many))


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(bench_predict, BenchConfig, "python -m scripts.bench_predict", argv)


if __name__ == "__main__":
    raise SystemExit(main())
