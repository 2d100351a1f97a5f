"""The files that a prediction can write: where each goes, and how it is encoded."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.inference.prediction import Answer
from segtf.outputs.labelme_json import labelme_annotation
from segtf.outputs.polygons import TOLERANCE
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError
from voc_builder.pixels.image_rows import Rows, shrunk
from voc_builder.pixels.images import encode_jpeg, resize_mask
from voc_builder.pixels.overlay import draw_overlay

PIXELS = 64_000_000  # of a picture at most: it is for people to look at
# where the files of each image go under the folder of results, and those of all images together
EACH = {
    "mask": "masks/{}.png",
    "overlay": "overlays/{}.jpg",
    "cutout": "cutouts/{}.png",
    "probabilities": "probabilities/{}.npz",
    "labelme": "labelme/{}.json",
}
TOGETHER = {"rle": "rle.csv", "coco": "coco.json"}
OUTPUTS = (*EACH, *TOGETHER)
Shapes = Literal["polygon", "mask"]


@dataclass(frozen=True)
class Wanted:
    """What to write for every image."""

    save: tuple[str, ...] = ("mask", "overlay")  # names of `OUTPUTS`
    tolerance: float = TOLERANCE  # pixels, of the polygons for labelme
    shapes: Shapes = "polygon"  # for labelme
    rle_class: str | None = None  # None: all but the background
    queue: bool = False
    gallery: bool = False
    threshold: tuple[int, float] | None = None  # class id and its decision threshold


def outputs_of(save: str, flag: str = "--save") -> tuple[str, ...]:
    """The outputs in a list such as `mask,overlay`. Raises `UserError` for unknown ones."""
    wanted = tuple(name.strip() for name in save.split(",") if name.strip())
    unknown = [name for name in wanted if name not in OUTPUTS]
    if unknown or not wanted:
        raise UserError(f"{flag} takes a list of {', '.join(OUTPUTS)}. Received: {save}")
    return wanted


def check_outputs(wanted: Wanted, classes: Sequence[str]) -> None:
    """Raises `UserError` for outputs that are impossible with the `classes` of a network."""
    first = classes[0]
    if "cutout" in wanted.save and not has_background(classes):
        raise UserError(
            f"--save cutout: no class of this network is the background, its first is {first}: "
            "there is nothing to cut out of"
        )
    if wanted.rle_class is not None and wanted.rle_class not in classes:
        raise UserError(
            f"--rle-class {wanted.rle_class}: the network knows {', '.join(classes)}: "
            "name one of them"
        )
    if "rle" in wanted.save and wanted.rle_class is None and not has_background(classes):
        raise UserError(
            f"--save rle: no class of this network is the background: name the one to encode with "
            f"--rle-class, one of {', '.join(classes)}"
        )
    if not 0 <= wanted.tolerance < math.inf:
        raise UserError(f"--tolerance takes pixels from 0 on. Received: {wanted.tolerance}")


@dataclass(frozen=True)
class View:
    """An image and its masks at the size of pictures: full size, or resized to 64 megapixels if the
    image has more.
    """

    image: NDArray[np.uint8]  # RGB, (H, W, 3)
    mask: NDArray[np.uint8]  # class ids, (H, W)
    background: NDArray[np.float32] | None  # its probability, (H, W)
    truth: NDArray[np.uint8] | None  # (H, W)


def view_of(image: Rows, answer: Answer, truth: NDArray[np.uint8] | None = None) -> View:
    """The view of an image, with the true class ids, shape (H, W), if they are known."""
    height, width = image.shape[:2]
    side = math.sqrt(PIXELS / (height * width))
    if side >= 1:
        return View(image[:], answer.mask, answer.background, truth)
    height, width = (max(round(length * side), 1) for length in (height, width))
    background = answer.background
    if background is not None:
        small = cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA)
        background = np.asarray(small, np.float32)
    return View(
        shrunk(image, height, width),
        resize_mask(answer.mask, height, width),
        background,
        None if truth is None else resize_mask(truth, height, width),
    )


def encode_overlay(view: View, classes: Sequence[str], colours: NDArray[np.uint8]) -> bytes:
    """A JPEG of the image with its classes drawn over it. Raises `UserError` if a side is too long
    for a JPEG.
    """
    return encode_jpeg(draw_overlay(view.image, view.mask, classes, colours))


def encode_labelme(
    image: Path, mask: NDArray[np.uint8], classes: Sequence[str], file: Path, wanted: Wanted
) -> bytes:
    """The labelme file of class ids, shape (H, W), for the path `file`; it names its image relative
    to that.
    """
    content = labelme_annotation(
        mask,
        classes,
        _relative(image, file.parent),
        tolerance=wanted.tolerance,
        shapes=wanted.shapes,
    )
    return json.dumps(content, ensure_ascii=False, indent=2).encode()


def _relative(image: Path, folder: Path) -> str:
    """The path from a folder to the image, with slashes as labelme writes them."""
    try:
        path = os.path.relpath(image.resolve(), folder.resolve())
    except ValueError:  # on another drive
        path = str(image.resolve())
    return Path(path).as_posix()
