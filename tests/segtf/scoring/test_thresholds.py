"""What each threshold would give, and which one is chosen."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.inference.decision import apply_threshold
from segtf.scoring.objects import (
    ALARMS,
    FALSE,
    HIT,
    TRUE,
    count_objects,
    find_objects,
    without_specks,
)
from segtf.scoring.thresholds import (
    BINS,
    MOST_LOST,
    THRESHOLDS,
    OperatingPoint,
    ThresholdCounts,
    choose_threshold,
    count_thresholds,
    no_counts,
    object_curve,
    operating_points,
    pixel_curve,
)
from voc_builder.base.colours import VOID

Mask = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
USELESS = OperatingPoint(None, 0, 0, 0, 0)  # what any threshold is better than


def scene(*defects: float, elsewhere: float = 0.0) -> tuple[Probabilities, Mask]:
    """An image with a defect of 5 x 5 pixels for each probability, and a mark of that of
    `elsewhere` where there is none.
    """
    probability, truth = np.zeros((60, 20), np.float32), np.zeros((60, 20), np.uint8)
    for i, sure in enumerate(defects):
        probability[8 * i : 8 * i + 5, :5] = sure
        truth[8 * i : 8 * i + 5, :5] = 1
    probability[:4, 10:14] = elsewhere
    return probability, truth


def test_a_class_wins_from_the_threshold_on_and_else_the_best_other_one() -> None:
    probabilities = np.array([[0.5, 0.2, 0.3], [0.1, 0.15, 0.75], [0.45, 0.45, 0.1]], np.float32)
    assert apply_threshold(probabilities, 2, 0.3).tolist() == [2, 2, 0]
    assert apply_threshold(probabilities, 2, 0.8).tolist() == [0, 1, 0]
    assert apply_threshold(probabilities, 0, 0.5).tolist() == [0, 2, 1]
    assert apply_threshold(probabilities, 1, 0.0).tolist() == [1, 1, 1]


def test_one_half_is_what_the_most_probable_of_two_classes_is() -> None:
    p = np.random.default_rng(0).random((50, 50)).astype(np.float32)
    probabilities = np.stack([1 - p, p], axis=-1)
    np.testing.assert_array_equal(apply_threshold(probabilities, 1, 0.5), probabilities.argmax(-1))


def test_pixels_count_from_the_thresholds_that_mark_them() -> None:
    truth = np.array([[1, 1, 0, VOID]], np.uint8)
    counts = count_thresholds(np.array([[0.5, 1.0, 0.25, 1.0]], np.float32), truth, 1)
    right, marked = counts.pixels.T
    assert right.tolist() == [2] * 129 + [1] * 127
    assert marked.tolist() == [3] * 65 + [2] * 64 + [1] * 127
    curve = pixel_curve(counts)
    assert (curve.precision[0], curve.recall[0]) == (2 / 3, 1)
    assert (curve.precision[200], curve.recall[200]) == (1, 1 / 2)


@pytest.mark.parametrize(("marked", "last"), [(4, 192), (3, 25)])
def test_an_object_is_found_as_long_as_a_quarter_of_it_is_marked(marked: int, last: int) -> None:
    probability, truth = np.full((9, 9), 0.05, np.float32), np.zeros((9, 9), np.uint8)
    probability[2:6, 2:6], truth[2:6, 2:6] = 0.1, 1
    probability[2 : 2 + marked, 2] = 0.75  # of its 16 pixels
    counts = count_thresholds(probability, truth, 1)
    found = np.flatnonzero(counts.objects[..., HIT].sum(axis=1))
    assert found.tolist() == list(range(last + 1))


def test_object_curve_knows_alarms_that_are_false() -> None:
    curve = object_curve(count_thresholds(*scene(0.9, 0.6, elsewhere=0.7), 1))
    for threshold, precision, recall in ((0.5, 2 / 3, 1), (0.65, 1 / 2, 1 / 2), (0.8, 1, 1 / 2)):
        at = int(threshold * BINS)
        assert (curve.precision[at], curve.recall[at]) == pytest.approx((precision, recall))
    assert np.isnan(curve.precision[-1]), "nothing is marked"
    assert curve.f1[-1] == 0


def test_marking_everything_is_no_way_to_a_good_score_over_objects() -> None:
    curve = object_curve(count_thresholds(*scene(0.9, 0.6), 1))
    assert (curve.precision[0], curve.recall[0], curve.f1[0]) == (0, 1, 0)


def test_the_threshold_of_the_largest_f1_lies_between_right_and_wrong() -> None:
    counts = count_thresholds(*scene(0.9, 0.6, elsewhere=0.3), 1)
    point = choose_threshold(counts, USELESS)
    assert point is not None
    assert point.threshold == 0.5, "of equals the one nearest to 0.5"
    assert (point.precision, point.recall, point.f1, point.iou) == (1, 1, 1, 1)


def test_a_threshold_must_be_better_over_objects_and_may_cost_little_of_the_iou() -> None:
    counts = count_thresholds(*scene(0.9, 0.6, elsewhere=0.3), 1)
    assert choose_threshold(counts, OperatingPoint(None, 1, 1, 1, 0.5)) is None, "no larger F1"
    wide = np.full((40, 40), 0.2, np.float32)
    wide[:20], wide[30:33, 30:33] = 0.9, 0.3
    truth = np.zeros((40, 40), np.uint8)
    truth[:20], truth[30:33, 30:33] = 1, 1
    wide[22:28] = 0.35  # finding the small one marks these too
    counts = count_thresholds(wide, truth, 1)
    dear, usual = operating_points(counts)[76 - 1], operating_points(counts)[128 - 1]
    assert (dear.recall, usual.recall) == (1, 0.5)
    assert dear.iou < (1 - MOST_LOST) * usual.iou
    chosen = choose_threshold(counts, usual, recall=1.0)
    assert chosen is None
    chosen = choose_threshold(counts, replace(usual, iou=dear.iou), recall=1.0)
    assert chosen is not None
    assert chosen.threshold == int(0.3 * BINS) / BINS


def test_one_mark_on_the_whole_image_is_not_chosen_though_it_finds_a_large_object() -> None:
    truth, probability = np.zeros((40, 40), np.uint8), np.full((40, 40), 0.2, np.float32)
    truth[:, :18], probability[:, :18] = 1, 0.7
    probability[2:8, 30:36] = 0.7  # a false alarm, which a mark on everything swallows
    counts = count_thresholds(probability, truth, 1)
    assert object_curve(counts).f1[0] == 1
    point = choose_threshold(counts, USELESS)
    assert point is not None
    assert point.threshold == 0.5
    assert point.f1 == pytest.approx(2 / 3)


def test_a_wanted_recall_gives_the_highest_threshold_that_reaches_it() -> None:
    counts = count_thresholds(*scene(0.9, 0.6, 0.3, 0.2, elsewhere=0.7), 1)
    for recall, last in ((0.25, 0.9), (0.5, 0.6), (0.6, 0.3), (1.0, 0.2)):
        point = choose_threshold(counts, USELESS, recall=recall)
        assert point is not None
        assert point.threshold == int(last * BINS) / BINS
        assert point.recall >= recall


def test_without_the_class_there_is_nothing_to_choose_by() -> None:
    counts = count_thresholds(*scene(elsewhere=0.9), 1)
    assert choose_threshold(counts, USELESS) is None
    assert choose_threshold(no_counts(), USELESS, recall=0.9) is None


def test_lines_are_the_objects_of_a_class_of_lines_alone() -> None:
    probability, truth = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.uint8)
    probability[3:5], truth[3:5] = 0.9, 1
    line = count_thresholds(probability, truth, 1)
    assert object_curve(line).recall[128] == 1
    squares = line + count_thresholds(*scene(0.9, 0.1), 1)
    assert object_curve(squares).recall[128] == 0.5


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        count_thresholds(np.zeros((3, 3), np.float32), np.zeros((3, 4), np.uint8), 1)


LEVELS = [0.0, 0.1, 0.25, 0.4, 0.5, 0.7, 0.996, 1.0]


@st.composite
def images(draw: st.DrawFn) -> tuple[Probabilities, Mask]:
    """Patches of probabilities of class 1 and of true class ids."""
    height, width = draw(st.integers(1, 10)), draw(st.integers(1, 10))
    probability, truth = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    for mask, values in ((probability, LEVELS), (truth, [0, 1, 1, 2, VOID])):
        for _ in range(draw(st.integers(0, 5))):
            top, left = draw(st.integers(0, 9)), draw(st.integers(0, 9))
            rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
            mask[top : top + rows, left : left + columns] = draw(st.sampled_from(values))
    return probability, truth


@settings(deadline=None)
@given(images(), st.sampled_from([0, 1, 26, 64, 65, 128, 179, 254, 255]))
def test_counts_are_those_of_the_mask_that_the_threshold_gives(
    image: tuple[Probabilities, Mask], at: int
) -> None:
    probability, truth = image
    counts = count_thresholds(probability, truth, 1)
    others = 1 - probability
    mask = apply_threshold(np.stack([others, probability, others], axis=-1), 1, THRESHOLDS[at])
    marked = mask == 1
    assert counts.pixels[at].tolist() == [
        (marked & (truth == 1)).sum(),
        (marked & (truth != VOID)).sum(),
    ]
    sizes = count_objects([find_objects(truth, mask, 1)], (0, 0))
    if not counts.objects[0, 1, TRUE]:  # specks are objects then, if there are any
        both = counts.objects[at].sum(axis=0)
        assert both.tolist() == sizes[0].sum(axis=0).tolist()
    else:
        assert counts.objects[at, 1].tolist() == without_specks(sizes)[0].tolist()
        assert counts.objects[at, 0].tolist() == sizes[0, 0].tolist()


@settings(deadline=None, max_examples=30)
@given(st.lists(images(), min_size=1, max_size=3))
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
        chosen = choose_threshold(counts, usual)
        better = [p for p in points if p.f1 > usual.f1 and p.iou >= (1 - MOST_LOST) * usual.iou]
        better = [p for p in better if p.iou >= max(p.iou for p in points) / 2]
        assert (chosen is None) == (not better)
        if chosen is not None:
            assert chosen.f1 == max(point.f1 for point in better)
    objects = counts.objects.sum(axis=1)
    assert (np.diff(objects[:, HIT]) <= 0).all(), "a higher threshold finds no more"
    assert (objects[:, FALSE] <= objects[:, ALARMS]).all()
