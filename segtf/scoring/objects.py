"""Tell which objects of a class were found, and which of the predicted ones are false alarms.

An object is connected pixels of one class in a mask, corners count as touching; areas are pixels.
Counts come first (int64, they add up over images), scores second.

A true object is found where at least `FOUND` of its pixels are predicted as its class, by whatever
number of predicted objects. A predicted object is a false alarm unless at least `AIMED` of its
pixels lie on true objects of its class. Two shares and not one IoU, as an inspector asks whether he
is shown the place of each defect, and how often he looks for nothing: how well outlines agree is
what the IoU of the pixels says. The IoU of at least 0.5 with which COCO matches objects would call
a scratch missed that is marked twice as wide as it was annotated, or in two parts. The form is that
of the Region Detection Rate (Huxohl and Kummert 2021, made for defects on surfaces,
https://doi.org/10.1109/ICSIPA52582.2021.9576810); the values are laxer: a quarter, so that a touch
at the edge finds nothing; a tenth, so that a mark of three times the defect's width and height
still shows it, while one that covers the whole image, which finds every defect, is a false alarm.

Void is neither found nor an alarm: a predicted object that lies mostly on it is left out, of others
the pixels outside it count.
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
# an object into which no 3 x 3 block fits is a speck; the others are small, medium or large
SIZES = ("specks", "small", "medium", "large")
TRUE, HIT, ALARMS, FALSE = range(4)  # columns of counts: true objects, those found, alarms, false
BLOCK = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Components:
    """The objects of one class in one mask."""

    areas: NDArray[np.int64]  # pixels, without void
    shares: NDArray[np.float64]  # of these pixels, 0 to 1, that have the class in the other mask
    whole: NDArray[np.bool_]  # those that are no specks


@dataclass(frozen=True)
class ImageObjects:
    """The true and the predicted objects of one class in one image."""

    truth: Components
    alarms: Components


def object_classes(classes: Sequence[str]) -> range:
    """Ids of the classes that have objects: all but a background."""
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
    """The objects of one of two masks, all of shape (H, W): its pixels of the class, the other
    mask's pixels of the class, and void.
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
    """The smallest box around the pixels of a class, one more than there are objects, and the
    object of each pixel in the box, 0 for none.
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
    """The objects that pixels belong to, each array of shape (pixels,): `labels`, 1 to below
    `count`, say which; whether the pixel is the middle of a 3 x 3 block of its object, has the
    class in the other mask, and is void.
    """
    total = np.bincount(labels, minlength=count)
    areas = total - np.bincount(labels[void], minlength=count)
    hits = np.bincount(labels[other], minlength=count)
    whole = np.zeros(count, bool)
    whole[labels[cores]] = True
    kept = 2 * areas >= total
    kept[0] = False  # what is of no object
    return Components(areas[kept], hits[kept] / areas[kept], whole[kept])


def eroded(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The least value in the 3 x 3 pixels around each one, 0 beyond the edge."""
    least = cv2.erode(values, BLOCK, borderType=cv2.BORDER_CONSTANT, borderValue=[0])
    return np.asarray(least, np.uint8)


def enough(objects: Components, least: float) -> NDArray[np.bool_]:
    """Those that share at least that much of their pixels with the other mask, and some."""
    return (objects.shares >= least) & (objects.shares > 0)


def size_limits(images: Sequence[ImageObjects]) -> tuple[int, int]:
    """The areas up to which an object is small, and up to which medium: a third of the true objects
    (specks aside) does not exceed the first, two thirds not the second. (0, 0) without any.
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
    """Objects of a class by image, size and what they are: shape (images, `SIZES`, 4), the columns
    being `TRUE`, `HIT`, `ALARMS` and `FALSE`. Specks stand by themselves, as rests of annotation
    are no defects and flickering pixels no alarms; where all true objects of a class are as thin,
    they are its objects.
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
    """What `count_objects` gives, summed over the sizes but for specks: shape (images, 4)."""
    return counts[:, 1:].sum(axis=1)


def _thin(images: Sequence[ImageObjects]) -> bool:
    """Whether there are true objects, but specks alone."""
    some = any(image.truth.areas.size for image in images)
    return some and not any(image.truth.whole.any() for image in images)


def _counted(objects: Components, thin: bool) -> NDArray[np.bool_]:
    return np.ones_like(objects.whole) if thin else objects.whole
