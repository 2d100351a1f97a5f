"""Every rule finds its problem, and names the shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voc_builder.base.problems import Problem
from voc_builder.sources.checks import check_images, check_label, check_labels, check_size
from voc_builder.sources.labelme import Annotation, Shape
from voc_builder.sources.labelme_checks import check_annotation

CLASSES = ["__background__", "chip", "defect"]
CHIP = Shape("chip", ((0, 0), (4, 0), (4, 4), (0, 4)))
Found = list[tuple[str, str, int | None]]


def found(*shapes: Shape, height: int | None = 10, width: int | None = 20) -> Found:
    """Severity, rule and shape of every problem on an image 20 wide and 10 high."""
    annotation = Annotation(Path("a.json"), shapes, height, width)
    problems = check_annotation(annotation, CLASSES, (10, 20))
    return [(one.severity, one.rule, one.shape) for one in problems]


def test_a_correct_annotation_has_no_problem() -> None:
    assert found(CHIP, Shape("__ignore__", ((5, 5), (9, 9)), "rectangle")) == []
    assert found(CHIP, height=None, width=None) == []


def test_another_size_is_an_error_with_a_hint_at_exif() -> None:
    assert found(CHIP, height=20, width=10) == [("error", "size", None)]
    turned, other = (
        check_size(Path("a.json"), "it is", said, (10, 20), "draw it again")[0]
        for said in ((20, 10), (10, 10))
    )
    assert "EXIF" in turned.cure and "EXIF" not in other.cure


def test_an_unknown_label_gets_the_nearest_known_one() -> None:
    shapes = [CHIP, Shape("defekt", ((5, 5), (9, 9)), "rectangle")]
    assert found(*shapes) == [("error", "label", 1)]
    near, far = (check_label(Path("a.json"), name, 1, CLASSES)[0] for name in ("defekt", "xyz"))
    assert "'defect'" in near.cure and "'" not in far.cure


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        (Shape("chip", ((0, 0), (2, 2), (4, 4))), ("error", "no-area")),
        (Shape("chip", ((1, 1), (1, 1), (1, 1))), ("error", "no-area")),
        (Shape("chip", ((1, 1), (1, 5)), "rectangle"), ("error", "no-area")),
        (Shape("chip", ((1, 1), (1, 1)), "circle"), ("error", "no-area")),
        (Shape("chip", ((0, 0), (1, 1)), "mask", np.zeros((2, 2), bool)), ("error", "no-area")),
        (Shape("chip", ((0, 0), (4, 4), (4, 0), (0, 4))), ("warning", "self-intersection")),
        (Shape("chip", ((20, 0), (24, 0), (24, 4))), ("warning", "outside")),
        (Shape("chip", ((0, -6), (4, -1)), "rectangle"), ("warning", "outside")),
        (Shape("chip", ((30, 5), (33, 5)), "circle"), ("warning", "outside")),
        (Shape("chip", ((26, 5),), "point"), ("warning", "outside")),
        (Shape("chip", ((0, 20), (9, 20)), "line"), ("warning", "outside")),
        (Shape("chip", ((30, 5), (19, 5)), "circle"), None),
        (Shape("chip", ((24, 5),), "point"), None),
    ],
)
def test_the_place_of_a_shape_is_checked(shape: Shape, problem: tuple[str, str] | None) -> None:
    assert found(shape) == ([(*problem, 0)] if problem else [])


def test_a_shape_drawn_twice_is_a_warning() -> None:
    assert found(CHIP, Shape("defect", CHIP.points), CHIP) == [("warning", "duplicate", 2)]
    one, two = (
        Shape("chip", ((0, 0), (1, 1)), "mask", np.array([[1, 0], [0, last]], bool))
        for last in (0, 1)
    )
    assert found(one, two) == []
    assert found(one, two, one) == [("warning", "duplicate", 2)]


def test_without_an_image_all_is_checked_but_what_needs_its_size() -> None:
    flat = Shape("chpi", ((0, 0), (2, 2), (4, 4)))
    outside = Shape("chip", ((90, 0), (99, 9)), "line")
    annotation = Annotation(Path("a.json"), (flat, outside), height=1, width=1)
    problems = check_annotation(annotation, CLASSES, None)
    assert [problem.rule for problem in problems] == ["label", "no-area"]


def test_invalid_shapes_keep_their_places_and_their_labels_are_checked() -> None:
    invalid = [
        Problem(Path("a.json"), "error", "shape", "a polygon of 2 points", "redraw", place, label)
        for place, label in ((0, "chpi"), (2, None))
    ]
    shapes = (CHIP, Shape("xyz", ((5, 5), (9, 9)), "rectangle"))
    annotation = Annotation(Path("a.json"), shapes, 10, 20, problems=tuple(invalid))
    problems = check_annotation(annotation, CLASSES, (10, 20))
    assert [(problem.shape, problem.rule, problem.label) for problem in problems] == [
        (0, "shape", "chpi"),
        (2, "shape", None),
        (0, "label", "chpi"),
        (3, "label", "xyz"),
    ]


def test_equal_images_and_unused_classes_are_warnings() -> None:
    (same,) = check_images({Path("b.json"): "1", Path("a.json"): "1", Path("c.json"): "2"})
    assert (same.file, same.severity, same.rule) == (Path("b.json"), "warning", "same-photo")
    assert "a.json" in same.value
    (unused,) = check_labels({"chip"}, CLASSES, Path("obj.names"))
    assert (unused.severity, unused.rule) == ("warning", "class-unused")
    assert "'defect'" in unused.value
