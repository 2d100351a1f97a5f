"""Measure the images and the smallest objects of a data set in its masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.scoring.objects import components
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError
from voc_builder.base.progress import in_threads, progress
from voc_builder.pixels.png import decode_mask
from voc_builder.tree.voc import Dataset

SPLITS = ("train", "val")  # decisions on test images would be data leakage
SMALLEST = 5  # percent of a class's objects
MOST_MASKS = 500  # that are read, evenly spread: thousands would delay training
PATIENCE = 2.0  # seconds before a progress bar appears
WORKERS = 4


@dataclass(frozen=True)
class Objects:
    """The objects of one class: connected pixels, corners count as touching. The size of an object
    is the square root of its area.
    """

    name: str
    count: int
    specks: int  # remains of annotation, into which no 3 x 3 block fits: no objects
    size: float  # that 5 % of the objects do not exceed, pixels of the image
    share: float  # the same of the objects' sizes over the square root of their images' area


@dataclass(frozen=True)
class Survey:
    """Images and objects of train and val; pixels are those of the records where these hold
    smaller images.
    """

    images: dict[str, int]  # of train and val
    masks: int  # that were read
    heights: tuple[int, int, int]  # smallest, median, largest, pixels
    widths: tuple[int, int, int]
    objects: tuple[Objects, ...]  # of the classes that have any, in the order of their ids
    background: str | None  # class 0 if it is no object, else None
    record_size: int | None  # side of the images in the records, if they were resized

    def to_json(self) -> dict[str, Any]:
        """The values of `survey` in `sizing.json`."""
        values = dataclasses.asdict(self)
        return {"photos": values.pop("images"), **values}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Survey:
        """The survey that `to_json` gave; other keys of its objects are ignored."""
        names = [field.name for field in dataclasses.fields(Objects)]
        objects = [Objects(**{name: each[name] for name in names}) for each in values["objects"]]
        return cls(
            images=values["photos"],
            masks=values["masks"],
            heights=tuple(values["heights"]),
            widths=tuple(values["widths"]),
            objects=tuple(objects),
            background=values["background"],
            record_size=values["record_size"],
        )

    @property
    def smallest(self) -> Objects | None:
        """The class with the smallest objects, relative to their images."""
        return min(self.objects, key=lambda objects: objects.share, default=None)


@dataclass(frozen=True)
class _Found:
    """The components of one class in one mask."""

    class_id: int
    areas: NDArray[np.int64]
    whole: NDArray[np.bool_]  # whether a 3 x 3 block fits into it


def survey(dataset: Dataset) -> Survey:
    """Counts and measures the objects of train and val, never those of test.

    Class 0 counts as objects unless it is background, by its name or by having the most pixels.
    Raises `UserError` for a mask that is missing or no PNG.
    """
    ids = [image_id for split in SPLITS for image_id in dataset.splits[split]]
    looked_at = _spread(ids, MOST_MASKS)
    background = _is_background(dataset)
    wanted = range(1 if background else 0, len(dataset.classes))
    results = list(
        progress(
            in_threads(lambda image_id: _look(dataset.mask(image_id), wanted), looked_at, WORKERS),
            len(looked_at),
            "masks surveyed",
            patience=PATIENCE,
        )
    )
    shapes = np.array([shape for shape, _ in results] or [(0, 0)])
    if dataset.record_size:
        shapes = np.full_like(shapes, dataset.record_size)
    measured = [_measure(dataset, class_id, results) for class_id in wanted]
    return Survey(
        images={split: len(dataset.splits[split]) for split in SPLITS},
        masks=len(looked_at),
        heights=_spans(shapes[:, 0]),
        widths=_spans(shapes[:, 1]),
        objects=tuple(objects for objects in measured if objects is not None),
        background=dataset.classes[0] if background else None,
        record_size=dataset.record_size,
    )


def _spread(ids: Sequence[str], most: int) -> list[str]:
    """At most so many ids, evenly spread, the same ones every time."""
    if len(ids) <= most:
        return list(ids)
    return [ids[i * len(ids) // most] for i in range(most)]


def _is_background(dataset: Dataset) -> bool:
    if has_background(dataset.classes):
        return True
    pixels = [
        sum(dataset.pixels[split].get(name, 0) for split in SPLITS) for name in dataset.classes
    ]
    return pixels[0] >= max(pixels)


def _look(path: Path, wanted: Sequence[int]) -> tuple[tuple[int, int], list[_Found]]:
    """Height and width of a mask, and the components of those of the wanted classes in it."""
    try:
        mask = decode_mask(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no mask that can be read ({error}): build it again") from None
    counts = cv2.calcHist([mask], [0], None, [256], [0, 256]).ravel()
    found = [_components(mask, class_id) for class_id in wanted if counts[class_id]]
    return (mask.shape[0], mask.shape[1]), found


def _components(mask: NDArray[np.uint8], class_id: int) -> _Found:
    of_class = mask == class_id
    nothing = np.zeros_like(of_class)
    found = components(of_class, nothing, nothing)
    return _Found(class_id, found.areas, found.whole)


def _measure(
    dataset: Dataset, class_id: int, results: Sequence[tuple[tuple[int, int], list[_Found]]]
) -> Objects | None:
    """The objects of a class over all masks; None without any."""
    of_class = [
        (np.sqrt(found.areas), np.sqrt(found.areas / (shape[0] * shape[1])), found.whole)
        for shape, founds in results
        for found in founds
        if found.class_id == class_id
    ]
    if not of_class:
        return None
    sizes, shares, whole = (np.concatenate(parts) for parts in zip(*of_class, strict=True))
    # a class of thin lines only: they are its objects
    kept = whole if whole.any() else np.ones_like(whole)
    share = float(np.percentile(shares[kept], SMALLEST))
    size = float(np.percentile(sizes[kept], SMALLEST))
    return Objects(
        name=dataset.classes[class_id],
        count=int(kept.sum()),
        specks=int((~kept).sum()),
        size=share * dataset.record_size if dataset.record_size else size,
        share=share,
    )


def _spans(values: NDArray[np.int64]) -> tuple[int, int, int]:
    return int(values.min()), int(np.median(values)), int(values.max())
