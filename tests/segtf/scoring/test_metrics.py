"""One confusion matrix, and every score from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from segtf.scoring import metrics

CLASSES = 4
shapes = st.tuples(st.integers(1, 6), st.integers(1, 6))


def test_confusion_counts_rows_of_truth_and_leaves_void_out() -> None:
    truth = np.array([[0, 0, 1, 255], [1, 1, 2, 255]], np.uint8)
    prediction = np.array([[0, 1, 1, 2], [1, 1, 0, 0]], np.uint8)
    np.testing.assert_array_equal(
        metrics.confusion(truth, prediction, 3), [[1, 1, 0], [0, 3, 0], [1, 0, 0]]
    )


def test_shares_without_a_whole_are_none() -> None:
    np.testing.assert_array_equal(metrics.share([1, 0], [4, 0]), [0.25, np.nan])


def test_scores_of_a_matrix_worked_out_by_hand() -> None:
    counts = np.array([[50, 10, 0], [5, 30, 0], [0, 0, 0]])
    np.testing.assert_allclose(metrics.iou(counts), [50 / 65, 30 / 45, np.nan])
    np.testing.assert_allclose(metrics.dice(counts), [100 / 115, 60 / 75, np.nan])
    assert metrics.miou(counts) == pytest.approx((50 / 65 + 30 / 45) / 2)
    assert metrics.pixel_accuracy(counts) == pytest.approx(80 / 95)


def test_a_class_that_is_only_predicted_scores_zero_and_one_that_is_nowhere_has_no_score() -> None:
    counts = np.array([[5, 2, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(metrics.iou(counts), [5 / 7, 0, np.nan])


def test_nothing_seen_has_no_score_at_all() -> None:
    nothing = np.zeros((3, 3), np.int64)
    assert np.isnan(metrics.miou(nothing))
    assert np.isnan(metrics.pixel_accuracy(nothing))


def test_confusion_refuses_ids_that_are_no_class_and_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match="under 2"):
        metrics.confusion(np.array([[2]], np.uint8), np.array([[0]], np.uint8), 2)
    with pytest.raises(ValueError, match="under 2"):
        metrics.confusion(np.array([[0]], np.uint8), np.array([[7]], np.uint8), 2)
    with pytest.raises(ValueError, match="shapes differ"):
        metrics.confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8), 2)


def test_pixels_counted_in_blocks_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, prediction = np.random.default_rng(0).integers(0, 3, (2, 5, 7), np.uint8)
    whole = metrics.confusion(truth, prediction, 3)
    monkeypatch.setattr(metrics, "BLOCK", 4)
    np.testing.assert_array_equal(metrics.confusion(truth, prediction, 3), whole)


@st.composite
def masks(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    shape = draw(shapes)
    ids = st.integers(0, CLASSES - 1)
    truth = draw(arrays(np.uint8, shape, elements=st.one_of(ids, st.just(255))))
    return truth, draw(arrays(np.uint8, shape, elements=ids))


@given(masks())
def test_iou_is_the_intersection_over_the_union_of_pixel_sets(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    truth, prediction = pair
    scores = metrics.iou(metrics.confusion(truth, prediction, CLASSES))
    known = truth != 255
    for class_id in range(CLASSES):
        a, b = (truth == class_id) & known, (prediction == class_id) & known
        expected = (a & b).sum() / (a | b).sum() if (a | b).any() else np.nan
        np.testing.assert_allclose(scores[class_id], expected)


@given(masks())
def test_dice_follows_from_iou(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    counts = metrics.confusion(*pair, CLASSES)
    iou = metrics.iou(counts)
    np.testing.assert_allclose(metrics.dice(counts), 2 * iou / (1 + iou))


@given(masks())
def test_counts_of_parts_add_up_to_those_of_the_whole(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    truth, prediction = pair
    rows = [metrics.confusion(t, p, CLASSES) for t, p in zip(truth, prediction, strict=True)]
    np.testing.assert_array_equal(sum(rows), metrics.confusion(truth, prediction, CLASSES))


def test_micro_imagewise_iou_is_the_mean_of_each_images_own() -> None:
    good, bad = np.array([[6, 0], [0, 2]]), np.array([[1, 2], [1, 0]])
    void = np.zeros((2, 2), np.int64)
    # tp 1, fp 3, fn 3 over both classes of the second: 1 / 7
    assert metrics.iou_micro_imagewise([good, bad, void]) == pytest.approx((1 + 1 / 7) / 2)
    assert np.isnan(metrics.iou_micro_imagewise([void]))
    assert np.isnan(metrics.iou_micro_imagewise([]))
