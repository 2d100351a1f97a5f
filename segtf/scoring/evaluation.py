"""Score a network on the images of a split: counts of each image first, every score from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.data.crops import tile_corners
from segtf.inference.decision import most_probable
from segtf.scoring import metrics
from segtf.scoring.inspection import (
    Inspected,
    boundary_iou,
    inspect_image,
    number,
    object_scores,
    objects_by_image,
    score_intervals,
)
from segtf.scoring.split_scores import (
    ImageScores,
    Origin,
    PixelScores,
    PointScores,
    SplitScores,
)
from segtf.scoring.thresholds import ThresholdCounts, count_thresholds, no_counts
from voc_builder.base.progress import progress

if TYPE_CHECKING:
    from segtf.data.records import Split

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, H, W, 3) -> (N, H, W, C)
Box = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class Evaluation:
    """What the scores of a split are computed from."""

    images: tuple[tuple[str, metrics.Counts], ...]  # id and counts of each
    inspected: tuple[Inspected, ...]  # objects and outlines of each
    thresholds: ThresholdCounts | None = None  # of the class that was asked for, all images


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
    """Counts of what `predict` says of a split at its training size; those of all thresholds for
    the class id `target` if it is given. An image that is cut into tiles is counted as a whole.
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
    """The images of a split with what `predict` says of them, the probability being that of the
    class `class_id`. Tiles are put together at their places, without what overhangs the image.
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
    """One mask an image of the split, of those of its tiles, one after the other; an image that was
    not cut is its own tile.
    """
    for tile, (i, place, inside, last) in zip(tiles, _places(split), strict=True):
        if i == 0 or split.ids[i] != split.ids[i - 1]:
            image = np.empty(split.shapes[split.ids[i]], np.uint8)
        image[place] = tile[inside]
        if last:
            yield image


def _places(split: Split) -> Iterator[tuple[int, Box, Box, bool]]:
    """Of each tile its number, its place in its image, what of it lies inside, and whether it is
    the image's last.
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
    """What `predict` says of each image, `batch` of them asked at once."""
    starts = range(0, len(split), batch)
    for start in progress(starts, len(starts), f"{split.name} batches scored"):
        yield from predict(np.asarray(split.images[start : start + batch]))


def pixel_scores(
    images: Sequence[tuple[str, metrics.Counts]], classes: Sequence[str]
) -> PixelScores:
    """The scores over pixels, from the id and the counts of each image."""
    confusions = [of_image for _, of_image in images]
    counts = sum(confusions, np.zeros((len(classes), len(classes)), np.int64))
    return PixelScores(
        images=len(images),
        classes=tuple(classes),
        iou=_by_class(classes, metrics.iou(counts)),
        dice=_by_class(classes, metrics.dice(counts)),
        miou=number(metrics.miou(counts)),
        dice_mean=number(metrics.mean(metrics.dice(counts))),
        pixel_accuracy=number(metrics.pixel_accuracy(counts)),
        iou_micro_imagewise=number(metrics.iou_micro_imagewise(confusions)),
        confusion=tuple(map(tuple, counts.tolist())),
        rows=tuple(
            ImageScores(
                image_id,
                miou=number(metrics.miou(of_image)),
                iou=_by_class(classes, metrics.iou(of_image)),
                wrong=number(1 - metrics.pixel_accuracy(of_image)),
            )
            for image_id, of_image in images
        ),
    )


def split_scores(
    evaluation: Evaluation,
    classes: Sequence[str],
    origin: Origin,
    point: PointScores | None = None,
    why_none: str | None = None,
) -> SplitScores:
    """All scores of a split: those at the decision threshold `point`, or why there is none."""
    pixels = pixel_scores(evaluation.images, classes)
    objects = objects_by_image(evaluation.inspected, classes)
    rows = zip(pixels.rows, objects, strict=True)
    outlines = boundary_iou(evaluation.inspected, classes)
    confusions = [of_image for _, of_image in evaluation.images]
    return SplitScores(
        **{
            **vars(pixels),
            "rows": tuple(replace(row, objects=of_objects) for row, of_objects in rows),
        },
        origin=origin,
        objects=object_scores(evaluation.inspected, classes),
        boundary_iou=_by_class(classes, outlines),
        boundary_miou=number(metrics.mean(outlines)),
        intervals=score_intervals(evaluation.inspected, confusions, classes),
        operating_point=point,
        no_operating_point=why_none,
    )


def _by_class(classes: Sequence[str], values: metrics.Scores) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(classes, values, strict=True)}
