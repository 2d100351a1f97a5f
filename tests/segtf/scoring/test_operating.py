"""The threshold of the class that is target: how it is decided, and what it gives."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.scoring.evaluation import Evaluation
from segtf.scoring.inspection import inspect_image
from segtf.scoring.metrics import confusion
from segtf.scoring.operating import (
    MOST_LOST,
    OperatingPoint,
    Target,
    choose_point,
    decide,
    given,
    operating_points,
    point_scores,
    target_class,
)
from segtf.scoring.split_scores import (
    ChosenPoint,
    PointObjects,
)
from segtf.scoring.thresholds import (
    BINS,
    THRESHOLDS,
    ThresholdCounts,
    count_thresholds,
    no_counts,
    object_curve,
)
from tests.segtf.scoring.scenes import Mask, Probabilities, images, scene
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError

USELESS = OperatingPoint(0.5, 0, 0, 0, 0)  # any threshold is better
CLASSES = ("__background__", "part", "defect")
CRITERION = "largest F1 over objects with at least 95 % of the most probable class's IoU"
SURE = {"large": 0.9, "small": 0.4, "other": 0.3}


def image(*, other: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A large and a small defect, and as large as the small one what is none."""
    probability, truth = np.zeros((40, 40), np.float32), np.zeros((40, 40), np.uint8)
    probability[:20, :20], truth[:20, :20] = SURE["large"], 2
    probability[30:34, :4], truth[30:34, :4] = SURE["small"], 2
    probability[30:34, 30:34] = other
    return probability, truth


def counted(other: float = SURE["other"]) -> ThresholdCounts:
    return count_thresholds(*image(other=other), 2)


def found(*images: tuple[NDArray[np.float32], NDArray[np.uint8]]) -> Evaluation:
    """The evaluation of probabilities of class 2, of which a half makes the most probable class."""
    masks = [(truth, np.where(p >= 0.5, 2, 0).astype(np.uint8)) for p, truth in images]
    confusions = [("photo", confusion(*pair, len(CLASSES))) for pair in masks]
    inspected = [inspect_image(*pair, CLASSES) for pair in masks]
    thresholds = reduce(add, [count_thresholds(*pair, 2) for pair in images])
    return Evaluation(tuple(confusions), tuple(inspected), thresholds)


@pytest.mark.parametrize(
    ("classes", "name", "class_id"),
    [
        (CLASSES, None, 2),
        (("__background__", "defect", "part"), None, 1),
        (("__background__", "chip", "scratch"), None, 2),
        (CLASSES, "part", 1),
        (("floor", "part"), "floor", 0),
    ],
)
def test_the_class_that_is_sought_is_the_named_one_or_defect_or_the_last(
    classes: tuple[str, ...], name: str | None, class_id: int
) -> None:
    assert target_class(classes, name) == Target(class_id)


def test_a_background_alone_and_no_threshold_leave_nothing_to_seek() -> None:
    assert target_class(("__background__",)) is None
    assert target_class(CLASSES, threshold="none") is None


@pytest.mark.parametrize(
    ("text", "threshold"), [("0.5", 0.5), ("0.3", 77 / 256), ("0.0001", 1 / 256)]
)
def test_a_threshold_is_taken_to_the_nearest_that_is_counted(text: str, threshold: float) -> None:
    target = target_class(CLASSES, threshold=text)
    assert target == Target(2, threshold)
    decided = decide(target, found(image(other=0.3)), "val")
    assert (decided.threshold, decided.split) == (threshold, None)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "scratch"}, "--defect takes one of part, defect. Received: scratch"),
        ({"name": "__background__"}, "--defect takes one of part, defect"),
        ({"threshold": "1.5"}, "--defect-threshold takes auto, none or a number between 0 and 1"),
        ({"threshold": "high"}, "Received: high"),
        ({"recall": 0.0}, "--defect-recall takes a fraction above 0, up to 1. Received: 0.0"),
        ({"recall": 0.9, "threshold": "0.5"}, "leave out --defect-threshold 0.5"),
    ],
)
def test_what_cannot_be_sought_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match="--defect") as error:
        target_class(CLASSES, **given)
    assert says in str(error.value)


def test_a_threshold_is_chosen_over_objects_however_few_pixels_they_have() -> None:
    decided = decide(Target(2), found(image(other=0.3)), "val")
    # over pixels 0.5 would do: 400 of 416; over objects it would miss one of two
    assert decided.threshold is not None
    assert SURE["other"] < decided.threshold < SURE["small"]
    assert decided.chosen == ChosenPoint(true=2, precision=1.0, recall=1.0, f1=1.0)
    assert (decided.reason, decided.split) == (CRITERION, "val")


def test_no_threshold_is_chosen_where_the_most_probable_class_is_as_good() -> None:
    """A person fills most of an image: one mark on all of it finds him without a false alarm."""
    truth, probability = np.zeros((40, 40), np.uint8), np.full((40, 40), 0.1, np.float32)
    truth[:, :30], probability[:, :30] = 2, 0.9
    sure = found((probability, truth))
    assert decide(Target(2), sure, "val").threshold is None
    assert "than the most probable class, which has 1.000" in decide(Target(2), sure, "val").reason
    probability[5:9, 33:37] = 0.6  # a false alarm, which the mark on everything swallows
    unsure = decide(Target(2), found((probability, truth)), "val")
    assert unsure.threshold is not None
    assert 0.6 < unsure.threshold < 0.9


def test_a_recall_that_costs_too_much_is_told_with_its_price() -> None:
    probability, truth = image(other=0.35)
    truth[36:39, 36:39], probability[36:39, 36:39] = 2, 0.2
    probability[22:28, :40] = 0.25
    decided = decide(Target(2, recall=1.0), found((probability, truth)), "val")
    assert decided.threshold is None
    assert f"--defect-threshold {51 / 256:.3f}" in decided.reason
    cheaper = decide(Target(2, recall=0.6), found((probability, truth)), "val")
    assert cheaper.threshold == int(SURE["small"] * 256) / 256


def test_a_wanted_recall_takes_the_highest_threshold_that_reaches_it() -> None:
    some, every = (
        decide(Target(2, recall=share), found(image(other=0.3)), "val") for share in (0.5, 1.0)
    )
    assert some.threshold == int(SURE["large"] * 256) / 256
    assert every.threshold == int(SURE["small"] * 256) / 256


def test_without_the_class_no_threshold_is_chosen() -> None:
    probability, _ = image(other=0.2)
    decided = decide(Target(2), found((probability, np.zeros((40, 40), np.uint8))), "val")
    assert (decided.threshold, decided.reason) == (None, "val shows none")


def test_an_operating_point_says_what_it_gives_on_the_images_that_are_scored() -> None:
    decided = decide(Target(2), found(image(other=0.3)), "val")
    assert decided.threshold is not None
    elsewhere = counted(other=0.95)
    point = point_scores("defect", decided, elsewhere, images=2)
    assert point.chosen and point.chosen.precision == 1.0, "on val"
    assert point.objects == PointObjects(
        precision=2 / 3,
        recall=1.0,
        f1=pytest.approx(0.8),
        true=2,
        found=2,
        false_negatives=0,
        predicted=3,
        false_positives=1,
        found_fraction=1.0,
        false_positives_per_image=0.5,
    )
    assert point.pixels.iou == point.pixels.precision == pytest.approx(416 / 432)
    assert {len(column) for column in vars(point.curve).values()} == {256}
    assert point.curve.objects_recall[round(decided.threshold * 256)] == 1.0


def test_the_iou_at_a_threshold_counts_what_it_misses() -> None:
    point = point_scores("defect", given(Target(2, 0.5)), counted(), images=1)
    assert point.pixels.iou == pytest.approx(400 / 416)


def test_the_threshold_of_the_largest_f1_lies_between_right_and_wrong() -> None:
    counts = count_thresholds(*scene(0.9, 0.6, elsewhere=0.3), 1)
    point = choose_point(operating_points(counts), USELESS)
    assert point is not None
    assert point.threshold == 0.5, "of equals the one nearest to 0.5"
    assert (point.precision, point.recall, point.f1, point.iou) == (1, 1, 1, 1)


def test_a_threshold_must_be_better_over_objects_and_may_cost_little_of_the_iou() -> None:
    counts = count_thresholds(*scene(0.9, 0.6, elsewhere=0.3), 1)
    assert choose_point(operating_points(counts), OperatingPoint(0.5, 1, 1, 1, 0.5)) is None, (
        "no larger F1"
    )
    wide = np.full((40, 40), 0.2, np.float32)
    wide[:20], wide[30:33, 30:33] = 0.9, 0.3
    truth = np.zeros((40, 40), np.uint8)
    truth[:20], truth[30:33, 30:33] = 1, 1
    wide[22:28] = 0.35  # finding the small one marks these too
    counts = count_thresholds(wide, truth, 1)
    dear, usual = operating_points(counts)[76 - 1], operating_points(counts)[128 - 1]
    assert (dear.recall, usual.recall) == (1, 0.5)
    assert dear.iou < (1 - MOST_LOST) * usual.iou
    chosen = choose_point(operating_points(counts), usual, recall=1.0)
    assert chosen is None
    chosen = choose_point(operating_points(counts), replace(usual, iou=dear.iou), recall=1.0)
    assert chosen is not None
    assert chosen.threshold == int(0.3 * BINS) / BINS


def test_one_mark_on_the_whole_image_is_not_chosen_though_it_finds_a_large_object() -> None:
    truth, probability = np.zeros((40, 40), np.uint8), np.full((40, 40), 0.2, np.float32)
    truth[:, :18], probability[:, :18] = 1, 0.7
    probability[2:8, 30:36] = 0.7  # a false alarm, which a mark on everything swallows
    counts = count_thresholds(probability, truth, 1)
    assert object_curve(counts.counted_objects()).f1[0] == 1
    point = choose_point(operating_points(counts), USELESS)
    assert point is not None
    assert point.threshold == 0.5
    assert point.f1 == pytest.approx(2 / 3)


def test_a_wanted_recall_gives_the_highest_threshold_that_reaches_it() -> None:
    counts = count_thresholds(*scene(0.9, 0.6, 0.3, 0.2, elsewhere=0.7), 1)
    for recall, last in ((0.25, 0.9), (0.5, 0.6), (0.6, 0.3), (1.0, 0.2)):
        point = choose_point(operating_points(counts), USELESS, recall=recall)
        assert point is not None
        assert point.threshold == int(last * BINS) / BINS
        assert point.recall >= recall


def test_without_the_class_there_is_nothing_to_choose_by() -> None:
    counts = count_thresholds(*scene(elsewhere=0.9), 1)
    assert choose_point(operating_points(counts), USELESS) is None
    assert choose_point(operating_points(no_counts()), USELESS, recall=0.9) is None


@settings(deadline=None, max_examples=30)
@hypothesis.given(st.lists(images(), min_size=1, max_size=3))
def test_images_add_up_and_no_threshold_that_may_be_chosen_has_a_larger_f1(
    some: list[tuple[Probabilities, Mask]],
) -> None:
    counts: ThresholdCounts = reduce(add, (count_thresholds(*image, 1) for image in some))
    wanted = sum(int((truth == 1).sum()) for _, truth in some)
    points = operating_points(counts)
    assert bool(points) == bool(wanted)
    for threshold, point in zip(THRESHOLDS[1:], points, strict=False):
        marked = [(p >= threshold, truth) for p, truth in some]
        right = sum(int((m & (truth == 1)).sum()) for m, truth in marked)
        total = sum(int((m & (truth != VOID)).sum()) for m, truth in marked)
        assert point.threshold == threshold
        assert point.iou == pytest.approx(right / (total + wanted - right))
    for usual in points:
        chosen = choose_point(points, usual)
        better = [p for p in points if p.f1 > usual.f1 and p.iou >= (1 - MOST_LOST) * usual.iou]
        better = [p for p in better if p.iou >= max(p.iou for p in points) / 2]
        assert (chosen is None) == (not better)
        if chosen is not None:
            assert chosen.f1 == max(point.f1 for point in better)
