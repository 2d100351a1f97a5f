"""Draw places seen from above, three dates each, with masks: python -m scripts.make_aerial"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.own_files import refuse_taken_folder
from voc_builder.base.command import run
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scripts.drawing.place import Kind

OWN_FILE = re.compile(r"images(/\d{4}_[123]\.jpg)?|annotations(/\d{4}\.png)?|obj\.names")
SMALLEST = 64  # pixels; below that a car is a dot
MOST = 9999  # names have four digits


@dataclass(frozen=True)
class AerialConfig:
    """Draw photos of land from above, three dates of each place, and one mask for the three."""

    out: Path
    """Folder to write: images/0001_1.jpg, 0001_2.jpg, 0001_3.jpg, ..., annotations/0001.png, ...,
    obj.names"""
    count: int = 60
    """Number of places; there are three photos of each"""
    size: int = 300
    """Width and height of a photo, pixels"""
    seed: int = 1
    """The same seed gives the same files, byte for byte; place N is the same for any count"""
    quality: int = 90
    """JPEG quality, 1 to 100"""
    overwrite: bool = False
    """Replace the folder if it exists and holds nothing but such files"""


def make_aerial(config: AerialConfig) -> None:
    """Write the photos and masks; raises `UserError` for a number out of range, a folder that
    exists, or that holds other files than are written here.
    """
    import cv2

    from scripts.drawing.land import CLASSES

    if (
        not 1 <= config.count <= MOST
        or config.size < SMALLEST
        or not 1 <= config.quality <= 100
        or config.seed < 0
    ):
        raise UserError(
            f"--count must be 1 to {MOST}, --size at least {SMALLEST}, --quality 1 to 100, --seed "
            f"0 or more. Received: {config.count}, {config.size}, {config.quality}, {config.seed}"
        )
    refuse_taken_folder(config.out, OWN_FILE, overwrite=config.overwrite)
    quality = [cv2.IMWRITE_JPEG_QUALITY, config.quality]
    with replacing(config.out) as folder:
        (folder / "images").mkdir(parents=True)
        (folder / "annotations").mkdir()
        (folder / "obj.names").write_text("".join(f"{name}\n" for name in CLASSES), "utf-8")
        for number, kind in enumerate(kinds(config.count, config.seed), start=1):
            mask, photos = draw_dates(number, kind, config.size, config.seed)
            _, encoded = cv2.imencode(".png", mask)
            (folder / f"annotations/{number:04d}.png").write_bytes(encoded.tobytes())
            for date, photo in enumerate(photos, start=1):
                _, encoded = cv2.imencode(".jpg", photo[..., ::-1], quality)
                (folder / f"images/{number:04d}_{date}.jpg").write_bytes(encoded.tobytes())


def kinds(count: int, seed: int) -> Iterator[Kind]:
    """What each place is: one of each kind in every five, in random order."""
    import numpy as np

    from scripts.drawing.place import KINDS

    for start in range(0, count, len(KINDS)):
        order = np.random.default_rng((seed, 1, start)).permutation(len(KINDS))
        yield from (KINDS[i] for i in order[: count - start])


def draw_dates(
    number: int, kind: Kind, size: int, seed: int
) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """The mask of a place, shape (size, size), and its photos, RGB of shape (size, size, 3)."""
    import numpy as np

    from scripts.drawing.place import draw_place
    from scripts.drawing.sunlight import FINE, choose_dates, cut_middle, draw_photo

    rng = np.random.default_rng((seed, 2, number))
    seen = rng.uniform(40, 62)  # metres
    # what stands beyond the edge casts its shadow into the photo
    fine = FINE * (size + 2 * (size // 8))
    land = draw_place(rng, kind, fine, seen * fine / (FINE * size))
    photos = [draw_photo(rng, land, date, size) for date in choose_dates(rng)]
    return cut_middle(land.ids, size)[::FINE, ::FINE], photos


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: AerialConfig) -> None:
        make_aerial(config)
        photos = f"3 photos each, {config.size} x {config.size}"
        print(f"{config.out}: {config.count} places, {photos}")

    return run(command, AerialConfig, "python -m scripts.make_aerial", argv)


if __name__ == "__main__":
    sys.exit(main())
