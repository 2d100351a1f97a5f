"""Counts of images, whole or put together of their tiles, and the scores from them."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.data.crops import cut, tile_corners
from segtf.scoring import metrics
from segtf.scoring.evaluation import (
    Evaluation,
    answered_images,
    evaluate_split,
    join_tiles,
)
from segtf.scoring.inspection import Inspected, inspect_image
from segtf.scoring.objects import HIT, TRUE, count_objects, without_specks
from segtf.scoring.scores import split_scores
from segtf.scoring.split_scores import ObjectCounts, Origin
from segtf.scoring.thresholds import count_thresholds
from voc_builder.base.colours import VOID

CLASSES = ("__background__", "chip", "flaw")
ORIGIN = Origin("val", 16, 16, 16, "keras")
COUNTS = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
Mask = NDArray[np.uint8]


def painted(*boxes: tuple[int, int, int, int, int], height: int = 21, width: int = 30) -> Mask:
    """A mask with boxes of class, top, left, height and width."""
    mask = np.zeros((height, width), np.uint8)
    for class_id, top, left, rows, columns in boxes:
        mask[top : top + rows, left : left + columns] = class_id
    return mask


# truth and prediction of images whose objects lie across the seams of tiles of 8 and of 16
IMAGES = {
    "first": (
        painted((1, 2, 2, 17, 26), (2, 5, 5, 6, 6), (2, 13, 13, 5, 6), (VOID, 0, 20, 9, 5)),
        painted((1, 3, 1, 17, 26), (2, 6, 6, 6, 5), (2, 14, 22, 4, 4)),
    ),
    "small": (painted((2, 1, 1, 4, 4), height=6, width=5), painted(height=6, width=5)),
    "third": (painted((2, 4, 12, 8, 8)), painted((1, 0, 0, 20, 20), (2, 7, 14, 5, 9))),
}


def sure(prediction: Mask) -> NDArray[np.uint8]:
    """An image whose three channels are the probabilities of the classes, times 255."""
    rng = np.random.default_rng(prediction.size)
    least = rng.integers(100, 200, prediction.shape)[..., None]
    others = rng.integers(0, 50, (*prediction.shape, 3))
    return np.where(np.arange(3) == prediction[..., None], least, others).astype(np.uint8)


def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype(np.float32) / 255


def split_of(tile: int) -> Any:
    """The images cut up as `segtf.data.records` does it."""
    ids, images, masks = [], [], []
    for name, (truth, prediction) in IMAGES.items():
        for top, left in tile_corners(truth.shape, (tile, tile)):
            image, mask = cut(sure(prediction), truth, top, left, (tile, tile))
            ids.append(name)
            images.append(image)
            masks.append(mask)
    shapes = {name: truth.shape for name, (truth, _) in IMAGES.items()}
    return SplitOf(name="val", ids=ids, images=np.stack(images), masks=masks, shapes=shapes)


class SplitOf(SimpleNamespace):
    """What of `segtf.data.records.Split` is asked for, without TensorFlow."""

    def __len__(self) -> int:
        return len(self.ids)


@pytest.mark.parametrize("tile", [8, 16, 32])
def test_masks_of_tiles_are_joined_to_those_of_images(tile: int) -> None:
    split = split_of(tile)
    for found, (truth, _) in zip(join_tiles(split.masks, split), IMAGES.values(), strict=True):
        np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize(("tile", "batch"), [(8, 1), (8, 5), (16, 3), (32, 2)])
def test_the_tiles_of_an_image_are_put_together_at_their_places(tile: int, batch: int) -> None:
    images = list(answered_images(predict, split_of(tile), batch, 2))
    assert [image.image_id for image in images] == list(IMAGES)
    for image, (truth, prediction) in zip(images, IMAGES.values(), strict=True):
        np.testing.assert_array_equal(image.truth, truth)
        np.testing.assert_array_equal(image.prediction, prediction)
        np.testing.assert_array_equal(image.probability, predict(sure(prediction))[..., 2])


@pytest.mark.parametrize("tile", [8, 16, 32])
def test_counts_are_those_of_whole_images_whatever_the_tiles(tile: int) -> None:
    found = evaluate_split(predict, split_of(tile), CLASSES, 4, target=2)
    assert found.thresholds is not None
    pixels, objects = 0, 0
    for i, (name, (truth, prediction)) in enumerate(IMAGES.items()):
        assert found.images[i][0] == name
        np.testing.assert_array_equal(
            found.images[i][1], metrics.confusion(truth, prediction, len(CLASSES))
        )
        whole = inspect_image(truth, prediction, CLASSES)
        np.testing.assert_array_equal(found.inspected[i].boundary, whole.boundary)
        for class_id, of_class in whole.objects.items():
            again = found.inspected[i].objects[class_id]
            np.testing.assert_array_equal(again.truth.areas, of_class.truth.areas)
            np.testing.assert_array_equal(again.alarms.shares, of_class.alarms.shares)
        counts = count_thresholds(predict(sure(prediction))[..., 2], truth, 2)
        pixels, objects = pixels + counts.pixels, objects + counts.objects
    np.testing.assert_array_equal(found.thresholds.pixels, pixels)
    np.testing.assert_array_equal(found.thresholds.objects, objects)
    of_defects = [image.objects[2] for image in found.inspected]
    totals = without_specks(count_objects(of_defects, (0, 0))).sum(axis=0)
    assert totals[[TRUE, HIT]].tolist() == [4, 2], "a seam cuts nothing in two"


def test_thresholds_are_counted_only_if_a_class_is_sought() -> None:
    assert evaluate_split(predict, split_of(8), CLASSES, 4).thresholds is None


def evaluation(**images: metrics.Counts) -> Evaluation:
    blank = np.zeros((9, 9), np.uint8)
    inspected: tuple[Inspected, ...] = (inspect_image(blank, blank, CLASSES),) * len(images)
    return Evaluation(tuple(images.items()), inspected)


def test_scores_of_a_split_are_those_of_all_images_together() -> None:
    first, second = COUNTS // 2, COUNTS - COUNTS // 2
    scores = split_scores(evaluation(a=first, b=second), CLASSES, ORIGIN)
    assert scores.iou == {
        "__background__": pytest.approx(6 / 9),
        "chip": pytest.approx(3 / 6),
        "flaw": None,
    }
    assert scores.dice["chip"] == pytest.approx(6 / 9)
    assert scores.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert scores.pixel_accuracy == pytest.approx(9 / 12)
    np.testing.assert_array_equal(scores.confusion, COUNTS)
    assert [image.id for image in scores.rows] == ["a", "b"]
    json.dumps(scores.to_json(), allow_nan=False)


def test_scores_hold_what_an_inspector_asks() -> None:
    scores = split_scores(evaluate_split(predict, split_of(16), CLASSES, 4), CLASSES, ORIGIN)
    assert scores.objects and scores.intervals and scores.boundary_miou
    flaw = scores.objects.classes["flaw"]
    assert (flaw.true, flaw.found, flaw.false_positives) == (4, 2, 1)
    assert scores.intervals.found["flaw"].images == 3
    assert 0 < scores.boundary_miou < 1
    of_images = {image.id: (image.objects or {})["flaw"] for image in scores.rows}
    assert of_images["first"] == ObjectCounts(2, 1, 2, 1)
    assert of_images["small"] == ObjectCounts(1, 0, 0, 0)
