"""Write predictions as a COCO data set: every connected area is an object."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from segtf.outputs.polygons import EDGE, Region, find_regions, simplify, trace
from segtf.outputs.rle import coco_counts
from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.pixels.overlay import count_ids

SEGMENTATIONS = ("polygon", "rle")


def coco_annotations(
    mask: NDArray[np.uint8], classes: Sequence[str], *, segmentation: str = "polygon"
) -> list[dict[str, Any]]:
    """The annotations of class ids, shape (H, W), one per connected area but those of background
    and void (255); `CocoWriter` adds the ids.

    With `segmentation` polygon an area with holes is run lengths and others are polygons, with rle
    all are run lengths; to pycocotools both are exactly the area. Raises `UserError` for another
    segmentation, `ValueError` for ids without a class.

    `iscrowd` is 0 for run lengths too: 1 would mark a group of objects, which evaluation ignores.
    """
    if segmentation not in SEGMENTATIONS:
        raise UserError(
            f"a segmentation is one of {', '.join(SEGMENTATIONS)}. Received: {segmentation}"
        )
    ids, named = np.flatnonzero(count_ids(mask)).tolist(), _categories(classes)
    if nameless := [i for i in ids if i and i != VOID and i not in named]:
        raise ValueError(f"every class id needs a name. Received: ids {nameless}")
    return [
        {
            "category_id": region.class_id,
            "segmentation": _segmentation(region, mask.shape, polygons=segmentation == "polygon"),
            "area": region.area,
            "bbox": [region.left, region.top, *region.pixels.shape[::-1]],
            "iscrowd": 0,
        }
        for region in find_regions(mask, [i for i in ids if i in named])
    ]


class CocoWriter:
    """Writes a COCO file (https://cocodataset.org/#format-data) image by image: `add` each, then
    `end`. Only the entry in the list of images is held in memory.

    The id of a category is its class id. Images and annotations are numbered from 1.
    """

    def __init__(self, file: TextIO, classes: Sequence[str]) -> None:
        self._file = file
        self._images: list[str] = []
        self._count = 0  # annotations
        head = {
            "info": {"description": "predicted by segtf"},
            "licenses": [],
            "categories": [
                {"id": class_id, "name": classes[class_id], "supercategory": ""}
                for class_id in _categories(classes)
            ],
        }
        file.write(f'{_encode(head)[:-1]},"annotations":[')

    def add(
        self, file_name: str, shape: tuple[int, ...], annotations: Sequence[dict[str, Any]]
    ) -> None:
        """Writes the `coco_annotations` of the next image, shape (H, W)."""
        height, width = shape
        image = {"id": len(self._images) + 1, "file_name": file_name}
        self._images.append(_encode({**image, "height": height, "width": width}))
        for annotation in annotations:
            comma = "," if self._count else ""
            self._count += 1
            numbered = {"id": self._count, "image_id": image["id"], **annotation}
            self._file.write(comma + _encode(numbered))

    def end(self) -> None:
        """Writes the rest of the file."""
        self._file.write(f'],"images":[{",".join(self._images)}]}}')


def _categories(classes: Sequence[str]) -> range:
    """The class ids that are categories: all but a background."""
    return range(1 if has_background(classes) else 0, len(classes))


def _encode(values: dict[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _segmentation(region: Region, size: tuple[int, ...], *, polygons: bool) -> Any:
    if polygons and not region.holes:
        return [simplify(trace(region.outer, EDGE), 0).ravel().tolist()]
    height, width = size
    corner = (region.top, region.left)
    counts = coco_counts(region.pixels, corner=corner, size=(height, width))
    return {"size": [height, width], "counts": counts}
