"""Losses against values worked out by hand and against their definitions in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from voc_builder.base.tensorflow import import_tensorflow

tf = import_tensorflow()

# keras speaks up unless TensorFlow came first
import keras  # noqa: E402
from keras import ops  # noqa: E402

from segtf.networks.losses import TERMS, SegmentationLoss  # noqa: E402
from segtf.run.loss_expression import PARAMETERS, parse_loss  # noqa: E402

pytestmark = pytest.mark.slow

Floats = NDArray[np.floating[Any]]
Ids = NDArray[np.uint8]

TRUTH = np.array([[[0, 1], [1, 255]]], np.uint8)
PROBABILITIES = np.array([[[[0.8, 0.2], [0.4, 0.6]], [[0.1, 0.9], [0.3, 0.7]]]], np.float32)
VOID = np.full((1, 2, 2), 255, np.uint8)
REGION = ("dice", "jaccard", "tversky", "focal_tversky", "lovasz")
EDGES = (
    "focal(gamma=0)",
    "focal(gamma=0.5)",
    "focal(gamma=1)",
    "focal_tversky(gamma=0.1)",
    "focal_tversky(gamma=1)",
    "focal_tversky(gamma=1.5)",
    "tversky(alpha=0, beta=0.01)",
)


def value(
    expression: str, truth: Ids, probabilities: Floats, weights: Sequence[float] | None = None
) -> float:
    return float(SegmentationLoss(expression, weights)(truth, probabilities.astype(np.float32)))


def gradient(
    expression: str, truth: Ids, probabilities: Floats, weights: Sequence[float] | None = None
) -> Floats:
    """By the probabilities, of their shape."""
    loss = SegmentationLoss(expression, weights)
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda p: loss(truth, p))(probabilities.astype(np.float32)))
    variable = tf.Variable(probabilities.astype(np.float32))
    with tf.GradientTape() as tape:
        number = loss(truth, variable)
    return np.asarray(tape.gradient(number, variable))


# ---- by hand: class 0 has TP 0.8, FP 0.4 + 0.1, FN 0.2; class 1 TP 0.6 + 0.9, FP 0.2, FN 0.4 + 0.1

BY_CLASS = {
    "dice": (1 - 1.6 / 2.3, 1 - 3.0 / 3.7),
    "jaccard": (1 - 0.8 / 1.5, 1 - 1.5 / 2.2),
    "tversky": (1 - 0.8 / 1.09, 1 - 1.5 / 1.91),
    "tversky(alpha=2, beta=0.5)": (1 - 0.8 / 1.9, 1 - 1.5 / 2.15),
    "focal_tversky": ((1 - 0.8 / 1.09) ** 0.75, (1 - 1.5 / 1.91) ** 0.75),
    "focal_tversky(alpha=1, beta=1, gamma=2)": ((1 - 0.8 / 1.5) ** 2, (1 - 1.5 / 2.2) ** 2),
    # errors 0.4, 0.2, 0.1; got wrong one by one, 1 - IoU of class 0 is 1/2, 1, 1, of class 1 it is
    # 1/2, 2/3, 1
    "lovasz": (0.4 / 2 + 0.2 / 2, 0.4 / 2 + 0.2 / 6 + 0.1 / 3),
}
BY_PIXEL = {
    "ce": (-np.log(0.8), -np.log(0.6), -np.log(0.9)),
    "focal": (-0.04 * np.log(0.8), -0.16 * np.log(0.6), -0.01 * np.log(0.9)),
    "focal(gamma=0.5)": (
        -(0.2**0.5) * np.log(0.8),
        -(0.4**0.5) * np.log(0.6),
        -(0.1**0.5) * np.log(0.9),
    ),
}


@pytest.mark.parametrize("expression", BY_PIXEL)
def test_terms_of_pixels_are_their_mean_over_the_known_ones(expression: str) -> None:
    losses = BY_PIXEL[expression]
    assert value(expression, TRUTH, PROBABILITIES) == pytest.approx(sum(losses) / 3, rel=1e-5)
    weighted = (losses[0] + 3 * (losses[1] + losses[2])) / 7
    assert value(expression, TRUTH, PROBABILITIES, [1, 3]) == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("expression", BY_CLASS)
def test_terms_of_regions_are_their_mean_over_the_classes(expression: str) -> None:
    background, other = BY_CLASS[expression]
    mean, weighted = (background + other) / 2, (background + 3 * other) / 4
    assert value(expression, TRUTH, PROBABILITIES) == pytest.approx(mean, rel=1e-5)
    assert value(expression, TRUTH, PROBABILITIES, [1, 3]) == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("weights", [None, [1, 3, 1000]], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", REGION)
def test_a_class_that_is_not_in_the_truth_does_not_enter_the_mean(
    name: str, weights: list[float] | None
) -> None:
    third = np.concatenate([PROBABILITIES, np.zeros((1, 2, 2, 1), np.float32)], axis=-1)
    two = weights and weights[:2]
    assert value(name, TRUTH, third, weights) == pytest.approx(
        value(name, TRUTH, PROBABILITIES, two), rel=1e-6
    )
    third[..., 2] = 0.5  # what it takes from the others counts, it itself does not
    assert not gradient(name, TRUTH, third, weights)[..., 2].any()


def test_a_sum_weighs_its_terms() -> None:
    expected = 0.7 * sum(BY_PIXEL["ce"]) / 3 + 2 * sum(BY_CLASS["lovasz"]) / 2
    assert value("0.7*ce + 2*lovasz", TRUTH, PROBABILITIES) == pytest.approx(expected, rel=1e-5)


# ---- the definitions, in float64 and as they are written in the papers


def by_definition(
    name: str,
    truth: Ids,
    probabilities: Floats,
    weights: Sequence[float] | None = None,
    arguments: dict[str, float] | None = None,
) -> float:
    parameters = {key: of.default for key, of in PARAMETERS[name].items()} | (arguments or {})
    known = truth != 255
    y, p = truth[known], probabilities.astype(np.float64)[known]  # (n,), (n, C)
    classes = range(p.shape[1])
    w = np.ones(p.shape[1]) if weights is None else np.asarray(weights, np.float64)
    if not y.size:
        return 0.0
    if name in ("ce", "focal"):
        right = p[np.arange(len(y)), y]
        losses = (1 - right) ** parameters.get("gamma", 0) * -np.log(right)
        return float(np.average(losses, weights=w[y]))
    present = [c for c in classes if (y == c).any()]
    of = region_by_definition if name != "lovasz" else lovasz_by_definition
    losses = [of(y == c, p[:, c], name, parameters) for c in present]
    return float(np.average(losses, weights=w[present]))


def region_by_definition(
    member: NDArray[np.bool_], p: Floats, name: str, parameters: dict[str, float]
) -> float:
    tp, fp, fn = p[member].sum(), p[~member].sum(), (1 - p[member]).sum()
    if name == "dice":
        return float(1 - 2 * tp / (p.sum() + member.sum()))
    if name == "jaccard":
        return float(1 - tp / (p.sum() + member.sum() - tp))
    error = 1 - tp / (tp + parameters["alpha"] * fp + parameters["beta"] * fn)
    return float(max(error, 0) ** parameters.get("gamma", 1))


def lovasz_by_definition(
    member: NDArray[np.bool_], p: Floats, name: str, parameters: dict[str, float]
) -> float:
    """Lovasz extension of the Jaccard loss as a function of the set of pixels got wrong."""
    errors = np.where(member, 1 - p, p)
    total, before, wrong = 0.0, 0.0, np.zeros(len(p), bool)
    for pixel in np.argsort(-errors):
        wrong[pixel] = True
        after = wrong.sum() / (wrong | member).sum()
        total += errors[pixel] * (after - before)
        before = after
    return total


@st.composite
def batches(draw: st.DrawFn) -> tuple[Ids, Floats]:
    """Truth of three classes and void, one of them often absent, and soft probabilities."""
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    ids = draw(st.lists(st.sampled_from([0, 1, 2, 255]), min_size=1, unique=True))
    truth = draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from(ids)))
    logits = draw(arrays.arrays(np.float64, (*shape, 3), elements=st.floats(-6, 6)))
    exponentials = np.exp(logits)
    return truth, (exponentials / exponentials.sum(-1, keepdims=True)).astype(np.float32)


weightings = st.one_of(st.none(), st.lists(st.floats(0.01, 100), min_size=3, max_size=3))


@pytest.mark.parametrize("name", TERMS)
@settings(max_examples=60, deadline=None)
@given(batches(), weightings, st.data())
def test_a_term_agrees_with_its_definition_in_float64(
    name: str, batch: tuple[Ids, Floats], weights: list[float] | None, data: st.DataObject
) -> None:
    # focal_tversky of a small gamma makes much of rounding near 0
    arguments = {
        key: round(data.draw(st.floats(max(of.least, 0.3), 4)), 2)
        for key, of in PARAMETERS[name].items()
    }
    written = ", ".join(f"{key}={number}" for key, number in arguments.items())
    expected = by_definition(name, *batch, weights, arguments)
    received = value(f"{name}({written})", *batch, weights)
    assert received == pytest.approx(expected, rel=2e-5, abs=2e-6)


@pytest.mark.parametrize("weights", [None, [0.5, 1, 4]], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", TERMS)
def test_a_gradient_agrees_with_the_differences_of_the_definition(
    name: str, weights: list[float] | None
) -> None:
    rng = np.random.default_rng(7)
    truth = rng.choice([0, 1, 2, 255], (2, 3, 3)).astype(np.uint8)
    p = rng.dirichlet([1, 1, 1], (2, 3, 3)).astype(np.float32).astype(np.float64)
    expected, step = np.zeros_like(p), 1e-6
    for place in np.ndindex(*p.shape):
        up, down = p.copy(), p.copy()
        up[place] += step
        down[place] -= step
        rise = by_definition(name, truth, up, weights) - by_definition(name, truth, down, weights)
        expected[place] = rise / (2 * step)
    np.testing.assert_allclose(gradient(name, truth, p, weights), expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_a_random_batch_with_void_agrees_with_the_definition(name: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 255], (3, 8, 8)).astype(np.uint8)
    p = rng.dirichlet([1, 1, 1], (3, 8, 8)).astype(np.float32)
    for weights in (None, [1, 2, 5]):
        expected = by_definition(name, truth, p, weights)
        assert value(name, truth, p, weights) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(batches())
def test_lovasz_of_hard_predictions_is_one_less_the_iou_of_the_present_classes(
    batch: tuple[Ids, Floats],
) -> None:
    truth, soft = batch
    prediction = soft.argmax(-1)
    known = truth != 255
    losses = []
    for c in set(truth[known].tolist()):
        true, guessed = (truth == c) & known, (prediction == c) & known
        losses.append(1 - (true & guessed).sum() / (true | guessed).sum())
    expected = np.mean(losses) if losses else 0
    assert value("lovasz", truth, np.eye(3)[prediction]) == pytest.approx(expected, abs=1e-6)


def test_the_slopes_of_lovasz_keep_their_digits_over_a_million_pixels() -> None:
    # differences of 1 - IoU, as the paper's program takes them, are a tenth off here
    rng = np.random.default_rng(1)
    truth = (rng.random((1, 1024, 1024)) < 0.3).astype(np.uint8)
    other = rng.random((1, 1024, 1024)).astype(np.float32)
    p = np.stack([np.ones_like(other), other], axis=-1)
    received = gradient("lovasz", truth, p, [1e-30, 1])[..., 1].ravel()  # of class 1 alone
    member = truth.ravel() == 1
    order = np.argsort(-np.where(member, 1 - other.ravel(), other.ravel()), kind="stable")
    left = member.sum() - np.cumsum(member[order])
    index = 1 - left / (member.sum() + np.cumsum(~member[order]))
    steps = np.diff(index, prepend=0) * np.where(member[order], -1, 1)
    same = np.abs(received[order] - steps) <= 1e-5 * np.abs(steps)
    assert same.mean() > 0.98  # equal errors stand in either order


# ---- void, absent classes, perfect and worst answers, the edges of the probabilities


@pytest.mark.parametrize("weights", [None, [1, 3]], ids=["equal", "weighted"])
@pytest.mark.parametrize("name", TERMS)
def test_what_the_network_says_of_void_pixels_does_not_matter(
    name: str, weights: list[float] | None
) -> None:
    for said in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.5)):
        other = PROBABILITIES.copy()
        other[0, 1, 1] = said
        assert value(name, TRUTH, other, weights) == value(name, TRUTH, PROBABILITIES, weights)
        slopes = gradient(name, TRUTH, other, weights)
        np.testing.assert_array_equal(slopes, gradient(name, TRUTH, PROBABILITIES, weights))
        assert not slopes[0, 1, 1].any()


@pytest.mark.parametrize("name", TERMS)
def test_void_pixels_that_are_cut_out_leave_value_and_gradient_as_they_are(name: str) -> None:
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 2, 255], (1, 1, 40)).astype(np.uint8)
    p = rng.dirichlet([1, 1, 1], (1, 1, 40)).astype(np.float32)
    p[..., :4, :] = [1, 0, 0]  # errors of exactly 0 and 1, like those of void
    known = truth[0, 0] != 255
    assert 0 < known.sum() < 40
    cut = truth[:, :, known], p[:, :, known]
    assert value(name, truth, p) == pytest.approx(value(name, *cut), rel=1e-6)
    np.testing.assert_allclose(
        gradient(name, truth, p)[:, :, known], gradient(name, *cut), rtol=1e-5, atol=1e-8
    )


@pytest.mark.parametrize("weights", [None, [1, 3]], ids=["equal", "weighted"])
@pytest.mark.parametrize("expression", [*TERMS, *EDGES])
def test_a_batch_of_void_costs_nothing_and_teaches_nothing(
    expression: str, weights: list[float] | None
) -> None:
    assert value(expression, VOID, PROBABILITIES, weights) == 0
    assert not gradient(expression, VOID, PROBABILITIES, weights).any()


@pytest.mark.parametrize("expression", [*TERMS, *EDGES])
def test_a_perfect_answer_costs_nothing(expression: str) -> None:
    perfect = np.array([[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], np.float32)
    assert value(expression, TRUTH, perfect) == 0


@pytest.mark.parametrize("name", REGION)
def test_an_answer_that_misses_every_region_costs_one(name: str) -> None:
    worst = np.array([[[[0, 1], [1, 0]], [[1, 0], [1, 0]]]], np.float32)
    assert value(name, TRUTH, worst) == pytest.approx(1)


@pytest.mark.parametrize("expression", [*TERMS, *EDGES])
def test_gradients_are_finite_everywhere(expression: str) -> None:
    certain = np.eye(3, dtype=np.float32)
    rng = np.random.default_rng(5)
    truths = [rng.choice(ids, (1, 4, 4)).astype(np.uint8) for ids in ([0, 1, 2, 255], [1], [255])]
    for truth in truths:
        right = certain[np.where(truth == 255, 0, truth)]
        answers = {
            "perfect": right,
            "worst": certain[(np.where(truth == 255, 0, truth) + 1) % 3],
            "nothing": np.zeros_like(right),
            "everything": np.ones_like(right),
            "even": np.full_like(right, 1 / 3),
            "rounded past 1": right * np.float32(1 + 1.2e-7),
            "nearly perfect": np.clip(right, 6e-8, 1 - 6e-8),
            "tiny": np.where(right > 0, 1, np.float32(1e-30)),
            "nearly worst": np.where(right > 0, np.float32(1e-30), 1),
        }
        for weights in (None, [1e-3, 1, 1e3]):
            for what, p in answers.items():
                assert np.isfinite(value(expression, truth, p, weights)), what
                assert np.isfinite(gradient(expression, truth, p, weights)).all(), what


@pytest.mark.parametrize("expression", [*TERMS, "focal_tversky(alpha=10, gamma=10)"])
def test_a_whole_image_taken_for_an_absent_class_keeps_value_and_gradient_finite(
    expression: str,
) -> None:
    truth = np.zeros((1, 128, 128), np.uint8)
    absent = np.broadcast_to(np.eye(3, dtype=np.float32)[2], (1, 128, 128, 3))
    assert np.isfinite(value(expression, truth, absent))
    assert np.isfinite(gradient(expression, truth, absent)).all()


@pytest.mark.parametrize("name", ["ce", "focal"])
def test_a_pixel_that_is_surely_wrong_goes_on_learning(name: str) -> None:
    # softmax gives p = 1e-15: its gradient p (1 - p) times 1 / p is 1 a pixel
    p = np.array([[[[1e-15, 1]]]], np.float32)
    slope = gradient(name, np.zeros((1, 1, 1), np.uint8), p)[0, 0, 0]
    assert 1e-15 * (slope[0] - (slope * p[0, 0, 0]).sum()) == pytest.approx(-1, rel=1e-4)


@pytest.mark.parametrize("name", TERMS)
def test_a_step_down_the_gradient_lowers_the_loss(name: str) -> None:
    slopes = gradient(name, TRUTH, PROBABILITIES)
    assert value(name, TRUTH, PROBABILITIES - 0.01 * slopes) < value(name, TRUTH, PROBABILITIES)


# ---- the loss as Keras uses it


def test_every_term_that_can_be_written_can_be_computed() -> None:
    assert list(TERMS) == list(PARAMETERS)


def test_a_loss_is_one_number_of_rank_one_in_float32_at_any_precision() -> None:
    loss = SegmentationLoss("ce + lovasz", [1, 2])
    low = ops.cast(PROBABILITIES, "bfloat16")
    expected = float(loss(TRUTH, ops.cast(low, "float32")))
    before, width = keras.config.dtype_policy(), keras.config.floatx()
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_floatx("bfloat16")
    try:
        mixed = SegmentationLoss("ce + lovasz", [1, 2])
        number = mixed(TRUTH, low)
        assert mixed.call(ops.convert_to_tensor(TRUTH), low).shape == (1,)
    finally:
        keras.config.set_dtype_policy(before)
        keras.config.set_floatx(width)
    assert keras.backend.standardize_dtype(number.dtype) == "float32"
    assert float(number) == expected


@pytest.mark.parametrize("name", TERMS)
def test_ids_may_come_as_whole_numbers_or_as_floats(name: str) -> None:
    term = parse_loss(name)[0]
    for kind in ("uint8", "int32", "float32"):
        number = TERMS[name](ops.cast(TRUTH, kind), PROBABILITIES, **term.arguments)
        assert float(number) == pytest.approx(value(name, TRUTH, PROBABILITIES))


def compiled(loss: SegmentationLoss) -> Callable[[Ids, Floats], Any]:
    """By XLA, shapes unknown until it is called."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(loss.__call__)
    signature = [tf.TensorSpec([None] * 3, tf.uint8), tf.TensorSpec([None, None, None, 3])]
    return tf.function(loss.__call__, signature, jit_compile=True)


@pytest.mark.parametrize("weights", [None, [1, 2, 5]], ids=["equal", "weighted"])
def test_compiled_losses_are_the_same(weights: list[float] | None) -> None:
    rng = np.random.default_rng(0)
    expression = " + ".join(TERMS)
    step = compiled(SegmentationLoss(expression, weights))
    for height in (4, 6):
        truth = rng.choice([0, 1, 2, 255], (2, height, 5)).astype(np.uint8)
        p = rng.dirichlet([1, 1, 1], truth.shape).astype(np.float32)
        expected = value(expression, truth, p, weights)
        assert float(step(truth, p)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weights", [None, (1, 2)])
def test_a_loss_is_rebuilt_from_its_configuration(weights: tuple[float, ...] | None) -> None:
    loss = SegmentationLoss("0.5*dice + focal(gamma=3)", weights, name="mine")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert isinstance(again, SegmentationLoss)
    assert (again.terms, again.class_weights, again.name) == (
        loss.terms,
        loss.class_weights,
        "mine",
    )
    assert float(again(TRUTH, PROBABILITIES)) == float(loss(TRUTH, PROBABILITIES))


@pytest.mark.parametrize("name", TERMS)
def test_a_wrong_number_of_class_weights_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="one number for each of the 2 classes"):
        value(name, TRUTH, PROBABILITIES, [1, 2, 3])
