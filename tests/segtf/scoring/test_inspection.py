"""Objects, outlines and intervals of a split, from masks to scores."""

from __future__ import annotations

import numpy as np
import pytest

from segtf.scoring import metrics
from segtf.scoring.inspection import (
    boundary_iou,
    inspect_image,
    object_scores,
    objects_by_image,
    score_intervals,
)
from segtf.scoring.intervals import mean_share_interval
from segtf.scoring.split_scores import ClassObjects, ObjectCounts
from tests.segtf.scoring.inspected_images import CLASSES, drawn, inspected


@pytest.fixture(scope="module")
def objects() -> dict[str, ClassObjects]:
    return dict(object_scores(inspected()[0], CLASSES).classes)


def test_objects_of_all_classes_but_the_background_are_counted(
    objects: dict[str, ClassObjects],
) -> None:
    assert list(objects) == ["part", "defect"]
    defect = objects["defect"]
    assert (defect.true, defect.found, defect.false_negatives) == (3, 2, 1)
    assert (defect.predicted, defect.false_positives) == (5, 3)
    assert defect.found_fraction == pytest.approx(2 / 3)
    assert defect.false_fraction == pytest.approx(3 / 5)
    assert defect.false_positives_per_image == 1
    assert objects["part"].true == objects["part"].found == 3


def test_sizes_are_those_of_the_true_objects(objects: dict[str, ClassObjects]) -> None:
    sizes = objects["defect"].sizes
    assert [(row.size, row.up_to) for row in sizes] == [
        ("specks", None),
        ("small", 25),
        ("medium", 49),
        ("large", None),
    ]
    assert [row.true for row in sizes] == [0, 1, 1, 1]
    assert [row.found for row in sizes] == [0, 0, 1, 1]
    assert [row.false_positives for row in sizes] == [1, 2, 1, 0], "a speck is counted here alone"


def test_the_counts_of_the_images_add_up(objects: dict[str, ClassObjects]) -> None:
    images = objects_by_image(inspected()[0], CLASSES)
    assert images[0]["defect"] == ObjectCounts(true=2, found=1, predicted=1, false_positives=0)
    assert images[2]["defect"] == ObjectCounts(true=0, found=0, predicted=2, false_positives=2)
    for name, counts in objects.items():
        for key in ("true", "found", "predicted", "false_positives"):
            assert sum(getattr(image[name], key) for image in images) == getattr(counts, key)


def test_intervals_lie_around_their_scores_and_name_their_images() -> None:
    images, confusions = inspected()
    counts = sum(confusions, np.zeros((3, 3), np.int64))
    outlines = boundary_iou(images, CLASSES)
    intervals = score_intervals(images, confusions, CLASSES)
    for interval, score in (
        (intervals.miou, metrics.miou(counts)),
        (intervals.iou["defect"], metrics.iou(counts)[2]),
        (intervals.boundary_iou["defect"], outlines[2]),
        (intervals.boundary_miou, outlines.mean()),
        (intervals.found["defect"], 2 / 3),
        (intervals.false_positives_per_image["defect"], 1.0),
    ):
        assert interval.low is not None and interval.high is not None
        assert interval.low < score < interval.high
        assert interval.few
    boundaries = np.array([image.boundary for image in images])
    assert intervals.boundary_miou == mean_share_interval(boundaries)
    assert intervals.iou["defect"].images == 3, "truth or prediction holds it"
    assert intervals.found["defect"].images == 2, "an image without defects finds none"
    assert intervals.false_positives_per_image["defect"].images == 3


@pytest.mark.parametrize("count", [0, 1])
def test_without_objects_or_images_nothing_has_a_score(count: int) -> None:
    empty = np.zeros((9, 9), np.uint8)
    images = [inspect_image(empty, empty, CLASSES)] * count
    confusions = [metrics.confusion(empty, empty, 3)] * count
    assert object_scores(images, CLASSES).classes["defect"].found_fraction is None
    assert score_intervals(images, confusions, CLASSES).found["defect"].low is None
    assert len(objects_by_image(images, CLASSES)) == count


def test_classes_without_a_background_all_have_objects() -> None:
    truth = drawn((10, 10, 5))
    names = ("floor", "part", "defect")
    image = inspect_image(truth, truth, names)
    assert list(objects_by_image([image], names)[0]) == list(names)
    only = ("__background__",)
    blank = np.zeros((9, 9), np.uint8)
    assert object_scores([inspect_image(blank, blank, only)], only).classes == {}
