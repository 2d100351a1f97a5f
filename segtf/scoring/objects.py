"""Count objects of a class: true positives, false negatives and false positives.

An object is a component of pixels of one class in a mask (8-neighbourhood); areas are in pixels.
Counts are int64 and add up over images.

A true object is found if at least `FOUND` of its pixels are predicted as its class, by one or more
predicted objects. A predicted object is a false positive unless at least `AIMED` of its pixels lie
on true objects of its class. These are two fractions instead of one IoU because an inspector needs
the place of each defect, not its outline: with COCO's IoU of 0.5 a scratch would be missed if it is
predicted twice as wide as annotated, or in two parts. The form is that of the Region Detection Rate
for surface defects (Huxohl and Kummert 2021, https://doi.org/10.1109/ICSIPA52582.2021.9576810). The
values are lower: with a quarter, touching an edge is not enough; with a tenth, a prediction of
three times the width and height is accepted, but not the whole image, which finds every defect.

Void: a predicted object that lies mostly on it is left out; of others the pixels outside it count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segtf.scoring.metrics import Counts
from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID

FOUND = 0.25  # of a true object's pixels
AIMED = 0.1  # of a predicted object's pixels
# an object that contains no 3 x 3 block is a speck; the others are small, medium or large
SIZES = ("specks", "small", "medium", "large")
TRUE, HIT, ALARMS, FALSE = range(4)  # columns: true objects, found ones, predicted, false
BLOCK = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Components:
    """The objects of one class in one mask."""

    areas: NDArray[np.int64]  # pixels, void left out
    shares: NDArray[np.float64]  # fraction of these pixels with the class in the other mask
    whole: NDArray[np.bool_]  # not a speck


@dataclass(frozen=True)
class ImageObjects:
    """The true and the predicted objects of one class in one image."""

    truth: Components
    alarms: Components


def object_classes(classes: Sequence[str]) -> range:
    """Ids of the classes that have objects: all but the background."""
    return range(1 if has_background(classes) else 0, len(classes))


def find_objects(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], class_id: int
) -> ImageObjects:
    """The objects of a class in two masks of class ids of the same shape (H, W), 255 void. Raises
    ValueError for shapes that differ.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"shapes differ. Received: {truth.shape} and {prediction.shape}")
    real, predicted, void = truth == class_id, prediction == class_id, truth == VOID
    return ImageObjects(components(real, predicted, void), components(predicted, real, void))


def components(
    of_class: NDArray[np.bool_], other: NDArray[np.bool_], void: NDArray[np.bool_]
) -> Components:
    """The objects of one of two masks, from its pixels of the class, those of the other mask, and
    the void pixels, all of shape (H, W).
    """
    box, count, labels = label_objects(of_class)
    if count == 1:
        return Components(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, bool))
    inside = np.ascontiguousarray(of_class[box])
    cores = eroded(inside.view(np.uint8)) > 0
    return measured(labels[inside], count, cores[inside], other[box][inside], void[box][inside])


def label_objects(
    of_class: NDArray[np.bool_],
) -> tuple[tuple[slice, slice], int, NDArray[np.int32]]:
    """The smallest box around the pixels of a class, the number of objects plus 1, and the object
    number of each pixel of the box, 0 for none.
    """
    x, y, width, height = cv2.boundingRect(of_class.view(np.uint8))
    box = np.s_[y : y + height, x : x + width]
    if not width:
        return box, 1, np.zeros((0, 0), np.int32)
    inside = np.ascontiguousarray(of_class[box]).view(np.uint8)
    count, labels = cv2.connectedComponents(inside, connectivity=8, ltype=cv2.CV_32S)
    return box, count, np.asarray(labels, np.int32)


def measured(
    labels: NDArray[np.int32],
    count: int,
    cores: NDArray[np.bool_],
    other: NDArray[np.bool_],
    void: NDArray[np.bool_],
) -> Components:
    """The objects of pixels. Arrays have the shape (pixels,): the number of the object, 1 to below
    `count`; whether the pixel is the centre of a 3 x 3 block of its object; whether the other mask
    has the class there; whether it is void.
    """
    total = np.bincount(labels, minlength=count)
    areas = total - np.bincount(labels[void], minlength=count)
    hits = np.bincount(labels[other], minlength=count)
    whole = np.zeros(count, bool)
    whole[labels[cores]] = True
    kept = 2 * areas >= total
    kept[0] = False  # pixels without object
    return Components(areas[kept], hits[kept] / areas[kept], whole[kept])


def eroded(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Minimum over 3 x 3 pixels, 0 beyond the edge."""
    least = cv2.erode(values, BLOCK, borderType=cv2.BORDER_CONSTANT, borderValue=[0])
    return np.asarray(least, np.uint8)


def enough(objects: Components, least: float) -> NDArray[np.bool_]:
    """Objects of which at least the fraction `least`, above 0, is in the other mask."""
    return (objects.shares >= least) & (objects.shares > 0)


def size_limits(images: Sequence[ImageObjects]) -> tuple[int, int]:
    """The largest areas of small and of medium objects, so that each size has a third of the true
    objects, without specks; (0, 0) without any.
    """
    areas = np.concatenate(
        [np.zeros(0, np.int64), *(p.truth.areas[_counted(p.truth, _thin(images))] for p in images)]
    )
    if not areas.size:
        return 0, 0
    small, medium = np.quantile(areas, [1 / 3, 2 / 3], method="inverted_cdf")
    return int(small), int(medium)


def count_objects(
    images: Sequence[ImageObjects],
    limits: tuple[int, int],
    *,
    found: float = FOUND,
    aimed: float = AIMED,
) -> Counts:
    """Objects of a class by image, size and kind: shape (images, `SIZES`, 4), the columns being
    `TRUE`, `HIT`, `ALARMS` and `FALSE`.

    Specks are counted apart: remains of an annotation are no defects, and single pixels no alarms.
    Where all true objects of a class are specks, they count as its objects.
    """
    counts = np.zeros((len(images), len(SIZES), 4), np.int64)
    thin = _thin(images)
    for of_image, image in zip(counts, images, strict=True):
        for objects, least, column in ((image.truth, found, TRUE), (image.alarms, aimed, ALARMS)):
            size = 1 + np.searchsorted(limits, objects.areas)
            size[~_counted(objects, thin)] = 0
            chosen = enough(objects, least) == (column == TRUE)
            of_image[:, column] = np.bincount(size, minlength=len(SIZES))
            of_image[:, column + 1] = np.bincount(size[chosen], minlength=len(SIZES))
    return counts


def without_specks(counts: Counts) -> Counts:
    """The sum over sizes, without specks, of the counts of `count_objects`: shape (images, 4)."""
    return counts[:, 1:].sum(axis=1)


def _thin(images: Sequence[ImageObjects]) -> bool:
    """Whether all true objects, if there are any, are specks."""
    some = any(image.truth.areas.size for image in images)
    return some and not any(image.truth.whole.any() for image in images)


def _counted(objects: Components, thin: bool) -> NDArray[np.bool_]:
    return np.ones_like(objects.whole) if thin else objects.whole
