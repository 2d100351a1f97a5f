"""Pixels and objects at each threshold."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    THRESHOLDS,
    Curve,
    ThresholdCounts,
    count_thresholds,
    object_curve,
)
from tests.segtf.scoring.scenes import Mask, Probabilities, images, scene
from voc_builder.base.colours import VOID


def curve_of(probability: Probabilities, truth: Mask) -> Curve:
    return object_curve(count_thresholds(probability, truth, 1).counted_objects())


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
    curve = counts.pixel_curve()
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
    curve = curve_of(*scene(0.9, 0.6, elsewhere=0.7))
    for threshold, precision, recall in ((0.5, 2 / 3, 1), (0.65, 1 / 2, 1 / 2), (0.8, 1, 1 / 2)):
        at = int(threshold * BINS)
        assert (curve.precision[at], curve.recall[at]) == pytest.approx((precision, recall))
    assert np.isnan(curve.precision[-1]), "nothing is marked"
    assert curve.f1[-1] == 0


def test_marking_everything_is_no_way_to_a_good_score_over_objects() -> None:
    curve = curve_of(*scene(0.9, 0.6))
    assert (curve.precision[0], curve.recall[0], curve.f1[0]) == (0, 1, 0)


def test_lines_are_the_objects_of_a_class_of_lines_alone() -> None:
    probability, truth = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.uint8)
    probability[3:5], truth[3:5] = 0.9, 1
    line = count_thresholds(probability, truth, 1)
    assert object_curve(line.counted_objects()).recall[128] == 1
    squares = line + count_thresholds(*scene(0.9, 0.1), 1)
    assert object_curve(squares.counted_objects()).recall[128] == 0.5


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        count_thresholds(np.zeros((3, 3), np.float32), np.zeros((3, 4), np.uint8), 1)


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
def test_a_higher_threshold_finds_no_more_objects(some: list[tuple[Probabilities, Mask]]) -> None:
    counts: ThresholdCounts = reduce(add, (count_thresholds(*image, 1) for image in some))
    objects = counts.objects.sum(axis=1)
    assert (np.diff(objects[:, HIT]) <= 0).all()
    assert (objects[:, FALSE] <= objects[:, ALARMS]).all()
