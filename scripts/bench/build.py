"""Measure the building of a data set beside labelme's example: python -m scripts.bench.build

Each side converts the same images in a process of its own and is timed as a whole command, Python's
start and imports included.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.bench.measure import Table, draw_images, measure, run_child
from voc_builder.base.command import run
from voc_builder.base.errors import refuse_below_one

LABELME2VOC = ("-m", "scripts.bench.labelme2voc")
BUILD = ("-m", "voc_builder", "build")
SIDES: dict[
    str, tuple[tuple[str, ...], tuple[str, ...]]
] = {  # the command and the flags after its two folders
    "`labelme2voc.py --noviz`": (LABELME2VOC, ()),
    "the same, class masks only": (LABELME2VOC, ("--no-instances",)),
    "`voc_builder build --no-records`": (BUILD, ("--no-records",)),
    "`voc_builder build`": (BUILD, ()),
}


@dataclass(frozen=True)
class BuildBench:
    """Measure data set building beside labelme's own example script."""

    images: Path | None = None
    """Folder of labelme annotations with obj.names; null: 12 drawn images."""
    times: int = 10
    """Copies of each image."""
    size: int = 2448
    """Width and height of drawn images, pixels."""
    out: Path = Path("artifacts/bench_build")
    """Folder for tables.md and figures.json."""


def bench_build(config: BuildBench) -> None:
    """Measures, prints and writes."""
    refuse_below_one(times=config.times)
    parts = {"build": partial(measure_build, config)}
    measure(parts, "build", config.out, ("numpy", "pillow", "opencv-python-headless"))


def measure_build(config: BuildBench, folder: Path) -> Table:
    """Seconds of the whole command for each of `SIDES`."""
    source = config.images or draw_images(folder / "drawn", 12, config.size)
    count = copy_images(source, folder / "images", config.times)
    seconds = {}
    for side, (command, flags) in SIDES.items():
        started = time.perf_counter()
        run_child([*command, str(folder / "images"), str(folder / "out"), *flags])
        seconds[side] = time.perf_counter() - started
        shutil.rmtree(folder / "out")
    slowest = next(iter(seconds.values()))
    return Table(
        title=f"Building a data set of {count} images",
        columns=("", "seconds", "images per second", "speed-up"),
        rows=tuple(
            (side, f"{taken:.1f}", f"{count / taken:.1f}", f"{slowest / taken:.1f} x")
            for side, taken in seconds.items()
        ),
        note="Whole commands, one after the other.",
        figures={"images": count, "seconds": seconds},
    )


def copy_images(folder: Path, out: Path, times: int) -> int:
    """Writes every labelme file and image of `folder` under `times` names; returns their number."""
    out.mkdir()
    shutil.copy(folder / "obj.names", out)
    files = sorted(folder.glob("*.json"))
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))
        image = folder / content["imagePath"]
        for number in range(times):
            copy = out / f"{path.stem}_{number:02d}{image.suffix}"
            shutil.copyfile(image, copy)
            changed = json.dumps({**content, "imagePath": copy.name})
            copy.with_suffix(".json").write_text(changed, encoding="utf-8")
    return len(files) * times


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(bench_build, BuildBench, "python -m scripts.bench.build", argv)


if __name__ == "__main__":
    raise SystemExit(main())
