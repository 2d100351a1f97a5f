"""Measure data set building: voc_builder against the algorithm of labelme's own example script.

`python -m scripts.bench_build [PHOTOS] --times 10` prints a Markdown table. Every side works on the
same photos in a fresh process and is timed as a whole command, Python's start and imports included.
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
from pathlib import Path

import numpy as np


def convert_serially(folder: Path, out: Path) -> None:
    """The published way, after the description of labelme's `labelme2voc.py`: one photo after the
    other is decoded and encoded again with Pillow, every shape drawn into a mask of its own at full
    size, and the class ids saved as a palette PNG. What the script writes besides (instances, NumPy
    files) is left out on both sides.
    """
    from PIL import Image, ImageDraw

    from voc_builder.colours import voc_colours

    palette = voc_colours().ravel().tolist()
    names = (folder / "obj.names").read_text(encoding="utf-8").split()
    for name in ("JPEGImages", "SegmentationClass"):
        (out / name).mkdir(parents=True)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        photo = np.asarray(Image.open(folder / content["imagePath"]))
        Image.fromarray(photo).save(out / "JPEGImages" / f"{path.stem}.jpg")
        class_ids = np.zeros(photo.shape[:2], np.int32)
        for shape in content["shapes"]:
            canvas = Image.fromarray(np.zeros(photo.shape[:2], np.uint8))
            points = [tuple(point) for point in shape["points"]]
            ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
            class_ids[np.array(canvas, dtype=bool)] = names.index(shape["label"])
        mask = Image.fromarray(class_ids.astype(np.uint8), mode="P")
        mask.putpalette(palette)
        mask.save(out / "SegmentationClass" / f"{path.stem}.png")


def repeat_photos(folder: Path, out: Path, times: int) -> int:
    """Every labelme file and photo of `folder` under `times` names; how many there are then."""
    out.mkdir()
    shutil.copy(folder / "obj.names", out)
    files = sorted(folder.glob("*.json"))
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))
        photo = folder / content["imagePath"]
        for number in range(times):
            named = f"{path.stem}_{number:02d}"
            shutil.copyfile(photo, out / f"{named}{photo.suffix}")
            changed = {**content, "imagePath": f"{named}{photo.suffix}"}
            (out / f"{named}.json").write_text(json.dumps(changed), encoding="utf-8")
    return len(files) * times


def time_command(code: str) -> tuple[float, float]:
    """Seconds that Python takes for `code` in a fresh process, and those of `work()` in it."""
    timed = (
        f"import time\n{code}\nstart = time.perf_counter()\nwork()\n"
        "print(time.perf_counter() - start)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", timed], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1])


def build_code(photos: Path, out: Path, *, records: bool) -> str:
    """Python that defines `work`, our side."""
    return (
        "from pathlib import Path\nfrom voc_builder.build import BuildConfig, build\n"
        f"def work(): build(BuildConfig(Path({str(photos)!r}), Path({str(out)!r}), "
        f"records={records}))"
    )


def serial_code(photos: Path, out: Path) -> str:
    """Python that defines `work`, the published algorithm."""
    return (
        "from pathlib import Path\nfrom scripts.bench_build import convert_serially\n"
        f"def work(): convert_serially(Path({str(photos)!r}), Path({str(out)!r}))"
    )


def main(argv: list[str] | None = None) -> int:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench_build", description=__doc__)
    parser.add_argument("photos", nargs="?", type=Path, help="labelme folder (default: 12 drawn)")
    parser.add_argument("--times", type=int, default=10, help="names that each photo gets")
    parser.add_argument("--size", type=int, default=2448, help="side of drawn photos, pixels")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = args.photos or folder / "drawn"
        if args.photos is None:
            size = ["--count", "12", "--size", str(args.size), "--seed", "1"]
            command = [sys.executable, "-m", "scripts.make_fishki", str(source), *size]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        count = repeat_photos(source, folder / "photos", args.times)
        print(f"{count} photos, {os.cpu_count()} cores, Python {platform.python_version()}\n")
        print("| side | command, s | photos a second | faster | work alone, s |")
        print("| --- | ---: | ---: | ---: | ---: |")
        sides = {
            "labelme2voc.py, its algorithm": serial_code(folder / "photos", folder / "serial"),
            "voc_builder, no records": build_code(folder / "photos", folder / "voc", records=False),
            "voc_builder, with TFRecords": build_code(
                folder / "photos", folder / "records", records=True
            ),
        }
        slowest = 0.0
        for side, code in sides.items():
            whole, work = time_command(code)
            slowest = slowest or whole
            times = f"{whole:.2f} | {count / whole:.1f} | {slowest / whole:.1f} x | {work:.2f}"
            print(f"| {side} | {times} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
