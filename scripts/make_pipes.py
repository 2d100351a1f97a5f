"""Draw photos of the inside of pipes, many with boxes and a few with masks:
python -m scripts.make_pipes OUT
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.own_files import refuse_taken_folder
from segtf.run.size import describe, parse_size
from voc_builder.base.command import run
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import in_threads, progress

if TYPE_CHECKING:
    from scripts.drawing.pipe_photo import Box, Photo, Thing

OWN_FILE = re.compile(
    r"boxes|boxes/data\.yaml"
    r"|boxes/(images|labels|Annotations)(/(train|val|test)(/boxes_\d{5}\.(jpg|txt|xml))?)?"
    r"|masks|masks/classes\.txt|masks/(train|valid|test)(_mask)?(/masks_\d{5}\.(jpg|png))?"
    r"|mask_boxes|mask_boxes/(train|valid|test)(/masks_\d{5}\.txt)?"
)
FEWER = 10  # times as few photos have masks
SMALLEST = 48  # pixels; below that things are specks
# shares of the photos for val and test; of the few with masks more, or scores would say nothing
BOXES, MASKS = (0.1, 0.1), (0.2, 0.3)


@dataclass(frozen=True)
class PipesConfig:
    """Draw photos of the inside of pipes with six kinds of things in them: with boxes as YOLO and
    Pascal VOC keep them, and other, ten times fewer photos with masks of the very pixels.
    """

    out: Path
    """Folder to write: boxes/ with images, labels and Annotations, masks/ with photos and masks,
    mask_boxes/ with the boxes of the latter, which are not to be learned from"""
    count: int = 400
    """Number of photos with boxes; a tenth of it, of its own, has masks"""
    size: int | str = "240x320"
    """Height x width of a photo, pixels, or one number for both"""
    seed: int = 1
    """The same seed gives the same files, byte for byte; a photo is the same for any count"""
    overwrite: bool = False
    """Replace the folder if it exists and holds nothing but such files"""


def make_pipes(config: PipesConfig) -> None:
    """Writes both sets; raises `UserError` for a folder that exists, or that holds other files than
    are written here.
    """
    shape = parse_size(config.size)
    few = config.count // FEWER
    # so that each split of the masks has a photo
    if config.count < 3 * FEWER or min(shape) < SMALLEST or config.seed < 0:
        raise UserError(
            f"--count must be at least {3 * FEWER}, the sides of --size at least {SMALLEST}, "
            f"--seed 0 or more. Received: {config.count}, {config.size}, {config.seed}"
        )
    refuse_taken_folder(config.out, OWN_FILE, overwrite=config.overwrite)
    with replacing(config.out) as folder:
        boxes, masks = folder / "boxes", folder / "masks"
        boxes.mkdir(parents=True)
        masks.mkdir()
        (boxes / "data.yaml").write_text(data_yaml(), "utf-8")
        (masks / "classes.txt").write_text("background\nobject\n", "utf-8")
        jobs = [
            *((index, name, True) for index, name in enumerate(splits(config.count, *BOXES))),
            *((index, name, False) for index, name in enumerate(splits(few, *MASKS))),
        ]

        def draw(job: tuple[int, str, bool]) -> None:
            index, split, boxed = job
            photo = draw_photo(index, config.seed, shape, boxed=boxed)
            if boxed:
                write_boxes(boxes, split, f"boxes_{index:05d}", photo)
            else:
                write_masks(folder, split, f"masks_{index:05d}", photo)

        drawn = in_threads(draw, jobs, os.cpu_count() or 1)
        for _ in progress(drawn, len(jobs), "photos", patience=3):
            pass


def splits(count: int, val: float, test: float) -> Iterator[str]:
    """The split of each photo; they are drawn alike, so that any will do for any."""
    few = [max(round(count * share), 1) for share in (val, test)]
    yield from ["train"] * (count - sum(few)) + ["val"] * few[0] + ["test"] * few[1]


def draw_photo(index: int, seed: int, shape: tuple[int, int], *, boxed: bool) -> Photo:
    """A photo of one of the two sets, which have none in common."""
    import numpy as np

    from scripts.drawing.pipe_photo import draw_pipe_photo

    return draw_pipe_photo(np.random.default_rng((seed, 1 if boxed else 2, index)), *shape)


def write_boxes(folder: Path, split: str, name: str, photo: Photo) -> None:
    """The photo, `labels/SPLIT/NAME.txt` and `Annotations/SPLIT/NAME.xml`."""
    height, width = photo.image.shape[:2]
    lines = yolo_lines(photo.things, height, width)
    xml = voc_xml(f"{name}.jpg", photo.things, height, width)
    _write(folder / "images" / split / f"{name}.jpg", encode_jpeg(photo))
    _write(folder / "labels" / split / f"{name}.txt", lines.encode())
    _write(folder / "Annotations" / split / f"{name}.xml", xml.encode())


def write_masks(folder: Path, split: str, name: str, photo: Photo) -> None:
    """The photo in `masks/train`, `masks/valid` or `masks/test`, its mask of ids in
    `masks/train_mask`, ..., and its boxes in `mask_boxes/train`, ...
    """
    from voc_builder.pixels.png import encode_mask

    place, (height, width) = "valid" if split == "val" else split, photo.image.shape[:2]
    _write(folder / "masks" / place / f"{name}.jpg", encode_jpeg(photo))
    _write(folder / "masks" / f"{place}_mask" / f"{name}.png", encode_mask(photo.mask))
    lines = yolo_lines(photo.things, height, width)
    _write(folder / "mask_boxes" / place / f"{name}.txt", lines.encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def encode_jpeg(photo: Photo) -> bytes:
    import cv2

    quality = [cv2.IMWRITE_JPEG_QUALITY, photo.quality]
    _, encoded = cv2.imencode(".jpg", photo.image[..., ::-1], quality)
    return encoded.tobytes()


def data_yaml() -> str:
    """What YOLO wants to know of a data set."""
    from scripts.drawing.pipe_things import KINDS

    names = "".join(f"  {number}: {kind}\n" for number, kind in enumerate(KINDS))
    places = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test"))
    return f"path: .\n{places}names:\n{names}"


def yolo_lines(things: Sequence[Thing], height: int, width: int) -> str:
    """A line for each thing: the number of its kind, the middle of its box, width and height, as
    shares of the photo's.
    """
    from scripts.drawing.pipe_things import KINDS

    def line(thing: Thing) -> str:
        left, top, right, bottom = thing.box
        middle = (left + right) / 2 / width, (top + bottom) / 2 / height
        values = *middle, (right - left) / width, (bottom - top) / height
        return f"{KINDS.index(thing.kind)} {' '.join(f'{value:.6f}' for value in values)}\n"

    return "".join(map(line, things))


def voc_xml(name: str, things: Sequence[Thing], height: int, width: int) -> str:
    """The same boxes as Pascal VOC keeps them: pixels counted from 1, the last ones in the box."""

    def element(kind: str, box: Box) -> str:
        left, top, right, bottom = box
        cut = left == 0 or top == 0 or right == width or bottom == height
        return (
            f"  <object>\n    <name>{kind}</name>\n    <pose>Unspecified</pose>\n"
            f"    <truncated>{int(cut)}</truncated>\n    <difficult>0</difficult>\n"
            f"    <bndbox>\n      <xmin>{left + 1}</xmin>\n      <ymin>{top + 1}</ymin>\n"
            f"      <xmax>{right}</xmax>\n      <ymax>{bottom}</ymax>\n    </bndbox>\n"
            "  </object>\n"
        )

    objects = "".join(element(thing.kind, thing.box) for thing in things)
    return (
        f"<annotation>\n  <filename>{name}</filename>\n  <size>\n    <width>{width}</width>\n"
        f"    <height>{height}</height>\n    <depth>3</depth>\n  </size>\n"
        f"  <segmented>0</segmented>\n{objects}</annotation>\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: PipesConfig) -> None:
        make_pipes(config)
        few, shape = config.count // FEWER, describe(parse_size(config.size))
        print(f"{config.out}: {shape}, {config.count} photos with boxes, {few} others with masks")

    return run(command, PipesConfig, "python -m scripts.make_pipes", argv)


if __name__ == "__main__":
    sys.exit(main())
