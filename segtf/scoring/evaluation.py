"""Score a network on the photos of a split: counts of each photo first, every score from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segtf.data.crops import tile_corners
from segtf.inference.decision import most_probable
from segtf.scoring import metrics
from segtf.scoring.inspection import (
    Inspected,
    inspect_photo,
    inspection_values,
    number,
    objects_by_photo,
)
from segtf.scoring.thresholds import ThresholdCounts, count_thresholds, no_counts
from voc_builder.base.progress import progress

if TYPE_CHECKING:
    from segtf.data.records import Split

Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, H, W, 3) -> (N, H, W, C)
Json = dict[str, Any]
Box = tuple[slice, slice]  # rows and columns


@dataclass(frozen=True)
class Evaluation:
    """What the scores of a split are computed from."""

    photos: tuple[tuple[str, metrics.Counts], ...]  # id and counts of each
    inspected: tuple[Inspected, ...]  # objects and outlines of each
    thresholds: ThresholdCounts | None = None  # of the class that was asked for, all photos


@dataclass(frozen=True)
class Answered:
    """A whole photo, as large as the network saw it; arrays of shape (H, W)."""

    photo_id: str
    truth: NDArray[np.uint8]  # class ids, 255 void
    prediction: NDArray[np.uint8]
    probability: NDArray[np.float32]  # of one class


def evaluate_split(
    predict: Predict, split: Split, classes: Sequence[str], batch: int, sought: int | None = None
) -> Evaluation:
    """Counts of what `predict` says of a split at its training size; those of all thresholds for
    the class id `sought` if it is given. A photo that is cut into tiles is counted as a whole.
    """
    photos, inspected, thresholds = [], [], no_counts()
    for photo in answered_photos(predict, split, batch, sought or 0):
        found = metrics.confusion(photo.truth, photo.prediction, len(classes))
        photos.append((photo.photo_id, found))
        inspected.append(inspect_photo(photo.truth, photo.prediction, classes))
        if sought is not None:
            thresholds += count_thresholds(photo.probability, photo.truth, sought)
    return Evaluation(
        tuple(photos),
        tuple(inspected),
        None if sought is None else thresholds,
    )


def answered_photos(
    predict: Predict, split: Split, batch: int, class_id: int
) -> Iterator[Answered]:
    """The photos of a split with what `predict` says of them, the probability being that of the
    class `class_id`. Tiles are put together at their places, without what overhangs the photo.
    """
    found = _answers(predict, split, batch)
    for image_answer, (i, place, inside, last) in zip(found, _places(split), strict=True):
        if i == 0 or split.ids[i] != split.ids[i - 1]:
            shape = split.shapes[split.ids[i]]
            photo = Answered(
                split.ids[i],
                np.empty(shape, np.uint8),
                np.empty(shape, np.uint8),
                np.empty(shape, np.float32),
            )
        photo.truth[place] = split.masks[i][inside]
        photo.prediction[place] = most_probable(image_answer)[inside]
        photo.probability[place] = image_answer[..., class_id][inside]
        if last:
            yield photo


def join_tiles(tiles: Iterable[NDArray[np.uint8]], split: Split) -> Iterator[NDArray[np.uint8]]:
    """One mask a photo of the split, of those of its tiles, one after the other; a photo that was
    not cut is its own tile.
    """
    for tile, (i, place, inside, last) in zip(tiles, _places(split), strict=True):
        if i == 0 or split.ids[i] != split.ids[i - 1]:
            photo = np.empty(split.shapes[split.ids[i]], np.uint8)
        photo[place] = tile[inside]
        if last:
            yield photo


def _places(split: Split) -> Iterator[tuple[int, Box, Box, bool]]:
    """Of each tile its number, its place in its photo, what of it lies inside, and whether it is
    the photo's last.
    """
    corners: Iterator[tuple[int, int]] = iter(())
    for i, photo_id in enumerate(split.ids):
        (high, wide), (height, width) = split.masks[i].shape, split.shapes[photo_id]
        if i == 0 or photo_id != split.ids[i - 1]:
            corners = iter(tile_corners((height, width), (high, wide)))
        top, left = next(corners)
        place = np.s_[top : top + high, left : left + wide]
        inside = np.s_[: height - top, : width - left]
        yield i, place, inside, i + 1 == len(split) or split.ids[i + 1] != photo_id


def _answers(predict: Predict, split: Split, batch: int) -> Iterator[NDArray[np.float32]]:
    """What `predict` says of each image, `batch` of them asked at once."""
    starts = range(0, len(split), batch)
    for start in progress(starts, len(starts), f"{split.name} batches scored"):
        yield from predict(np.asarray(split.images[start : start + batch]))


def scores(evaluation: Evaluation, classes: Sequence[str]) -> Json:
    """Every score of DESIGN's `metrics_SPLIT.json` by its name; a class that is neither there nor
    predicted has none (null).
    """
    values = pixel_scores(evaluation.photos, classes)
    confusions = [of_photo for _, of_photo in evaluation.photos]
    objects = objects_by_photo(evaluation.inspected, classes)
    rows = zip(values["photos"], objects, strict=True)
    return {
        **values,
        **inspection_values(evaluation.inspected, confusions, classes),
        "photos": [{**row, "objects": of_objects} for row, of_objects in rows],
    }


def pixel_scores(photos: Sequence[tuple[str, metrics.Counts]], classes: Sequence[str]) -> Json:
    """The scores of pixels alone, from the id and the counts of each photo."""
    confusions = [of_photo for _, of_photo in photos]
    counts = sum(confusions, np.zeros((len(classes), len(classes)), np.int64))
    return {
        "images": len(photos),
        "classes": list(classes),
        "iou": _by_class(classes, metrics.iou(counts)),
        "dice": _by_class(classes, metrics.dice(counts)),
        "miou": number(metrics.miou(counts)),
        "dice_mean": number(metrics.mean(metrics.dice(counts))),
        "pixel_accuracy": number(metrics.pixel_accuracy(counts)),
        "iou_micro_imagewise": number(metrics.iou_micro_imagewise(confusions)),
        "confusion": counts.tolist(),
        "photos": [
            {
                "id": photo_id,
                "miou": number(metrics.miou(of_photo)),
                "iou": _by_class(classes, metrics.iou(of_photo)),
                "wrong": number(1 - metrics.pixel_accuracy(of_photo)),
            }
            for photo_id, of_photo in photos
        ],
    }


def score_table(values: Json) -> str:
    """IoU and Dice of each class as text columns."""
    width = max(len(name) for name in (*values["classes"], "micro, imagewise"))
    rows = [("class", "IoU", "Dice")]
    rows += [
        (name, _text(values["iou"][name]), _text(values["dice"][name]))
        for name in values["classes"]
    ]
    rows += [
        ("mean", _text(values["miou"]), _text(values["dice_mean"])),
        ("pixel accuracy", _text(values["pixel_accuracy"]), ""),
        ("micro, imagewise", _text(values["iou_micro_imagewise"]), ""),
    ]
    return "\n".join(f"{name:<{width}}  {iou:>6}  {dice:>6}".rstrip() for name, iou, dice in rows)


def _by_class(classes: Sequence[str], values: metrics.Scores) -> dict[str, float | None]:
    return {name: number(value) for name, value in zip(classes, values, strict=True)}


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
