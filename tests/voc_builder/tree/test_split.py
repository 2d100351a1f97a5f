"""Splits get their fraction of every kind, divide no group, and depend on the seed alone."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_builder.base.errors import UserError
from voc_builder.tree.split import (
    SPLITS,
    Kind,
    draw_split,
    join_groups,
    lacking_splits,
    parse_split,
)

CLEAN, BAD = frozenset({"chip"}), frozenset({"chip", "defect"})


def images(**kinds: tuple[Kind, int]) -> dict[str, Kind]:
    return {f"{name}{number}": kind for name, (kind, n) in kinds.items() for number in range(n)}


def counted(splits: dict[str, tuple[str, ...]], kinds: dict[str, Kind]) -> dict[str, Counter[Kind]]:
    return {name: Counter(kinds[image] for image in ids) for name, ids in splits.items()}


some_kinds = st.lists(
    st.tuples(st.frozensets(st.sampled_from("abcde"), max_size=3), st.integers(1, 30)),
    min_size=1,
    max_size=12,
    unique_by=lambda pair: pair[0],
)
some_fractions = st.sampled_from([(0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (0.6, 0.2, 0.2), (0.9, 0.1, 0)])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(some_kinds, some_fractions, st.integers(0, 3))
def test_images_that_stand_alone_come_within_one_of_every_fraction(
    listed: list[tuple[Kind, int]], fractions: tuple[float, ...], seed: int
) -> None:
    kinds = {
        f"{place}_{n}": kind for place, (kind, count) in enumerate(listed) for n in range(count)
    }
    if len(kinds) < sum(fraction > 0 for fraction in fractions):
        return
    splits = draw_split(kinds, {}, fractions, seed)
    assert sorted(image for ids in splits.values() for image in ids) == sorted(kinds)
    counts = counted(splits, kinds)
    filled = sum(len(ids) == 1 for ids in splits.values())  # train may have given them their image
    for split, fraction in zip(SPLITS, fractions, strict=True):
        assert bool(splits[split]) is (fraction > 0)
        for kind, total in listed:
            assert abs(counts[split][kind] - fraction * total) <= 1 + filled
        assert abs(len(splits[split]) - fraction * len(kinds)) <= 3


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 15), st.frozensets(st.sampled_from("abc"))), min_size=60),
    st.integers(0, 3),
)
def test_a_group_is_never_divided(listed: list[tuple[int, Kind]], seed: int) -> None:
    kinds = {str(number): kind for number, (_, kind) in enumerate(listed)}
    groups = {str(number): f"g{group}" for number, (group, _) in enumerate(listed) if group}
    if len(set(groups.values())) + len(kinds) - len(groups) < 3:
        return
    splits = draw_split(kinds, groups, (0.8, 0.1, 0.1), seed)
    homes = {
        (groups[image], name) for name, ids in splits.items() for image in ids if image in groups
    }
    assert len(homes) == len(set(groups.values()))
    assert all(splits.values())
    largest = max(Counter(groups.values()).values(), default=1)
    for name, fraction in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert abs(len(splits[name]) - fraction * len(kinds)) <= largest + 1


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(some_kinds, some_fractions, st.integers(0, 3), st.data())
def test_a_set_that_grows_keeps_its_split_and_gives_no_kind_more_than_its_share(
    listed: list[tuple[Kind, int]], fractions: tuple[float, ...], seed: int, data: st.DataObject
) -> None:
    kinds = {
        f"{place}_{n}": kind for place, (kind, count) in enumerate(listed) for n in range(count)
    }
    first = data.draw(st.sets(st.sampled_from(sorted(kinds)), min_size=1))
    if len(first) < 3:
        return
    before = draw_split({image: kinds[image] for image in sorted(first)}, {}, fractions, seed)
    kept = {image: split for split, ids in before.items() for image in ids}
    splits = draw_split(kinds, {}, fractions, seed, kept=kept)
    assert all(image in splits[split] for image, split in kept.items())
    assert sorted(image for ids in splits.values() for image in ids) == sorted(kinds)
    counts, had = counted(splits, kinds), counted(before, kinds)
    for kind, total in Counter(kinds.values()).items():
        for split, fraction in zip(SPLITS, fractions, strict=True):
            more = counts[split][kind] > had[split][kind]
            assert not more or counts[split][kind] - fraction * total < 1 + 1e-9


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.frozensets(st.sampled_from("ab"))), min_size=12),
    st.integers(0, 3),
)
def test_new_images_of_a_group_go_where_the_others_are(
    listed: list[tuple[int, Kind]], seed: int
) -> None:
    kinds = {f"p{number}": kind for number, (_, kind) in enumerate(listed)}
    groups = {f"p{number}": f"g{group}" for number, (group, _) in enumerate(listed)}
    half = sorted(kinds)[::2]
    if len({groups[image] for image in half}) < 3:
        return
    before = draw_split({image: kinds[image] for image in half}, groups, (0.6, 0.2, 0.2), seed)
    kept = {image: split for split, ids in before.items() for image in ids}
    splits = draw_split(kinds, groups, (0.6, 0.2, 0.2), seed, kept=kept)
    place = {image: split for split, ids in splits.items() for image in ids}
    assert kept.items() <= place.items()
    assert place.keys() == kinds.keys()
    assert len({(groups[image], split) for image, split in place.items()}) == len(
        set(groups.values())
    )


def test_one_image_more_may_come_by_itself() -> None:
    kept = dict(zip("abcdefghij", ["train"] * 8 + ["val", "test"], strict=True))
    kinds = dict.fromkeys("abcdefghijk", CLEAN)
    splits = draw_split(kinds, {}, (0.8, 0.1, 0.1), 42, kept=kept)
    assert [len(ids) for ids in splits.values()] == [9, 1, 1]


def test_groups_are_split_like_images_and_images_alone_balance_a_large_group() -> None:
    kinds = {f"{place}_{date}": CLEAN for place in range(100) for date in (1, 2, 3)}
    groups = {image: image.split("_")[0] for image in kinds}
    splits = draw_split(kinds, groups, (0.8, 0.1, 0.1), 42)
    assert [len(ids) for ids in splits.values()] == [240, 30, 30]
    kinds = images(g=(CLEAN, 20), s=(CLEAN, 80))
    groups = {image: "g" for image in kinds if image.startswith("g")}
    splits = draw_split(kinds, groups, (0.8, 0.1, 0.1), 1)
    assert [len(ids) for ids in splits.values()] == [80, 10, 10]


def test_the_same_seed_is_the_same_split_and_another_is_not() -> None:
    kinds = images(c=(CLEAN, 50))
    fractions = (0.8, 0.1, 0.1)
    backwards = dict(reversed(kinds.items()))
    assert draw_split(kinds, {}, fractions, 1) == draw_split(backwards, {}, fractions, 1)
    assert draw_split(kinds, {}, fractions, 1) != draw_split(kinds, {}, fractions, 2)


def test_every_split_gets_an_image_if_there_are_three() -> None:
    kinds = images(c=(CLEAN, 2), d=(BAD, 1))
    assert all(len(ids) == 1 for ids in draw_split(kinds, {}, (0.8, 0.1, 0.1), 42).values())
    with pytest.raises(UserError, match="2 images"):
        draw_split(images(c=(CLEAN, 2)), {}, (0.8, 0.1, 0.1), 42)


def test_a_class_that_a_split_lacks_is_named() -> None:
    kinds = images(c=(CLEAN, 30), d=(BAD, 2))
    splits = draw_split(kinds, {}, (0.8, 0.1, 0.1), 42)
    (lacking,) = lacking_splits(splits, kinds).items()
    assert lacking[0] == "defect"
    assert lacking_splits({**splits, "test": ()}, kinds).get("chip") is None


def test_groups_that_share_an_image_are_one() -> None:
    by_name = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
    by_bytes = {"a2": "x", "b1": "x", "c1": "y", "d1": "z"}
    assert join_groups(by_name, by_bytes) == {"a1": "a1", "a2": "a1", "b1": "a1"}


@pytest.mark.parametrize("text", ["80/10/10", "80.0/10/10", " 90/10/0 ", "100/0/0", "70/0/30"])
def test_sensible_percentages_are_taken(text: str) -> None:
    assert math.isclose(sum(parse_split(text)), 1)


@pytest.mark.parametrize(
    "text", ["80/10", "80/10/20", "a/b/c", "110/-10/0", "0/50/50", "", "80/10/10/0", "nan/50/50"]
)
def test_other_percentages_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r"--split .* Received: ") as caught:
        parse_split(text)
    assert "\n" not in str(caught.value)
