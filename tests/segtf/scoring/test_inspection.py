"""The numbers of a split, from masks to JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.scoring import metrics
from segtf.scoring.inspection import (
    Inspected,
    inspect_image,
    inspection_values,
    object_table,
    objects_by_image,
    percent,
)
from segtf.scoring.intervals import mean_share_interval
from segtf.scoring.metrics import Counts

CLASSES = ("__background__", "part", "defect")
Mask = NDArray[np.uint8]


def drawn(*defects: tuple[int, int, int], part: int = 40) -> Mask:
    """A part of 50 rows and `part` columns with square defects: top, left and side."""
    mask = np.zeros((60, 60), np.uint8)
    mask[5:55, 5 : 5 + part] = 1
    for top, left, side in defects:
        mask[top : top + side, left : left + side] = 2
    return mask


# truth and prediction of each image
IMAGES = (
    (drawn((10, 10, 5), (30, 10, 9)), drawn((30, 10, 9))),
    (drawn((10, 10, 7)), drawn((10, 10, 7), (40, 30, 6))),
    (drawn(), drawn((20, 20, 4), (40, 10, 4), (30, 30, 2))),
)


def inspected() -> tuple[list[Inspected], list[Counts]]:
    return (
        [inspect_image(truth, prediction, CLASSES) for truth, prediction in IMAGES],
        [metrics.confusion(truth, prediction, 3) for truth, prediction in IMAGES],
    )


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return inspection_values(*inspected(), CLASSES)


def test_objects_of_all_classes_but_the_background_are_counted(values: dict[str, Any]) -> None:
    counts = values["objects"]["classes"]
    assert list(counts) == ["part", "defect"]
    defect = counts["defect"]
    assert {key: defect[key] for key in ("true", "found", "missed", "alarms", "false")} == {
        "true": 3,
        "found": 2,
        "missed": 1,
        "alarms": 5,
        "false": 3,
    }
    assert defect["found_share"] == pytest.approx(2 / 3)
    assert defect["false_share"] == pytest.approx(3 / 5)
    assert defect["false_a_photo"] == 1
    assert counts["part"]["true"] == counts["part"]["found"] == 3


def test_sizes_are_those_of_the_true_objects(values: dict[str, Any]) -> None:
    sizes = values["objects"]["classes"]["defect"]["sizes"]
    assert [(row["size"], row["up_to"]) for row in sizes] == [
        ("specks", None),
        ("small", 25),
        ("medium", 49),
        ("large", None),
    ]
    assert [row["true"] for row in sizes] == [0, 1, 1, 1]
    assert [row["found"] for row in sizes] == [0, 0, 1, 1]
    assert [row["false"] for row in sizes] == [1, 2, 1, 0], "a speck is counted here alone"


def test_the_counts_of_the_images_add_up(values: dict[str, Any]) -> None:
    images = objects_by_image(inspected()[0], CLASSES)
    assert images[0]["defect"] == {"true": 2, "found": 1, "alarms": 1, "false": 0}
    assert images[2]["defect"] == {"true": 0, "found": 0, "alarms": 2, "false": 2}
    for name, counts in values["objects"]["classes"].items():
        for key in ("true", "found", "alarms", "false"):
            assert sum(image[name][key] for image in images) == counts[key]


def test_intervals_lie_around_their_scores_and_name_their_images(values: dict[str, Any]) -> None:
    counts = sum(inspected()[1], np.zeros((3, 3), np.int64))
    intervals = values["intervals"]
    for interval, score in (
        (intervals["miou"], metrics.miou(counts)),
        (intervals["iou"]["defect"], metrics.iou(counts)[2]),
        (intervals["boundary_iou"]["defect"], values["boundary_iou"]["defect"]),
        (intervals["boundary_miou"], values["boundary_miou"]),
        (intervals["found"]["defect"], 2 / 3),
        (intervals["false_a_photo"]["defect"], 1.0),
    ):
        assert interval["low"] < score < interval["high"]
        assert interval["few"]
    outlines = mean_share_interval(np.array([image.boundary for image in inspected()[0]]))
    assert intervals["boundary_miou"]["low"] == outlines.low
    assert intervals["iou"]["defect"]["photos"] == 3, "truth or prediction holds it"
    assert intervals["found"]["defect"]["photos"] == 2, "an image without defects finds none"
    assert intervals["false_a_photo"]["defect"]["photos"] == 3


def test_values_are_json_even_without_objects_or_images(values: dict[str, Any]) -> None:
    json.dumps(values, allow_nan=False)
    empty = np.zeros((9, 9), np.uint8)
    for images in ([], [empty]):
        none = inspection_values(
            [inspect_image(mask, mask, CLASSES) for mask in images],
            [metrics.confusion(mask, mask, 3) for mask in images],
            CLASSES,
        )
        json.dumps(none, allow_nan=False)
        assert none["objects"]["classes"]["defect"]["found_share"] is None
        assert none["intervals"]["found"]["defect"]["low"] is None
        assert objects_by_image([], CLASSES) == []


def test_classes_without_a_background_all_have_objects() -> None:
    truth = drawn((10, 10, 5))
    names = ("floor", "part", "defect")
    image = inspect_image(truth, truth, names)
    assert list(objects_by_image([image], names)[0]) == list(names)
    only = ("__background__",)
    blank = np.zeros((9, 9), np.uint8)
    alone = [inspect_image(blank, blank, only)]
    assert inspection_values(alone, [np.array([[81]])], only)["objects"]["classes"] == {}


def test_the_table_has_intervals_and_a_question_mark_where_images_are_few(
    values: dict[str, Any],
) -> None:
    head, part, defect = object_table(values).splitlines()
    assert re.split(" {2,}", head) == [
        "class",
        "objects",
        "found",
        "missed",
        "false alarms",
        "per image",
    ]
    cells = ["part", "3", "100 %", "29.2–100 % ?", "0", "0", "0.00", "0.00–1.23 ?"]
    assert re.split(" {2,}", part) == cells
    assert defect.split()[:4] == ["defect", "3", "66.7", "%"]
    assert defect.endswith(" ?")


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0.0, "0 %"), (0.0004, "< 0.1 %"), (0.0375, "3.75 %"), (0.99951, "> 99.9 %")],
)
def test_percent_says_all_or_nothing_only_where_it_is_so(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_percent_of_everything_is_100() -> None:
    assert percent(1.0) == "100 %"
