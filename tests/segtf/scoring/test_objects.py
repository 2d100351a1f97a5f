"""Objects that are found or missed, and alarms that are false."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from segtf.scoring.objects import (
    ALARMS,
    FALSE,
    HIT,
    SIZES,
    TRUE,
    Components,
    ImageObjects,
    count_objects,
    find_objects,
    object_classes,
    size_limits,
    without_specks,
)
from voc_builder.base.colours import VOID

Mask = NDArray[np.uint8]
ONE_SIZE = (0, 0)  # limits that make every object but a speck large


def drawn(*boxes: tuple[int, int, int, int], class_id: int = 1, size: int = 40) -> Mask:
    """A mask with boxes of top, left, height and width."""
    mask = np.zeros((size, size), np.uint8)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = class_id
    return mask


def totals(truth: Mask, prediction: Mask, class_id: int = 1) -> list[int]:
    """True objects, found ones, alarms and false ones of an image."""
    found = find_objects(truth, prediction, class_id)
    return without_specks(count_objects([found], ONE_SIZE))[0].tolist()


def test_every_class_but_a_background_has_objects() -> None:
    assert list(object_classes(["__background__", "chip", "scratch"])) == [1, 2]
    assert list(object_classes(["person", "sky"])) == [0, 1]


def test_an_object_is_found_from_a_quarter_of_its_pixels_on() -> None:
    truth = drawn((0, 0, 10, 10), (20, 20, 10, 10))
    assert totals(truth, drawn((0, 0, 5, 5), (20, 20, 10, 10))) == [2, 2, 2, 0]
    assert totals(truth, drawn((0, 0, 6, 4), (20, 20, 10, 10))) == [2, 1, 2, 0]


def test_two_marks_that_share_an_object_find_it_together() -> None:
    truth = drawn((10, 0, 10, 20))  # each mark covers 30 of its 200 pixels
    assert totals(truth, drawn((10, 0, 10, 3))) == [1, 0, 1, 0]
    assert totals(truth, drawn((10, 0, 10, 3), (10, 17, 10, 3))) == [1, 1, 2, 0]


def test_one_mark_over_two_objects_finds_both() -> None:
    truth = drawn((10, 0, 8, 8), (10, 20, 8, 8))
    assert totals(truth, drawn((10, 0, 8, 28))) == [2, 2, 1, 0]


def test_an_alarm_is_false_where_no_object_is_or_hardly_any_of_it() -> None:
    truth = drawn((0, 0, 3, 3))
    assert totals(truth, drawn((30, 30, 5, 5))) == [1, 0, 1, 1]
    assert totals(truth, drawn((0, 0, 9, 10))) == [1, 1, 1, 0], "a tenth of it is the object"
    assert totals(truth, drawn((0, 0, 9, 11))) == [1, 1, 1, 1]


def test_marking_the_whole_image_finds_everything_and_is_one_false_alarm() -> None:
    truth = drawn((5, 5, 5, 5), (20, 20, 5, 5))
    assert totals(truth, np.ones_like(truth)) == [2, 2, 1, 1]


def test_an_object_predicted_as_another_class_is_missed_and_a_false_alarm_of_that_class() -> None:
    truth, prediction = drawn((5, 5, 9, 9)), drawn((5, 5, 9, 9), class_id=2)
    assert totals(truth, prediction) == [1, 0, 0, 0]
    assert totals(truth, prediction, class_id=2) == [0, 0, 1, 1]


def test_objects_touch_at_corners() -> None:
    truth = drawn((0, 0, 5, 5), (5, 5, 5, 5))
    assert totals(truth, np.zeros_like(truth)) == [1, 0, 0, 0]


def test_an_alarm_that_lies_mostly_on_void_is_none_and_of_others_the_rest_counts() -> None:
    truth = drawn((0, 0, 40, 20), class_id=VOID)
    assert totals(truth, drawn((10, 15, 10, 9))) == [0, 0, 0, 0], "4 of 9 columns are known"
    assert totals(truth, drawn((10, 15, 10, 10))) == [0, 0, 1, 1]
    (area,) = find_objects(truth, drawn((10, 15, 10, 10)), 1).alarms.areas
    assert area == 50


def test_void_in_an_alarm_does_not_make_it_false() -> None:
    truth = drawn((0, 0, 10, 10))
    truth[:, 10:30] = VOID
    # of 40 x 10 pixels 100 are true, 200 void, 100 neither: a third would do as well
    (share,) = find_objects(truth, drawn((0, 0, 10, 40)), 1).alarms.shares
    assert share == pytest.approx(100 / 200)


def test_specks_are_counted_by_themselves() -> None:
    truth = drawn((0, 0, 2, 9), (10, 10, 3, 3))
    prediction = drawn((10, 10, 3, 3), (30, 30, 2, 2), (0, 20, 9, 2))
    counts = count_objects([find_objects(truth, prediction, 1)], ONE_SIZE)[0]
    assert counts[SIZES.index("specks")].tolist() == [1, 0, 2, 2]
    assert without_specks(counts[None]).tolist() == [[1, 1, 1, 0]]


def test_the_lines_of_a_class_of_lines_alone_are_its_objects() -> None:
    line = drawn((0, 0, 2, 30))
    images = [find_objects(line, line, 1), find_objects(np.zeros_like(line), line, 1)]
    assert without_specks(count_objects(images, ONE_SIZE)).tolist() == [[1, 1, 1, 0], [0, 0, 1, 1]]
    square = drawn((20, 20, 5, 5))
    images.append(find_objects(square, square, 1))
    counts = without_specks(count_objects(images, ONE_SIZE))
    assert counts.tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]


def test_sizes_are_thirds_of_the_true_objects() -> None:
    truths = [drawn((0, 0, side, side)) for side in (3, 4, 5, 6, 7, 8)]
    blank = np.zeros_like(truths[0])
    images = [find_objects(truth, blank, 1) for truth in truths]
    limits = size_limits(images)
    assert limits == (16, 36)
    counts = count_objects(images, limits)
    assert counts[..., TRUE].sum(axis=0).tolist() == [0, 2, 2, 2]
    assert counts[2, SIZES.index("medium")].tolist() == [1, 0, 0, 0]


def test_without_true_objects_there_are_no_sizes_and_specks_are_no_alarms() -> None:
    blank = drawn()
    images = [find_objects(blank, drawn((0, 0, 9, 9), (20, 20, 2, 2)), 1)]
    assert size_limits(images) == (0, 0)
    assert without_specks(count_objects(images, (0, 0))).tolist() == [[0, 0, 1, 1]]
    assert count_objects([], (0, 0)).shape == (0, len(SIZES), 4)


def test_masks_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes differ"):
        find_objects(drawn(), drawn(size=20), 1)


def slow_components(
    of_class: NDArray[np.bool_], other: NDArray[np.bool_], void: NDArray[np.bool_]
) -> list[tuple[int, float, bool]]:
    """Area, shared part of it and whether a 3 x 3 block fits, of each component that is not mostly
    void, pixel by pixel; sorted.
    """
    left = {(int(y), int(x)) for y, x in np.argwhere(of_class)}
    found = []
    while left:
        component: set[tuple[int, int]] = set()
        waiting = [left.pop()]
        while waiting:
            y, x = waiting.pop()
            component.add((y, x))
            near = {(y + i, x + j) for i, j in product((-1, 0, 1), repeat=2)} & left
            left -= near
            waiting += near
        known = {at for at in component if not void[at]}
        shared = sum(bool(other[at]) for at in known)
        blocks = any(
            {(y + i, x + j) for i, j in product(range(3), repeat=2)} <= component
            for y, x in component
        )
        if 2 * len(known) >= len(component):
            found.append((len(known), shared / len(known), blocks))
    return sorted(found)


def listed(objects: Components) -> list[tuple[int, float, bool]]:
    return sorted(zip(objects.areas, objects.shares, objects.whole, strict=True))


shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
# patches, as single pixels of chance are hardly ever objects
patches = st.lists(st.tuples(*[st.integers(0, 8)] * 2, *[st.integers(1, 6)] * 2), max_size=4)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    shape = draw(shapes)
    masks = []
    for ids in ([0, 1, 2, VOID], [0, 1, 2]):
        mask = draw(arrays(np.uint8, shape, elements=st.sampled_from(ids), fill=st.just(0)))
        for top, left, height, width in draw(patches):
            mask[top : top + height, left : left + width] = draw(st.sampled_from(ids))
        masks.append(mask)
    return masks[0], masks[1]


@settings(deadline=None)
@given(pairs())
def test_objects_are_those_of_a_search_pixel_by_pixel(pair: tuple[Mask, Mask]) -> None:
    truth, prediction = pair
    found = find_objects(truth, prediction, 1)
    void = truth == VOID
    for objects, own, other in (
        (found.truth, truth == 1, prediction == 1),
        (found.alarms, prediction == 1, truth == 1),
    ):
        assert listed(objects) == slow_components(own, other, void)


@settings(deadline=None, max_examples=50)
@given(pairs())
def test_a_perfect_prediction_finds_all_and_has_no_false_alarm(pair: tuple[Mask, Mask]) -> None:
    truth = pair[1]  # without void
    counts = without_specks(count_objects([find_objects(truth, truth, 1)], ONE_SIZE))[0]
    assert counts[TRUE] == counts[HIT] == counts[ALARMS]
    assert counts[FALSE] == 0


@settings(deadline=None, max_examples=50)
@given(pairs())
def test_truth_and_prediction_change_places(pair: tuple[Mask, Mask]) -> None:
    first, second = np.where(pair[0] == VOID, 0, pair[0]).astype(np.uint8), pair[1]
    there, back = find_objects(first, second, 1), find_objects(second, first, 1)
    assert listed(there.truth) == listed(back.alarms)
    assert listed(there.alarms) == listed(back.truth)


@settings(deadline=None, max_examples=25)
@given(st.lists(pairs(), min_size=1, max_size=4))
def test_counts_by_size_add_up_to_all_objects(images: list[tuple[Mask, Mask]]) -> None:
    found: list[ImageObjects] = [find_objects(*pair, 1) for pair in images]
    counts = count_objects(found, size_limits(found))
    assert counts[..., TRUE].sum() == sum(image.truth.areas.size for image in found)
    assert counts[..., ALARMS].sum() == sum(image.alarms.areas.size for image in found)
    assert (counts[..., HIT] <= counts[..., TRUE]).all()
    assert (counts[..., FALSE] <= counts[..., ALARMS]).all()
