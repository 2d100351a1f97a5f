"""Gather predictions as a COCO data set: every connected area an object with its outline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.polygons import EDGE, Region, find_regions, simplify, trace
from segtf.rle import coco_counts
from voc_builder.classes import has_background
from voc_builder.colours import VOID
from voc_builder.errors import UserError
from voc_builder.overlay import count_ids

SEGMENTATIONS = ("polygon", "rle")


class CocoDocument:
    """A COCO file in the making (https://cocodataset.org/#format-data): `add` one photo after the
    other, then `encode`.

    The id of a category is its class id; the background, class 0 if its name says so, is none.
    Photos and annotations are numbered from 1. With `segmentation` polygon an area without holes is
    a polygon and one with holes run lengths, with rle all are run lengths; both are the very pixels
    to pycocotools. Raises `UserError` for another segmentation.

    `iscrowd` is 0 throughout, also with run lengths: it says whether an annotation is a group of
    objects that nobody told apart, which training and evaluation pass over, and an area here is
    one object. That COCO pairs 0 with polygons is its annotators' way of drawing: readers choose by
    what `segmentation` is, and COCO's own annotations of stuff are run lengths with 0.
    """

    def __init__(self, classes: Sequence[str], *, segmentation: str = "polygon") -> None:
        if segmentation not in SEGMENTATIONS:
            raise UserError(
                f"a segmentation is one of {', '.join(SEGMENTATIONS)}. Received: {segmentation}"
            )
        first = 1 if has_background(classes) else 0
        self._polygons = segmentation == "polygon"
        self._categories = [
            {"id": class_id, "name": classes[class_id], "supercategory": ""}
            for class_id in range(first, len(classes))
        ]
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []

    def add(self, file_name: str, mask: NDArray[np.uint8]) -> None:
        """Adds a photo and its class ids, shape (H, W); void (255) is left out. Raises `ValueError`
        for ids without a class.
        """
        ids = np.flatnonzero(count_ids(mask)).tolist()
        named = [category["id"] for category in self._categories]
        if nameless := [i for i in ids if i and i != VOID and i not in named]:
            raise ValueError(f"every class id needs a name. Received: ids {nameless}")
        height, width = mask.shape
        photo = {"id": len(self._images) + 1, "file_name": file_name}
        self._images.append({**photo, "height": height, "width": width})
        for region in find_regions(mask, [i for i in ids if i in named]):
            rows, columns = region.pixels.shape
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": photo["id"],
                    "category_id": region.class_id,
                    "segmentation": self._segmentation(region, mask.shape),
                    "area": region.area,
                    "bbox": [region.left, region.top, columns, rows],
                    "iscrowd": 0,
                }
            )

    def document(self) -> dict[str, Any]:
        """What has been added so far."""
        return {
            "info": {"description": "predicted by segtf"},
            "licenses": [],
            "images": self._images,
            "categories": self._categories,
            "annotations": self._annotations,
        }

    def encode(self) -> bytes:
        """The file, UTF-8."""
        return json.dumps(self.document(), ensure_ascii=False, separators=(",", ":")).encode()

    def _segmentation(self, region: Region, size: tuple[int, ...]) -> Any:
        if self._polygons and not region.holes:
            return [simplify(trace(region.outer, EDGE), 0).ravel().tolist()]
        height, width = size
        corner = (region.top, region.left)
        counts = coco_counts(region.pixels, corner=corner, size=(height, width))
        return {"size": [height, width], "counts": counts}
