"""Folds hold every image once, are equal in size, divide no group, and share the classes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_builder.base.errors import UserError
from voc_builder.tree.folds import draw_folds, name_folds
from voc_builder.tree.split import Kind

EMPTY, CLEAN, BAD = Kind(), Kind({"chip"}), Kind({"chip", "defect"})
Listed = list[tuple[int, Kind]]  # group (0: none) and kind of each image


def images(listed: Listed) -> tuple[dict[str, Kind], dict[str, str]]:
    kinds = {f"p{number}": kind for number, (_, kind) in enumerate(listed)}
    groups = {f"p{number}": f"g{group}" for number, (group, _) in enumerate(listed) if group}
    return kinds, groups


def units_of(ids: tuple[str, ...] | dict[str, Kind], groups: dict[str, str]) -> Counter[str]:
    """Images of every group, an image without one being its own."""
    return Counter(groups.get(image, image) for image in ids)


some_kinds = st.frozensets(st.sampled_from("abcd"), max_size=3)
some_images = st.lists(st.tuples(st.integers(0, 12), some_kinds), min_size=4, max_size=120)
# each kind holds the one before it, as a defect lies on a chip
nested_kinds = st.sampled_from([Kind("abc"[:count]) for count in range(4)])
nested_images = st.lists(st.tuples(st.integers(0, 12), nested_kinds), min_size=4, max_size=120)


@settings(max_examples=200, deadline=None)
@given(some_images, st.integers(2, 12), st.integers(0, 3))
def test_every_image_is_in_one_fold_and_no_group_is_divided(
    listed: Listed, count: int, seed: int
) -> None:
    kinds, groups = images(listed)
    units = units_of(kinds, groups)
    if count > len(units):
        with pytest.raises(UserError, match=f"--folds {count}: .* take fewer folds"):
            draw_folds(kinds, groups, count, seed)
        return
    folds = draw_folds(kinds, groups, count, seed)
    assert len(folds) == count and all(folds)
    assert sorted(image for ids in folds for image in ids) == sorted(kinds)
    assert sum(len(units_of(ids, groups)) for ids in folds) == len(units)
    for ids in folds:
        assert abs(len(ids) - len(kinds) / count) <= max(units.values()) + 2


@settings(max_examples=200, deadline=None)
@given(nested_images, st.integers(2, 8), st.integers(0, 3))
def test_a_class_that_as_many_groups_show_is_in_every_fold(
    listed: Listed, count: int, seed: int
) -> None:
    kinds, groups = images(listed)
    if count > len(units_of(kinds, groups)):
        return
    folds = draw_folds(kinds, groups, count, seed)
    for name in "abc":
        showing = {image: kind for image, kind in kinds.items() if name in kind}
        if len(units_of(showing, groups)) >= count:
            assert all(showing.keys() & {*ids} for ids in folds)


@settings(max_examples=50, deadline=None)
@given(some_images, st.randoms(use_true_random=False))
def test_the_order_of_the_files_does_not_matter(listed: Listed, random: st.DataObject) -> None:
    kinds, groups = images(listed)
    if len(units_of(kinds, groups)) < 3:
        return
    shuffled = list(kinds)
    random.shuffle(shuffled)
    again = draw_folds({image: kinds[image] for image in shuffled}, groups, 3, 42)
    assert again == draw_folds(kinds, groups, 3, 42)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [2, 5, 10, 28])
def test_images_that_stand_alone_come_within_one_of_every_fraction(count: int, seed: int) -> None:
    kinds, groups = images([(0, EMPTY)] * 28 + [(0, CLEAN)] * 57 + [(0, BAD)] * 28)
    for ids in draw_folds(kinds, groups, count, seed):
        for kind, total in ((EMPTY, 28), (CLEAN, 57), (BAD, 28)):
            assert abs(sum(kinds[image] == kind for image in ids) - total / count) < 1
        assert abs(len(ids) - 113 / count) <= 1


def test_a_class_moves_to_the_fold_that_lacks_it() -> None:
    """By size alone the two groups with a defect would be one fold, the third group the other."""
    listed = [(1, EMPTY), (1, BAD), (2, EMPTY), (2, BAD), (3, EMPTY), (3, EMPTY), (3, EMPTY)]
    kinds, groups = images(listed)
    for seed in range(10):
        folds = draw_folds(kinds, groups, 2, seed)
        assert [any(kinds[image] == BAD for image in ids) for ids in folds] == [True, True]
        assert sorted(map(len, folds)) == [2, 5]


def test_as_many_folds_as_images_leave_one_out_each() -> None:
    kinds, groups = images([(0, CLEAN)] * 150)
    assert sorted(draw_folds(kinds, groups, 150, 42)) == sorted((image,) for image in kinds)


def test_another_seed_draws_other_folds() -> None:
    kinds, groups = images([(0, CLEAN)] * 30)
    assert draw_folds(kinds, groups, 3, 1) != draw_folds(kinds, groups, 3, 2)


def test_the_train_of_a_fold_is_all_the_others() -> None:
    assert name_folds([("b", "d"), ("a",), ("c",)]) == {
        "fold_1_train": ("a", "c"),
        "fold_1_val": ("b", "d"),
        "fold_2_train": ("b", "c", "d"),
        "fold_2_val": ("a",),
        "fold_3_train": ("a", "b", "d"),
        "fold_3_val": ("c",),
    }
