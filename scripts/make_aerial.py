"""Draw land from above, three dates of each place, with masks: python -m scripts.make_aerial OUT"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scripts.drawing.folder import check_ranges, new_folder, write
from voc_builder.base.command import run

OWN_FILE = re.compile(r"images(/\d{4}_[123]\.jpg)?|annotations(/\d{4}\.png)?|obj\.names")
SMALLEST = 64  # pixels; below that a car is a dot
MOST = 9999  # names have four digits


@dataclass(frozen=True)
class AerialConfig:
    """Draw images of land from above, three dates of each place, and one mask for the three."""

    out: Path
    """Folder to write: images/0001_1.jpg, 0001_2.jpg, 0001_3.jpg, ..., annotations/0001.png, ...,
    obj.names"""
    count: int = 60
    """Number of places; there are three images of each"""
    size: int = 300
    """Width and height of an image, pixels"""
    seed: int = 1
    """The same seed gives the same files, byte for byte; place N is the same for any count"""
    quality: int = 90
    """JPEG quality, 1 to 100"""
    overwrite: bool = False
    """Replace the folder if it exists and holds only such files"""


def make_aerial(config: AerialConfig) -> None:
    """Write the images and masks. Raises `UserError` for a number out of range, and for a folder
    that exists or holds other files.
    """
    import cv2
    import numpy as np

    from scripts.drawing.land import CLASSES, PLACES, draw_dates, draw_land
    from voc_builder.pixels.images import encode_jpeg

    check_ranges(
        ("--count", config.count, 1, MOST),
        ("--size", config.size, SMALLEST, None),
        ("--seed", config.seed, 0, None),
        ("--quality", config.quality, 1, 100),
    )
    with new_folder(config.out, OWN_FILE, overwrite=config.overwrite) as folder:
        write(folder / "obj.names", "".join(f"{name}\n" for name in CLASSES))
        for number, kind in enumerate(kinds(config.count, config.seed), start=1):
            rng = np.random.default_rng((config.seed, 2, number))
            land = draw_land(rng, PLACES[kind], config.size)
            mask = cv2.imencode(".png", land.ids)[1].tobytes()
            write(folder / f"annotations/{number:04d}.png", mask)
            for date, image in enumerate(draw_dates(rng, land), start=1):
                encoded = encode_jpeg(image, quality=config.quality)
                write(folder / f"images/{number:04d}_{date}.jpg", encoded)


def kinds(count: int, seed: int) -> Iterator[str]:
    """The kind of each place: one of each in every five, in random order."""
    import numpy as np

    from scripts.drawing.land import PLACES

    for start in range(0, count, len(PLACES)):
        order = np.random.default_rng((seed, 1, start)).permutation(list(PLACES))
        yield from map(str, order[: count - start])


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: AerialConfig) -> None:
        make_aerial(config)
        images = f"3 images each, {config.size} x {config.size}"
        print(f"{config.out}: {config.count} places, {images}")

    return run(command, AerialConfig, "python -m scripts.make_aerial", argv)


if __name__ == "__main__":
    sys.exit(main())
