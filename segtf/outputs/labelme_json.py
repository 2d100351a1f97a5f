"""Write class ids as shapes of a labelme file, for an annotator to correct."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segtf.outputs.polygons import FINEST, TOLERANCE, Region, find_regions, outline
from voc_builder.base.classes import has_background
from voc_builder.base.colours import IGNORE, VOID
from voc_builder.base.errors import UserError
from voc_builder.pixels.overlay import count_ids

VERSION = "6.3.1"  # of labelme, whose format this is
SHAPES = ("polygon", "mask")
LEAST_IOU = 0.98  # of every region, and of the background, with the shapes painted again
TINY = 1 / (1 - LEAST_IOU)  # pixels; in a smaller region not one may be wrong
FARTHEST = 16  # pixels that a polygon reaches under others at most, to save time


def labelme_annotation(
    mask: NDArray[np.uint8],
    classes: Sequence[str],
    image_path: str,
    *,
    tolerance: float = TOLERANCE,
    shapes: str = "polygon",
) -> dict[str, Any]:
    """The content of a labelme file for class ids, shape (H, W): a shape for every connected area
    but those of a background, class 0; void (255) is `__ignore__`. `image_path` is the path from
    the file to the image.

    With `shapes` mask, painting the shapes gives exactly these class ids. With polygon, no point of
    an area's outline is more than `tolerance` pixels off, and the tolerance is halved wherever the
    IoU of an area, or of the background, would fall below `LEAST_IOU`. Smaller areas come later and
    cover larger ones, which extend under them in holes and along common borders. An area with a
    hole that shows the background is a mask, since polygons have no holes. Raises `UserError` for
    another kind of shape or a negative tolerance, `ValueError` for ids without a class.
    """
    if shapes not in SHAPES:
        raise UserError(f"shapes are one of {', '.join(SHAPES)}. Received: {shapes}")
    if not 0 <= tolerance < math.inf:
        raise UserError(f"the tolerance of polygons is 0 pixels or more. Received: {tolerance}")
    ids = np.flatnonzero(count_ids(mask)).tolist()
    if nameless := [i for i in ids if i != VOID and i >= len(classes)]:
        raise ValueError(f"every class id needs a name. Received: ids {nameless} of {len(classes)}")
    unpainted = 0 if has_background(classes) else None
    regions = list(find_regions(mask, [i for i in ids if i != unpainted]))
    regions.sort(key=lambda region: -cv2.contourArea(region.outer))  # inner regions come later
    numbers = np.zeros(mask.shape, np.int32)  # of the region that a pixel belongs to, from 1
    for number, region in enumerate(regions, start=1):
        region.cut(numbers)[region.pixels] = number
    drawn = [_Drawn(region, number) for number, region in enumerate(regions, start=1)]
    if shapes == "polygon":
        for one in drawn:
            if not _has_open_hole(one.region, mask, unpainted):
                one.simplify(tolerance, numbers)
        _refine(drawn, numbers)
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [one.shape(classes) for one in drawn],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": mask.shape[0],
        "imageWidth": mask.shape[1],
    }


@dataclass
class _Drawn:
    """A region and its polygon; without one it is drawn as a mask."""

    region: Region
    number: int
    tolerance: float = 0.0
    polygon: NDArray[np.float64] | None = None

    def simplify(self, tolerance: float, numbers: NDArray[np.int32]) -> None:
        if tolerance < FINEST or self.region.area < TINY:
            self.tolerance, self.polygon = 0.0, outline(self.region, 0.0)
        else:
            larger = _extended(self.region, self.number, numbers, math.ceil(2 * tolerance))
            self.tolerance, self.polygon = tolerance, outline(larger, tolerance)

    def refine(self, numbers: NDArray[np.int32]) -> None:
        """Halve the tolerance; below the finest, use a mask."""
        if self.tolerance:
            self.simplify(self.tolerance / 2, numbers)
        else:
            self.polygon = None

    def paint(self, image: Image.Image, value: int) -> None:
        """Paint the shape as labelme does."""
        if self.polygon is not None:
            points = [(x, y) for x, y in self.polygon.tolist()]
            ImageDraw.Draw(image).polygon(points, outline=value, fill=value)
        else:
            region = self.region
            stencil = Image.fromarray(region.pixels.view(np.uint8) * 255)
            image.paste(value, (region.left, region.top), stencil)

    def shape(self, classes: Sequence[str]) -> dict[str, Any]:
        """The entry in the file."""
        region = self.region
        content: dict[str, Any] = {
            "label": IGNORE if region.class_id == VOID else classes[region.class_id],
            "points": [],
            "group_id": None,
            "description": "",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        if self.polygon is not None:
            content["points"] = self.polygon.tolist()
        else:
            height, width = region.pixels.shape
            last = [region.left + width - 1, region.top + height - 1]  # labelme counts it in
            png = cv2.imencode(".png", region.pixels.view(np.uint8) * 255)[1]
            content["points"] = [[region.left, region.top], last]
            content["shape_type"] = "mask"
            content["mask"] = base64.b64encode(png.tobytes()).decode()
        return content


def _has_open_hole(region: Region, mask: NDArray[np.uint8], unpainted: int | None) -> bool:
    """Whether a region has a hole with background in it."""
    if not region.holes or unpainted is None:
        return False
    filled = np.zeros(region.pixels.shape, np.uint8)
    cv2.drawContours(filled, [region.outer - (region.left, region.top)], -1, 1, cv2.FILLED)
    bare = region.cut(mask) == unpainted
    return bool(np.logical_and(filled, bare).any())


def _extended(region: Region, number: int, numbers: NDArray[np.int32], reach: int) -> Region:
    """The region with its outline extended up to `reach` pixels under neighbours painted later, so
    that no gaps open between simplified outlines.
    """
    top, left = max(region.top - reach, 0), max(region.left - reach, 0)
    bottom, right = (np.add((region.top, region.left), region.pixels.shape) + reach).tolist()
    box = numbers[top:bottom, left:right]
    larger, free = (box == number).view(np.uint8), (box >= number).view(np.uint8)
    if np.array_equal(larger, free):
        return region
    for _ in range(min(reach, FARTHEST)):
        larger = np.asarray(cv2.dilate(larger, np.ones((3, 3), np.uint8)), np.uint8) & free
    (outer,), _ = cv2.findContours(
        larger, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top)
    )
    return dataclasses.replace(region, outer=outer[:, 0])


def _refine(drawn: Sequence[_Drawn], numbers: NDArray[np.int32]) -> None:
    """Refine shapes until painting them in order agrees with the `numbers` of the regions, shape
    (H, W).
    """
    height, width = numbers.shape
    of_regions = [one.region.area for one in drawn]
    areas = np.array([numbers.size - sum(of_regions), *of_regions])
    coarse: Sequence[_Drawn] = drawn
    while coarse:
        image = Image.new("I", (width, height))
        for one in drawn:
            one.paint(image, one.number)
        poor = _to_refine(numbers, np.asarray(image), areas)
        coarse = [one for one in drawn if one.number in poor and one.polygon is not None]
        for one in coarse:
            one.refine(numbers)


def _to_refine(
    wanted: NDArray[np.int32], painted: NDArray[np.int32], areas: NDArray[np.int64]
) -> set[int]:
    """The numbers of the shapes to refine, because a region has an IoU below `LEAST_IOU`. `wanted`
    and `painted`, shape (H, W), hold numbers of regions, 0 for the background, `areas` the pixels
    of each.

    Of the two numbers of a wrong pixel the higher one is refined: as the later shape it either
    covers a pixel that is not its own or misses one that is.
    """
    wrong = wanted != painted
    pairs = np.stack([wanted[wrong], painted[wrong]])
    lost, taken = (np.bincount(numbers, minlength=len(areas)) for numbers in pairs)
    poor = areas - lost < LEAST_IOU * (areas + taken)
    return set(np.unique(pairs[:, poor[pairs].any(0)].max(0)).tolist())
