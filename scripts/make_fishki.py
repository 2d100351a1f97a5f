"""Draw printed discs on a belt with labelme annotations: python -m scripts.make_fishki OUT"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scripts.drawing.folder import check_ranges, new_folder, write
from voc_builder.base.command import run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from scripts.drawing.disc import Defect, Disc

CLASSES = ("__background__", "fishka", "defect")
OWN_FILE = re.compile(r"\d{8}\.(jpg|json)|obj\.names")
SMALLEST = 64  # pixels; below that a sliver has no pixel of its own

Kind = Literal["empty", "clean", "small", "partial", "large"]
# of ten images two are empty and five show a clean disc
TEN: tuple[Kind, ...] = ("empty",) * 2 + ("clean",) * 5 + ("small", "partial", "large")


@dataclass(frozen=True)
class FishkiConfig:
    """Draw images of discs on a belt, with coarse labelme polygons and a list of classes."""

    out: Path
    """Folder to write: 00000000.jpg, 00000000.json, ..., obj.names"""
    count: int = 40
    """Number of images"""
    size: int = 816
    """Width and height of an image, pixels"""
    seed: int = 1
    """The same seed gives the same files, byte for byte; image N is the same for any count that
    has a multiple of ten above N"""
    quality: int = 90
    """JPEG quality, 1 to 100"""
    overwrite: bool = False
    """Replace the folder if it exists and holds only such files"""


@dataclass(frozen=True)
class Plan:
    """The contents of one image; lengths are fractions of its side."""

    kind: Kind
    disc: Disc | None
    defects: tuple[Defect, ...]
    shapes: tuple[tuple[str, NDArray[np.float64]], ...]  # label and points, in painting order


def make_fishki(config: FishkiConfig) -> None:
    """Write the images and annotations. Raises `UserError` for a number out of range, and for a
    folder that exists or holds other files.
    """
    import cv2

    check_ranges(
        ("--count", config.count, 1, None),
        ("--size", config.size, SMALLEST, None),
        ("--seed", config.seed, 0, None),
        ("--quality", config.quality, 1, 100),
    )
    quality = [cv2.IMWRITE_JPEG_QUALITY, config.quality]
    with new_folder(config.out, OWN_FILE, overwrite=config.overwrite) as folder:
        write(folder / "obj.names", "".join(f"{name}\n" for name in CLASSES))
        for index, kind in enumerate(kinds(config.count, config.seed)):
            name = f"{index:08d}"
            plan = plan_image(index, kind, config.seed)
            image = draw_image(index, plan, config.size, config.seed)
            annotation = json.dumps(labelme_json(f"{name}.jpg", plan, config.size), indent=2)
            write(folder / f"{name}.jpg", cv2.imencode(".jpg", image, quality)[1].tobytes())
            write(folder / f"{name}.json", annotation)


def kinds(count: int, seed: int) -> Iterator[Kind]:
    """The kind of each image: every ten images hold all of `TEN`, in random order."""
    import numpy as np

    for start in range(0, count, len(TEN)):
        left = min(len(TEN), count - start)
        empty, clean = round(left / 5), round(left / 2)
        block = [*TEN[:empty], *TEN[2 : 2 + clean], *TEN[7 : 7 + left - empty - clean]]
        order = np.random.default_rng((seed, 1, start)).permutation(left)
        yield from (block[i] for i in order)


def plan_image(index: int, kind: Kind, seed: int) -> Plan:
    """The disc of one image, its defects and its annotation; quick, draws nothing."""
    import numpy as np

    from scripts.drawing.disc import annotate, choose_defects, choose_disc

    if kind == "empty":
        return Plan(kind, None, (), ())
    rng = np.random.default_rng((seed, 2, index))
    disc = choose_disc(rng)
    defects = choose_defects(rng, kind, disc)
    around = np.linspace(0, 2 * math.pi, rng.integers(14, 21), endpoint=False)
    fishka = annotate(rng, disc.circle(1, around))
    # after the disc: later shapes cover earlier ones
    shapes = (("fishka", fishka), *(("defect", defect.clicks) for defect in defects))
    return Plan(kind, disc, defects, shapes)


def draw_image(index: int, plan: Plan, size: int, seed: int) -> NDArray[np.uint8]:
    """RGB of one image, shape (size, size, 3), its three channels equal."""
    import numpy as np

    from scripts.drawing.belt import draw_belt, finish_image
    from scripts.drawing.disc import draw_disc

    rng = np.random.default_rng((seed, 3, index))
    # automatic exposure: a white disc makes the metal darker
    exposure = rng.uniform(0.8, 1.05) if plan.kind == "empty" else rng.uniform(0.6, 0.95)
    canvas = draw_belt(rng, size, exposure=exposure)
    if plan.disc:
        draw_disc(rng, canvas, plan.disc, plan.defects)
    return np.repeat(finish_image(rng, canvas)[..., None], 3, axis=2)


def labelme_json(image: str, plan: Plan, size: int) -> dict[str, Any]:
    """The annotation of one image in labelme's format, version 5."""
    return {
        "version": "5.0.2",
        "flags": {},
        "shapes": [
            {
                "label": label,
                "points": [[round(float(v) * size, 2) for v in point] for point in points],
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for label, points in plan.shapes
        ],
        "imagePath": image,
        "imageData": None,
        "imageHeight": size,
        "imageWidth": size,
    }


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: FishkiConfig) -> None:
        make_fishki(config)
        print(f"{config.out}: {config.count} images of {config.size} x {config.size}")

    return run(command, FishkiConfig, "python -m scripts.make_fishki", argv)


if __name__ == "__main__":
    sys.exit(main())
