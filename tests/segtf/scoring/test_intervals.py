"""Intervals that hold the truth as often as they say, and say where they cannot."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segtf.scoring import metrics
from segtf.scoring.intervals import (
    mean_share_interval,
    parts_of,
    rate_intervals,
    share_intervals,
)
from segtf.scoring.metrics import Counts


def parts(*images: tuple[int, int]) -> Counts:
    """Part and whole of one thing in each image."""
    return np.array(images, np.int64).reshape(-1, 1, 2)


def test_the_parts_of_a_confusion_matrix_give_its_iou() -> None:
    confusions = np.random.default_rng(1).integers(0, 50, (7, 4, 4))
    both, either = parts_of(confusions).sum(axis=0).T
    np.testing.assert_allclose(both / either, metrics.iou(confusions.sum(axis=0)))


def test_the_same_counts_give_the_same_interval_and_another_seed_another() -> None:
    counts = np.random.default_rng(1).integers(1, 50, (9, 2, 2)).cumsum(axis=-1)
    assert share_intervals(counts) == share_intervals(counts.copy())
    assert share_intervals(counts) != share_intervals(counts, seed=1)


def test_the_order_of_things_does_not_matter() -> None:
    counts = np.random.default_rng(1).integers(1, 50, (9, 3, 2)).cumsum(axis=-1)
    assert share_intervals(counts)[1] == share_intervals(counts[:, [1]])[0]


def test_with_many_images_the_interval_is_that_of_the_normal_distribution() -> None:
    rng = np.random.default_rng(5)
    hits = rng.binomial(1, 0.7, 2000)
    (interval,) = share_intervals(np.stack([hits, np.ones_like(hits)], axis=1)[:, None])
    error = 1.96 * math.sqrt(hits.mean() * (1 - hits.mean()) / 2000)
    assert interval.low == pytest.approx(hits.mean() - error, abs=0.1 * error)
    assert interval.high == pytest.approx(hits.mean() + error, abs=0.1 * error)
    alarms = rng.poisson(0.4, (2000, 1))
    (rate,) = rate_intervals(alarms)
    error = 1.96 * math.sqrt(0.4 / 2000)
    assert rate.high - rate.low == pytest.approx(2 * error, rel=0.15)


@pytest.mark.parametrize("images", [8, 25])
def test_the_interval_of_few_images_holds_the_truth_in_at_least_nine_cases_of_ten(
    images: int,
) -> None:
    rng = np.random.default_rng(images)
    held = 0
    for _ in range(200):
        found = rng.poisson(1.5, images) + 1
        counts = np.stack([rng.binomial(found, 0.8), found], axis=1)[:, None]
        (interval,) = share_intervals(counts, resamples=300)
        held += interval.low <= 0.8 <= interval.high
    assert held >= 180


def test_the_interval_is_as_wide_as_that_of_student_where_that_is_right() -> None:
    # ten images of equal size: the share is a plain mean, t of 9 degrees of freedom 2.262
    shares = np.array([10, 20, 25, 30, 35, 40, 45, 50, 60, 70])
    counts = np.stack([shares, np.full(10, 100)], axis=1)[:, None]
    (interval,) = share_intervals(counts, resamples=20_000)
    width = 2 * 2.262 * (shares / 100).std(ddof=1) / math.sqrt(10)
    assert interval.high - interval.low == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize(("hits", "ends"), [(1, (0.025**0.2, 1.0)), (0, (0.0, 1 - 0.025**0.2))])
def test_five_images_of_one_mind_prove_no_certainty(hits: int, ends: tuple[float, float]) -> None:
    (interval,) = share_intervals(parts(*[(3 * hits, 3)] * 5))
    assert (interval.low, interval.high) == pytest.approx(ends)
    assert interval.images == 5


def test_no_false_alarm_in_twenty_images_may_still_be_one_in_six() -> None:
    (interval,) = rate_intervals(np.zeros((20, 1), np.int64))
    assert interval.low == 0
    assert interval.high == pytest.approx(3.689 / 20, abs=1e-4)


def test_images_that_do_not_hold_it_are_no_evidence() -> None:
    (interval,) = share_intervals(parts((1, 2), (4, 5), *[(0, 0)] * 50))
    assert interval.images == 2
    assert interval.few
    assert (interval.low, interval.high) == (0.5, 0.8), "all that two images can say"
    assert [share_intervals(parts(*[(1, 2)] * n))[0].few for n in (5, 6)] == [True, False]


@pytest.mark.parametrize("images", [[], [(0, 0)] * 9, [(3, 4), (0, 0), (0, 0)]])
def test_one_image_or_none_has_no_interval(images: list[tuple[int, int]]) -> None:
    (interval,) = share_intervals(parts(*images))
    assert interval.low is None
    assert interval.high is None
    assert interval.images == sum(whole > 0 for _, whole in images)
    mean = mean_share_interval(parts(*images))
    assert mean.low is None
    assert mean.images == interval.images


def test_without_images_there_are_no_rates() -> None:
    assert rate_intervals(np.zeros((0, 1), np.int64))[0].high is None


def test_a_draw_without_a_rare_class_does_not_lift_the_mean() -> None:
    common = [(100, 100)] * 20
    rare = [(0, 0)] * 18 + [(20, 100), (20, 100)]
    counts = np.stack([common, rare], axis=1)
    interval = mean_share_interval(counts)
    # in every draw the IoU are 1 and 0.2, or the second is not there: the mean is never 1
    assert (interval.low, interval.high) == pytest.approx((0.6, 0.6))
    assert interval.images == 2


def test_a_class_that_is_nowhere_does_not_count_in_the_mean() -> None:
    counts = np.random.default_rng(2).integers(1, 50, (9, 2, 2)).cumsum(axis=-1)
    absent = np.zeros((9, 1, 2), np.int64)
    assert mean_share_interval(np.concatenate([counts, absent], axis=1)) == mean_share_interval(
        counts
    )
