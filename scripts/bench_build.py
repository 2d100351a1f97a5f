"""Measure data set building: voc_builder against the algorithm of labelme's own example script.

`python -m scripts.bench_build [PHOTOS] --times 10` prints a Markdown table. Every side works on the
same images in a fresh process and is timed as a whole command, Python's start and imports included.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw


def convert_serially(folder: Path, out: Path, *, instances: bool) -> None:
    """The published way, as labelme's `labelme2voc.py --noviz` goes it: one image after the other
    is decoded and encoded again with Pillow, every shape drawn into a mask of its own at full size,
    and class ids and instance numbers saved as palette PNG and as NumPy files. Without `instances`
    only the image and the class PNG, the least that makes a VOC tree.
    """
    from voc_builder.base.colours import voc_colours

    palette = voc_colours().ravel().tolist()
    names = (folder / "obj.names").read_text(encoding="utf-8").split()
    layers = ("SegmentationClass", "SegmentationObject")[: 1 + instances]
    for name in ("JPEGImages", *layers, *(f"{layer}Npy" for layer in layers)):
        (out / name).mkdir(parents=True)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        image = np.asarray(Image.open(folder / content["imagePath"]))
        Image.fromarray(image).save(out / "JPEGImages" / f"{path.stem}.jpg")
        drawn = draw_shapes(content["shapes"], names, image.shape[:2])
        for layer, ids in zip(layers, drawn, strict=False):
            mask = Image.fromarray(ids.astype(np.uint8), mode="P")
            mask.putpalette(palette)
            mask.save(out / layer / f"{path.stem}.png")
            if instances:
                np.save(out / f"{layer}Npy" / f"{path.stem}.npy", ids)


def draw_shapes(
    shapes: Sequence[dict[str, Any]], names: Sequence[str], size: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Class ids and instance numbers, one full-size mask a polygon, as `shapes_to_label` does."""
    class_ids, instances = np.zeros(size, np.int32), np.zeros(size, np.int32)
    for number, shape in enumerate(shapes, start=1):
        canvas = Image.fromarray(np.zeros(size, np.uint8))
        points = [tuple(point) for point in shape["points"]]
        ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
        inside = np.array(canvas, dtype=bool)
        class_ids[inside] = names.index(shape["label"])
        instances[inside] = number
    return class_ids, instances


def repeat_images(folder: Path, out: Path, times: int) -> int:
    """Every labelme file and image of `folder` under `times` names; how many there are then."""
    out.mkdir()
    shutil.copy(folder / "obj.names", out)
    files = sorted(folder.glob("*.json"))
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))
        image = folder / content["imagePath"]
        for number in range(times):
            named = f"{path.stem}_{number:02d}"
            shutil.copyfile(image, out / f"{named}{image.suffix}")
            changed = {**content, "imagePath": f"{named}{image.suffix}"}
            (out / f"{named}.json").write_text(json.dumps(changed), encoding="utf-8")
    return len(files) * times


def time_command(code: str) -> tuple[float, float]:
    """Seconds that Python takes for `code` in a fresh process, and those of `work()` in it."""
    timed = (
        f"import time\nfrom pathlib import Path\n{code}\n"
        "start = time.perf_counter()\nwork()\nprint(time.perf_counter() - start)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", timed], check=True, capture_output=True)
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def serial_code(images: Path, out: Path, *, instances: bool) -> str:
    """Python that defines `work`, the published algorithm."""
    paths = f"Path({str(images)!r}), Path({str(out)!r})"
    return (
        "from scripts.bench_build import convert_serially\n"
        f"def work(): convert_serially({paths}, instances={instances})"
    )


def build_code(images: Path, out: Path, *, records: bool) -> str:
    """Python that defines `work`, our side."""
    paths = f"Path({str(images)!r}), Path({str(out)!r})"
    return (
        "from voc_builder.build import BuildConfig, build\n"
        f"def work(): build(BuildConfig({paths}, records={records}))"
    )


def measure(images: Path, out: Path) -> Iterator[tuple[str, float, float]]:
    """Name, seconds of the command and seconds of its work, for every side in turn."""
    sides = {
        "`labelme2voc.py --noviz`": serial_code(images, out, instances=True),
        "the same, class masks alone": serial_code(images, out, instances=False),
        "`voc_builder build --no-records`": build_code(images, out, records=False),
        "`voc_builder build`": build_code(images, out, records=True),
    }
    for side, code in sides.items():
        whole, work = time_command(code)
        yield side, whole, work
        shutil.rmtree(out)


def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench_build", description=__doc__)
    parser.add_argument("photos", nargs="?", type=Path, help="labelme folder (default: 12 drawn)")
    parser.add_argument("--times", type=int, default=10, help="names that each image gets")
    parser.add_argument("--size", type=int, default=2448, help="side of drawn images, pixels")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = args.images or folder / "drawn"
        if args.images is None:
            size = ["--count", "12", "--size", str(args.size), "--seed", "1"]
            command = [sys.executable, "-m", "scripts.make_fishki", str(source), *size]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        count = repeat_images(source, folder / "photos", args.times)
        print(f"{count} images, {os.cpu_count()} cores, Python {platform.python_version()}\n")
        print("| side | command, s | images a second | faster | work alone, s |")
        print("| --- | ---: | ---: | ---: | ---: |")
        slowest = 0.0
        for side, whole, work in measure(folder / "photos", folder / "out"):
            slowest = slowest or whole
            speeds = f"{count / whole:.1f} | {slowest / whole:.1f} x"
            print(f"| {side} | {whole:.2f} | {speeds} | {work:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
