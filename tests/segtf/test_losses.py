"""Losses against values worked out by hand and against their definitions in float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voc_builder.errors import UserError
from voc_builder.tfrecord import import_tensorflow

tf = import_tensorflow()

# keras speaks up unless TensorFlow came first
from segtf.loss_expression import LOSSES, parse_loss  # noqa: E402
from segtf.losses import TERMS, SegmentationLoss, cross_entropy, dice_loss  # noqa: E402

TRUTH = np.array([[[0, 1], [1, 255]]], np.uint8)
PROBABILITIES = np.array([[[[0.8, 0.2], [0.4, 0.6]], [[0.1, 0.9], [0.3, 0.7]]]], np.float32)


def test_cross_entropy_is_the_mean_over_the_known_pixels() -> None:
    expected = -(np.log(0.8) + np.log(0.6) + np.log(0.9)) / 3
    assert float(cross_entropy(TRUTH, PROBABILITIES)) == pytest.approx(expected, rel=1e-6)


def test_dice_loss_is_the_mean_over_the_classes_in_the_truth() -> None:
    background = 1 - 2 * 0.8 / (1 + 0.8 + 0.4 + 0.1)
    other = 1 - 2 * (0.6 + 0.9) / (2 + 0.2 + 0.6 + 0.9)
    expected = (background + other) / 2
    assert float(dice_loss(TRUTH, PROBABILITIES)) == pytest.approx(expected, rel=1e-6)


def test_a_class_that_is_not_in_the_truth_does_not_enter_dice() -> None:
    three = np.concatenate([PROBABILITIES * 0.9, np.full((1, 2, 2, 1), 0.1, np.float32)], axis=-1)
    background = 1 - 2 * 0.72 / (1 + 0.9 * 1.3)
    other = 1 - 2 * 1.35 / (2 + 0.9 * 1.7)
    assert float(dice_loss(TRUTH, three)) == pytest.approx((background + other) / 2, rel=1e-6)


@pytest.mark.parametrize("expression", ["ce", "dice", "ce + dice"])
def test_what_the_network_says_of_void_pixels_does_not_matter(expression: str) -> None:
    other = PROBABILITIES.copy()
    other[0, 1, 1] = (1.0, 0.0)
    loss = SegmentationLoss(expression)
    assert float(loss(TRUTH, PROBABILITIES)) == pytest.approx(float(loss(TRUTH, other)))


@pytest.mark.parametrize("expression", ["ce", "dice"])
def test_a_perfect_prediction_and_one_without_known_pixels_cost_nothing(expression: str) -> None:
    loss = SegmentationLoss(expression)
    perfect = np.array([[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], np.float32)
    assert float(loss(TRUTH, perfect)) == pytest.approx(0, abs=1e-6)
    assert float(loss(np.full((1, 2, 2), 255, np.uint8), PROBABILITIES)) == 0


@pytest.mark.parametrize("truth", [TRUTH, np.full((1, 2, 2), 255, np.uint8)], ids=["some", "void"])
@pytest.mark.parametrize("sharpness", [1.0, 1e4], ids=["soft", "certain"])
def test_gradients_are_finite_everywhere(truth: NDArray[np.uint8], sharpness: float) -> None:
    logits = tf.Variable(np.log(PROBABILITIES)[..., ::-1].copy() * sharpness)
    with tf.GradientTape() as tape:
        loss = SegmentationLoss("ce + dice")(truth, tf.nn.softmax(logits))
    assert np.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_random_batches_agree_with_the_definitions_in_float64() -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 255], (3, 8, 8)).astype(np.uint8)
    p = rng.dirichlet([1, 1, 1], (3, 8, 8))
    known = truth != 255
    y = np.eye(3)[np.where(known, truth, 0)] * known[..., None]
    ce = -np.log((p * y).sum(-1)[known]).mean()
    overlap, both = (y * p).sum((0, 1, 2)), (y + p * known[..., None]).sum((0, 1, 2))
    dice = (1 - 2 * overlap / both).mean()
    loss = SegmentationLoss("0.7*ce + 0.3*dice")(truth, p.astype(np.float32))
    assert float(loss) == pytest.approx(0.7 * ce + 0.3 * dice, rel=1e-5)


def test_an_expression_is_a_weighted_sum_of_the_terms_that_there_are() -> None:
    assert tuple(TERMS) == LOSSES
    assert parse_loss("0.7*ce + 0.3 * dice") == [(0.7, "ce"), (0.3, "dice")]
    assert parse_loss("dice") == [(1.0, "dice")]


@pytest.mark.parametrize("expression", ["", "ce +", "ce - dice", "hinge", "2 ce", "1.2.3*ce"])
def test_an_expression_that_is_none_is_refused_by_its_term(expression: str) -> None:
    with pytest.raises(UserError, match=r"--loss .* is no term"):
        parse_loss(expression)


def test_a_loss_is_rebuilt_from_its_configuration() -> None:
    loss = SegmentationLoss("0.5*dice")
    assert SegmentationLoss.from_config(loss.get_config()).terms == [(0.5, "dice")]
