"""What is written for --loss and --class-weights, and what is said of it when it is wrong."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from segtf.run.loss_expression import (
    PARAMETERS,
    Term,
    check_class_weights,
    parse_class_weights,
    parse_loss,
)
from voc_builder.base.errors import UserError

CLASSES = ("background", "chip", "crack")


def test_an_expression_is_a_weighted_sum_of_terms_with_parameters() -> None:
    assert parse_loss("0.7*ce + 0.3 * dice+focal( gamma = 3 ) + tversky(beta=.6,alpha=4e-1)") == [
        Term(0.7, "ce", {}),
        Term(0.3, "dice", {}),
        Term(1.0, "focal", {"gamma": 3.0}),
        Term(1.0, "tversky", {"alpha": 0.4, "beta": 0.6}),
    ]


def test_parameters_that_are_not_written_have_their_defaults() -> None:
    assert parse_loss("focal + tversky(alpha=1) + focal_tversky() + lovasz + jaccard") == [
        Term(1.0, "focal", {"gamma": 2.0}),
        Term(1.0, "tversky", {"alpha": 1.0, "beta": 0.7}),
        Term(1.0, "focal_tversky", {"alpha": 0.3, "beta": 0.7, "gamma": 0.75}),
        Term(1.0, "lovasz", {}),
        Term(1.0, "jaccard", {}),
    ]


@pytest.mark.parametrize(
    ("weight", "expected"), [("1e-1", 0.1), ("1e+1", 10), ("2.e+0", 2), (".5", 0.5), ("3", 3)]
)
def test_weights_are_numbers_as_people_write_them(weight: str, expected: float) -> None:
    terms = parse_loss(f"dice+{weight}*focal(gamma=1e+0)+ce")
    assert [(term.weight, term.name) for term in terms] == [
        (1.0, "dice"),
        (expected, "focal"),
        (1.0, "ce"),
    ]
    assert terms[1].arguments == {"gamma": 1.0}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_ends_of_a_range_are_allowed_and_what_lies_past_them_is_not(name: str) -> None:
    for key, known in PARAMETERS[name].items():
        assert known.least <= known.default <= known.most
        for end in (known.least, known.most):
            assert parse_loss(f"{name}({key}={end})")[0].arguments[key] == end
        for value in (known.least - 0.001, known.most + 0.001, "1e999"):
            with pytest.raises(UserError, match=rf"{key} must be from .* to .*\. Received"):
                parse_loss(f"{name}({key}={value})")


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "ce +",
        "+ ce",
        "ce - dice",
        "2 ce",
        "1.2.3*ce",
        "ce*2",
        "focal(gamma=2",
        "focal)",
        "nan*ce",
    ],
)
def test_what_is_no_term_is_named_with_an_example(expression: str) -> None:
    with pytest.raises(UserError, match=r"--loss .* is no term"):
        parse_loss(expression)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("ce + hinge", "take one of ce, dice"),
        ("ce + 2*lovas", "did you mean lovasz?"),
        ("CE", "did you mean ce?"),
        ("ce + focal(gama=2)", "did you mean gamma?"),
        ("focal(x=2)", "take one of gamma"),
        ("dice(gamma=2)", "dice takes no parameters"),
        ("focal(2)", "'focal(gamma=2)'"),
        ("focal(gamma=two)", "'gamma=two'"),
        ("tversky(alpha=1,)", "'tversky(alpha=0.3, beta=0.7)'"),
        ("focal(gamma=1, gamma=2)", "gamma is given twice"),
        ("focal(gamma=-1)", "gamma must be from 0 to 10. Received: -1"),
        ("tversky(beta=0)", "beta must be from 0.01 to 10. Received: 0"),
        ("ce + 0*dice", "'0*dice' has a weight of 0"),
        ("-1*dice", "'-1*dice' has a weight of -1"),
        ("1e999*dice", "has a weight of inf"),
        ("1e-999*dice", "has a weight of 0"),
    ],
)
def test_a_wrong_term_is_answered_in_one_line_with_the_cure(expression: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        parse_loss(expression)
    assert str(caught.value).startswith(f"--loss {expression!r}: ")
    assert "\n" not in str(caught.value)


def test_an_answer_stays_one_line_when_the_expression_has_two() -> None:
    with pytest.raises(UserError) as caught:
        parse_loss("ce\n+ hinge(\n)")
    assert "\n" not in str(caught.value)


def test_no_weights_are_none() -> None:
    assert parse_class_weights("none", CLASSES, [5, 3, 2]) is None


def test_balanced_weights_are_inverse_to_the_pixels_with_a_mean_of_one() -> None:
    weights = parse_class_weights("balanced", CLASSES, [800, 150, 50])
    assert weights is not None
    # n / (k n_c): 1000 / 2400, 1000 / 450, 1000 / 150
    raw = [1000 / 2400, 1000 / 450, 1000 / 150]
    assert weights == pytest.approx([3 * w / sum(raw) for w in raw])
    assert sum(weights) / 3 == pytest.approx(1)


def test_a_class_that_never_occurs_counts_as_the_mean_and_leaves_the_others_alone() -> None:
    assert parse_class_weights("balanced", CLASSES, [300, 0, 100]) == pytest.approx((0.5, 1, 1.5))


def test_balanced_weights_of_images_without_any_class_are_refused() -> None:
    with pytest.raises(UserError, match="--class-weights balanced"):
        parse_class_weights("balanced", CLASSES, [0, 0, 0])


def test_a_list_is_taken_as_it_stands() -> None:
    assert parse_class_weights("1, 2.5,1e+1", CLASSES, [1, 1, 1]) == (1.0, 2.5, 10.0)


@pytest.mark.parametrize("text", ["1", "1,2", "1,2,3,4"])
def test_a_list_of_another_length_is_told_the_classes(text: str) -> None:
    check_class_weights(text)
    count = text.count(",") + 1
    with pytest.raises(UserError, match=rf"3 classes.*: background, chip, crack\. .*: {count}$"):
        parse_class_weights(text, CLASSES, [1, 1, 1])


@pytest.mark.parametrize("text", ["none", "balanced", "1,2,5", ".5", "1e-3, 1"])
def test_good_class_weights_are_known_without_the_classes(text: str) -> None:
    check_class_weights(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("balnced", "did you mean balanced?"),
        ("", "''"),
        ("1;2;3", "'1;2;3'"),
        ("1,,3", "'1,,3'"),
        ("1,nan", "'1,nan'"),
        ("1,0,2", "Received: 0"),
        ("1,-2", "Received: -2"),
        ("1e999", "Received: 1e999"),
        ("1\n2", r"'1\n2'"),
    ],
)
def test_wrong_class_weights_are_answered_in_one_line_with_the_cure(text: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)) as caught:
        check_class_weights(text)
    assert str(caught.value).startswith("--class-weights ")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=re.escape(said)):
        parse_class_weights(text, CLASSES, [1, 1, 1])


def test_an_expression_is_read_without_any_framework() -> None:
    code = (
        "import sys; import segtf.run.loss_expression; "
        "print({'keras', 'tensorflow', 'jax', 'numpy'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
