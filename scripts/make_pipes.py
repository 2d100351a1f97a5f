"""Draw the inside of pipes, many images with boxes and a few with masks:
python -m scripts.make_pipes OUT
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.drawing.folder import check_ranges, new_folder, write
from segtf.run.size import describe, parse_size
from voc_builder.base.command import run
from voc_builder.base.progress import progress

if TYPE_CHECKING:
    from scripts.drawing.pipes import PipeImage, Thing

OWN_FILE = re.compile(
    r"boxes|boxes/data\.yaml"
    r"|boxes/(images|labels|Annotations)(/(train|val|test)(/boxes_\d{5}\.(jpg|txt|xml))?)?"
    r"|masks|masks/classes\.txt|masks/(train|valid|test)(_mask)?(/masks_\d{5}\.(jpg|png))?"
    r"|mask_boxes|mask_boxes/(train|valid|test)(/masks_\d{5}\.txt)?"
)
FEWER = 10  # images with boxes per image with a mask
SMALLEST = 48  # pixels
QUALITY = 85  # of the JPEGs, 1 to 100
# fractions of val and test; larger for the few images with masks, whose scores would be noise
BOXES, MASKS = (0.1, 0.1), (0.2, 0.3)


@dataclass(frozen=True)
class PipesConfig:
    """Draw the inside of pipes with six kinds of things in them: images with boxes in the formats
    of YOLO and Pascal VOC, and a tenth as many other images with masks of the exact pixels.
    """

    out: Path
    """Folder to write: boxes/ with images, labels and Annotations, masks/ with images and masks,
    mask_boxes/ with the boxes of the latter, to compare with"""
    count: int = 400
    """Number of images with boxes; a tenth of it, other ones, has masks"""
    size: int | str = "240x320"
    """Height x width of an image, pixels, or one number for both"""
    seed: int = 1
    """The same seed gives the same files, byte for byte; an image is the same for any count"""
    overwrite: bool = False
    """Replace the folder if it exists and holds only such files"""


def make_pipes(config: PipesConfig) -> None:
    """Write both sets. Raises `UserError` for a number out of range, and for a folder that exists
    or holds other files.
    """
    from scripts.drawing.pipes import KINDS

    shape = parse_size(config.size)
    check_ranges(
        ("--count", config.count, 3 * FEWER, None),  # so that each split of the masks has an image
        ("a side of --size", min(shape), SMALLEST, None),
        ("--seed", config.seed, 0, None),
    )
    few = config.count // FEWER
    jobs = [(index, split, True) for index, split in enumerate(splits(config.count, *BOXES))]
    jobs += [(index, split, False) for index, split in enumerate(splits(few, *MASKS))]
    with new_folder(config.out, OWN_FILE, overwrite=config.overwrite) as folder:
        write(folder / "boxes/data.yaml", data_yaml(list(KINDS)))
        write(folder / "masks/classes.txt", "background\nobject\n")
        for index, split, boxed in progress(jobs, len(jobs), "images", patience=3):
            drawn = draw_image(index, config.seed, shape, boxed=boxed)
            if boxed:
                write_boxes(folder / "boxes", split, f"boxes_{index:05d}", drawn)
            else:
                write_masks(folder, split, f"masks_{index:05d}", drawn)


def splits(count: int, val: float, test: float) -> Iterator[str]:
    """The split of each image."""
    few = [max(round(count * fraction), 1) for fraction in (val, test)]
    yield from ["train"] * (count - sum(few)) + ["val"] * few[0] + ["test"] * few[1]


def draw_image(index: int, seed: int, shape: tuple[int, int], *, boxed: bool) -> PipeImage:
    """An image of one of the two sets, which have none in common."""
    import numpy as np

    from scripts.drawing.pipes import draw_pipe_image

    return draw_pipe_image(np.random.default_rng((seed, 1 if boxed else 2, index)), *shape)


def write_boxes(folder: Path, split: str, name: str, drawn: PipeImage) -> None:
    """Write the image, `labels/SPLIT/NAME.txt` and `Annotations/SPLIT/NAME.xml`."""
    from voc_builder.pixels.images import encode_jpeg

    height, width = drawn.image.shape[:2]
    write(folder / f"images/{split}/{name}.jpg", encode_jpeg(drawn.image, quality=QUALITY))
    write(folder / f"labels/{split}/{name}.txt", yolo_lines(drawn.things, height, width))
    xml = voc_xml(f"{name}.jpg", drawn.things, height, width)
    write(folder / f"Annotations/{split}/{name}.xml", xml)


def write_masks(folder: Path, split: str, name: str, drawn: PipeImage) -> None:
    """Write the image to `masks/train`, `masks/valid` or `masks/test`, its mask of class ids to
    `masks/train_mask`, ..., and its boxes to `mask_boxes/train`, ...
    """
    from voc_builder.pixels.images import encode_jpeg
    from voc_builder.pixels.png import encode_mask

    part, (height, width) = "valid" if split == "val" else split, drawn.image.shape[:2]
    write(folder / f"masks/{part}/{name}.jpg", encode_jpeg(drawn.image, quality=QUALITY))
    write(folder / f"masks/{part}_mask/{name}.png", encode_mask(drawn.mask))
    write(folder / f"mask_boxes/{part}/{name}.txt", yolo_lines(drawn.things, height, width))


def data_yaml(names: Sequence[str]) -> str:
    """YOLO's description of a data set."""
    classes = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    folders = "".join(f"{split}: images/{split}\n" for split in ("train", "val", "test"))
    return f"path: .\n{folders}names:\n{classes}"


def yolo_lines(things: Sequence[Thing], height: int, width: int) -> str:
    """A line per thing: its class id, and the middle, width and height of its box as fractions of
    the image's.
    """
    from scripts.drawing.pipes import KINDS

    def line(thing: Thing) -> str:
        left, top, right, bottom = thing.box
        middle = (left + right) / 2 / width, (top + bottom) / 2 / height
        values = *middle, (right - left) / width, (bottom - top) / height
        class_id = list(KINDS).index(thing.kind)
        return f"{class_id} {' '.join(f'{value:.6f}' for value in values)}\n"

    return "".join(map(line, things))


def voc_xml(name: str, things: Sequence[Thing], height: int, width: int) -> str:
    """The boxes as Pascal VOC writes them: pixels count from 1, the last ones are inside."""

    def element(thing: Thing) -> str:
        left, top, right, bottom = thing.box
        cut = left == 0 or top == 0 or right == width or bottom == height
        return (
            f"  <object>\n    <name>{thing.kind}</name>\n    <pose>Unspecified</pose>\n"
            f"    <truncated>{int(cut)}</truncated>\n    <difficult>0</difficult>\n"
            f"    <bndbox>\n      <xmin>{left + 1}</xmin>\n      <ymin>{top + 1}</ymin>\n"
            f"      <xmax>{right}</xmax>\n      <ymax>{bottom}</ymax>\n    </bndbox>\n"
            "  </object>\n"
        )

    return (
        f"<annotation>\n  <filename>{name}</filename>\n  <size>\n    <width>{width}</width>\n"
        f"    <height>{height}</height>\n    <depth>3</depth>\n  </size>\n"
        f"  <segmented>0</segmented>\n{''.join(map(element, things))}</annotation>\n"
    )


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: PipesConfig) -> None:
        make_pipes(config)
        few, shape = config.count // FEWER, describe(parse_size(config.size))
        print(f"{config.out}: {shape}, {config.count} images with boxes, {few} others with masks")

    return run(command, PipesConfig, "python -m scripts.make_pipes", argv)


if __name__ == "__main__":
    sys.exit(main())
