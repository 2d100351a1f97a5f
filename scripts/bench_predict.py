"""Measure prediction beside the bare network: python -m scripts.bench_predict RUN

Prints a Markdown table for each part and writes `bench_predict.md` and `bench_predict.json`. Both
sides of a part are measured by turns on the same photos. Figures are worth something on a machine
that does nothing else meanwhile; its load is written down with them.
"""

from __future__ import annotations

import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from scripts.bench_table import Table, write_tables
from segtf.photos import find_photos
from voc_builder.command import run
from voc_builder.errors import UserError, refuse_below_one
from voc_builder.progress import note


@dataclass(frozen=True)
class BenchConfig:
    """Measure prediction end to end, the engines, the seams of tiles, and memory."""

    run: Path
    """Run folder with best.keras, saved_model and model.onnx."""
    photos: Path = Path("fishki_labelme")
    """Folder of photos of the kind that the network knows; side by side they make larger ones."""
    out: Path = Path("artifacts/bench_predict")
    """Folder for bench_predict.md and bench_predict.json."""
    only: str = "whole,engines,seam,memory"
    """Parts to measure, with commas."""
    side: int = 2448
    """Side of the photos of the parts whole and seam, pixels."""
    count: int = 3
    """Photos of the parts whole and seam."""
    rounds: int = 3
    """How often each side is measured, by turns; the medians count."""
    sizes: tuple[int, ...] = (512, 1024, 2448)
    """Sides of the photos of the part engines, made larger to what the network can take."""
    overlap: float = 0.25
    """Of the tiles."""
    giant: int = 20_000
    """Side of the photo of the part memory, pixels."""


def bench_predict(config: BenchConfig) -> None:
    """Measures the parts in the order in which they are named, and writes after each of them.
    Raises `UserError` for a part that is not there and for a run without its networks.
    """
    parts: dict[str, Callable[[BenchConfig, Path], Table]] = {
        "whole": _whole,
        "engines": _engines,
        "seam": _seam,
        "memory": _memory,
    }
    names = config.only.split(",")
    unknown = sorted(set(names) - set(parts))
    if unknown:
        raise UserError(f"--only {config.only}: no part {unknown[0]!r}, but {', '.join(parts)}")
    refuse_below_one(side=config.side, count=config.count, rounds=config.rounds, giant=config.giant)
    begun, machine = time.time(), describe_machine()
    tables: dict[str, Table] = {}
    print(machine, flush=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            tables[name] = parts[name](config, Path(folder))
        print(f"\n{tables[name].markdown()}", flush=True)
        write_tables(config.out, "bench_predict", machine, tables)
    note(f"{config.out}: measured in {time.time() - begun:.0f} s")


def describe_machine() -> str:
    """What the figures were measured on, and how busy it was, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    return f"{cores} cores{load}, Python {platform.python_version()}, onnxruntime " + version(
        "onnxruntime"
    )


def _whole(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_whole import lay_photos, measure_whole

    photos = lay_photos(find_photos([config.photos]), folder, config.side, config.count)
    return measure_whole(config.run, photos, folder, overlap=config.overlap, rounds=config.rounds)


def _engines(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_engines import measure_engines
    from scripts.bench_whole import lay_photos

    (photo,) = lay_photos(find_photos([config.photos]), folder, max(config.sizes), 1)
    return measure_engines(config.run, photo, config.sizes, rounds=config.rounds)


def _seam(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_seam import measure_seam
    from scripts.bench_whole import lay_photos

    photos = lay_photos(find_photos([config.photos]), folder, config.side, config.count)
    return measure_seam(config.run, photos, overlap=config.overlap)


def _memory(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_giant import measure_giant

    return measure_giant(folder, config.giant)


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(bench_predict, BenchConfig, "python -m scripts.bench_predict", argv)


if __name__ == "__main__":
    raise SystemExit(main())
