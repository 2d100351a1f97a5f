"""Every rule finds what it is for, says where, and how to mend it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from voc_builder.base.problems import Problem
from voc_builder.sources.checks import (
    check_annotation,
    check_images,
    check_labels,
    check_unlabelled,
)
from voc_builder.sources.labelme import Annotation, Shape

CLASSES = ["__background__", "chip", "defect"]
CHIP = Shape("chip", ((0, 0), (4, 0), (4, 4), (0, 4)))


def found(*shapes: Shape, height: int | None = 10, width: int | None = 20) -> list[str]:
    annotation = Annotation(Path("a.json"), shapes, height, width)
    return [str(problem) for problem in check_annotation(annotation, CLASSES, (10, 20))]


def test_a_sound_annotation_has_no_problem() -> None:
    assert found(CHIP, Shape("__ignore__", ((5, 5), (9, 9)), "rectangle")) == []
    assert found(CHIP, height=None, width=None) == []


def test_a_size_unlike_the_image_is_an_error() -> None:
    (problem,) = found(CHIP, height=20, width=10)
    assert problem.startswith("error: imageHeight and imageWidth are (20, 10), the image is (10, 2")
    assert problem.endswith("(turned by its EXIF after it was annotated?) [size]")


def test_an_unknown_label_is_told_the_nearest_known_one() -> None:
    shapes = [CHIP, Shape("defekt", ((5, 5), (9, 9)), "rectangle")]
    assert found(*shapes) == [
        "error: shape 1 ('defekt'): unknown label: rename it 'defect', or add it to the class "
        "names [label]"
    ]
    assert "rename it, or add it" in found(Shape("xyz", CHIP.points))[0]


@pytest.mark.parametrize(
    "shape",
    [
        Shape("chip", ((0, 0), (2, 2), (4, 4))),
        Shape("chip", ((1, 1), (1, 1), (1, 1))),
        Shape("chip", ((1, 1), (1, 5)), "rectangle"),
        Shape("chip", ((1, 1), (1, 1)), "circle"),
        Shape("chip", ((0, 0), (1, 1)), "mask", np.zeros((2, 2), bool)),
    ],
)
def test_a_shape_without_area_is_an_error(shape: Shape) -> None:
    (problem,) = found(shape)
    assert problem == (
        f"error: shape 0 ('chip'): a {shape.shape_type} without area: "
        "draw it again or delete it [no-area]"
    )


def test_a_polygon_that_crosses_itself_is_a_warning() -> None:
    bow_tie = Shape("chip", ((0, 0), (4, 4), (4, 0), (0, 4)))
    assert found(bow_tie) == [
        "warning: shape 0 ('chip'): the edges from points 0 and 2 meet: move a point "
        "[self-intersection]"
    ]


@pytest.mark.parametrize(
    "shape",
    [
        Shape("chip", ((20, 0), (24, 0), (24, 4))),
        Shape("chip", ((0, -6), (4, -1)), "rectangle"),
        Shape("chip", ((30, 5), (33, 5)), "circle"),
        Shape("chip", ((26, 5),), "point"),
        Shape("chip", ((0, 20), (9, 20)), "line"),
    ],
)
def test_a_shape_wholly_outside_is_a_warning(shape: Shape) -> None:
    assert found(shape) == [
        "warning: shape 0 ('chip'): wholly outside the image: delete it [outside]"
    ]


def test_shapes_that_reach_in_are_not_outside() -> None:
    assert (
        found(Shape("chip", ((30, 5), (19, 5)), "circle"), Shape("chip", ((24, 5),), "point")) == []
    )


def test_a_shape_drawn_twice_is_a_warning() -> None:
    other = Shape("defect", CHIP.points)
    assert found(CHIP, other, CHIP) == [
        "warning: shape 2 ('chip'): the same as shape 0: delete one [duplicate]"
    ]


def test_masks_of_other_pixels_are_no_duplicates() -> None:
    one, two = (
        Shape("chip", ((0, 0), (1, 1)), "mask", np.array([[1, 0], [0, last]], bool))
        for last in (0, 1)
    )
    assert found(one, two) == []
    assert found(one, two, one) == [
        "warning: shape 2 ('chip'): the same as shape 0: delete one [duplicate]"
    ]


def test_without_an_image_all_is_checked_but_what_needs_its_size() -> None:
    flat, outside = (
        Shape("chpi", ((0, 0), (2, 2), (4, 4))),
        Shape("chip", ((90, 0), (99, 9)), "line"),
    )
    annotation = Annotation(Path("a.json"), (flat, outside), height=1, width=1)
    problems = check_annotation(annotation, CLASSES, None)
    assert [problem.rule for problem in problems] == ["label", "no-area"]


def test_shapes_that_cannot_be_drawn_keep_their_places_and_their_labels_are_checked() -> None:
    undrawn = [
        Problem(Path("a.json"), "error", "shape", "a polygon of 2 points", "redraw", place, label)
        for place, label in ((0, "chpi"), (2, None))
    ]
    shapes = (CHIP, Shape("xyz", ((5, 5), (9, 9)), "rectangle"))
    annotation = Annotation(Path("a.json"), shapes, 10, 20, problems=tuple(undrawn))
    problems = check_annotation(annotation, CLASSES, (10, 20))
    assert [(problem.shape, problem.rule, problem.label) for problem in problems] == [
        (0, "shape", "chpi"),
        (2, "shape", None),
        (0, "label", "chpi"),
        (3, "label", "xyz"),
    ]


def test_equal_images_and_unused_classes_are_warnings() -> None:
    images = {Path("b.json"): "1", Path("a.json"): "1", Path("c.json"): "2"}
    (same,) = check_images(images)
    (unused,) = check_labels({"chip"}, CLASSES, Path("obj.names"))
    assert (same.file, same.value) == (Path("b.json"), "the image is that of a.json")
    assert (unused.file, unused.value) == (Path("obj.names"), "no shape has the label 'defect'")
    assert {same.severity, unused.severity} == {"warning"}


def test_images_without_json_are_warnings() -> None:
    (problem,) = check_unlabelled([Path("a.jpg")])
    assert str(problem).startswith("warning: an image without JSON: annotate it, or take")
