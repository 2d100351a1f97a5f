"""Ask a network about the images of a split and count pixels and objects of its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.data.crops import tile_corners
from segtf.inference.decision import most_probable
from segtf.scoring import metrics
from segtf.scoring.inspection import Inspected, inspect_image
from segtf.scoring.thresholds import ThresholdCounts, count_thresholds, no_counts
from voc_builder.base.progress import progress

if TYPE_CHECKING:
    from segtf.data.records import Split

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, H, W, 3) -> (N, H, W, C)
Box = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class Evaluation:
    """The counts that the scores of a split are computed from."""

    images: tuple[tuple[str, metrics.Counts], ...]  # id and confusion matrix of each
    inspected: tuple[Inspected, ...]  # objects and outlines of each
    thresholds: ThresholdCounts | None = None  # of the target class, all images


@dataclass(frozen=True)
class Answered:
    """A whole image, as large as the network saw it; arrays of shape (H, W)."""

    image_id: str
    truth: NDArray[np.uint8]  # class ids, 255 void
    prediction: NDArray[np.uint8]
    probability: NDArray[np.float32]  # of one class


def evaluate_split(
    predict: Predict, split: Split, classes: Sequence[str], batch: int, target: int | None = None
) -> Evaluation:
    """The counts of a split at its training size, those of all thresholds for the class id
    `target` if it is given. An image that is cut into tiles is counted as a whole.
    """
    images, inspected, thresholds = [], [], no_counts()
    for image in answered_images(predict, split, batch, target or 0):
        found = metrics.confusion(image.truth, image.prediction, len(classes))
        images.append((image.image_id, found))
        inspected.append(inspect_image(image.truth, image.prediction, classes))
        if target is not None:
            thresholds += count_thresholds(image.probability, image.truth, target)
    return Evaluation(
        tuple(images),
        tuple(inspected),
        None if target is None else thresholds,
    )


def answered_images(
    predict: Predict, split: Split, batch: int, class_id: int
) -> Iterator[Answered]:
    """The images of a split with their predictions and the probability of `class_id`. Tiles are
    joined; what overhangs the image is left out.
    """
    found = _answers(predict, split, batch)
    for image_answer, (i, place, inside, last) in zip(found, _places(split), strict=True):
        if i == 0 or split.ids[i] != split.ids[i - 1]:
            shape = split.shapes[split.ids[i]]
            image = Answered(
                split.ids[i],
                np.empty(shape, np.uint8),
                np.empty(shape, np.uint8),
                np.empty(shape, np.float32),
            )
        image.truth[place] = split.masks[i][inside]
        image.prediction[place] = most_probable(image_answer)[inside]
        image.probability[place] = image_answer[..., class_id][inside]
        if last:
            yield image


def join_tiles(tiles: Iterable[NDArray[np.uint8]], split: Split) -> Iterator[NDArray[np.uint8]]:
    """The mask of each image of the split, joined from those of its tiles; an image that was not
    cut is its own tile.
    """
    for tile, (i, place, inside, last) in zip(tiles, _places(split), strict=True):
        if i == 0 or split.ids[i] != split.ids[i - 1]:
            image = np.empty(split.shapes[split.ids[i]], np.uint8)
        image[place] = tile[inside]
        if last:
            yield image


def _places(split: Split) -> Iterator[tuple[int, Box, Box, bool]]:
    """The number of each tile, its place in its image, the part of it that lies inside, and whether
    it is the last of the image.
    """
    corners: Iterator[tuple[int, int]] = iter(())
    for i, image_id in enumerate(split.ids):
        (high, wide), (height, width) = split.masks[i].shape, split.shapes[image_id]
        if i == 0 or image_id != split.ids[i - 1]:
            corners = iter(tile_corners((height, width), (high, wide)))
        top, left = next(corners)
        place = np.s_[top : top + high, left : left + wide]
        inside = np.s_[: height - top, : width - left]
        yield i, place, inside, i + 1 == len(split) or split.ids[i + 1] != image_id


def _answers(predict: Predict, split: Split, batch: int) -> Iterator[NDArray[np.float32]]:
    """The prediction for each image or tile, computed in batches."""
    starts = range(0, len(split), batch)
    for start in progress(starts, len(starts), f"{split.name} batches scored"):
        yield from predict(np.asarray(split.images[start : start + batch]))
