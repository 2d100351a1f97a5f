"""Split images into train, val and test: stratified by classes, no group in two splits."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from voc_builder.base.errors import UserError

SPLITS = ("train", "val", "test")
DEFAULT = "80/10/10"  # percentages of the three
READY_MADE = "ready-made"  # the name in dataset.json of a split that came with the images
Kind = frozenset[str]  # the classes in an image's mask, without the background
Fractions = tuple[float, ...]
Unit = list[str]  # ids that stay together


def parse_split(text: str) -> Fractions:
    """The fractions of train, val and test from text like `80/10/10`; their sum is 1."""
    wrong = f"--split takes three percentages that add up to 100, as 80/10/10. Received: {text}"
    try:
        fractions = [float(part) / 100 for part in text.split("/")]
    except ValueError:
        raise UserError(wrong) from None
    fits = len(fractions) == len(SPLITS) and math.isclose(sum(fractions), 1, abs_tol=1e-6)
    if not fits or not all(fraction >= 0 for fraction in fractions):
        raise UserError(wrong)
    if fractions[0] == 0:
        raise UserError(f"--split leaves train empty: give it some percent. Received: {text}")
    return tuple(fractions)


def draw_split(
    kinds: Mapping[str, Kind],
    groups: Mapping[str, str],
    fractions: Fractions,
    seed: int,
    *,
    kept: Mapping[str, str] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Sorted ids of train, val and test. `kinds` and `groups` are by id; an id without a group
    stands alone. Ids with a split in `kept` stay there, and their groups with them.

    Groups of the same composition are distributed together, those with the most images first: each
    split gets its fraction of them rounded down to whole groups, and the rest go where kinds and
    totals come nearest to the fractions. For images without a group, every kind is within one image
    of exact. Which image goes where depends on `seed` and the ids alone.
    """
    placed = _with_groups(kept or {}, kinds, groups)
    units = find_units({image: kinds[image] for image in kinds if image not in placed}, groups)
    wanted = sum(fraction > 0 for fraction in fractions)
    if not placed and len(units) < wanted:
        raise UserError(
            f"{len(units)} images or groups of images cannot fill {wanted} splits: "
            f"add images, or put all of them into train with --split 100/0/0"
        )
    columns = [[image for image in placed if placed[image] == name] for name in SPLITS]
    drawn = distribute(units, kinds, fractions, seed, columns)
    return {
        name: tuple(sorted([*stay, *(image for unit in new for image in unit)]))
        for name, stay, new in zip(SPLITS, columns, drawn, strict=True)
    }


def _with_groups(
    kept: Mapping[str, str], kinds: Mapping[str, Kind], groups: Mapping[str, str]
) -> dict[str, str]:
    """The split of every id that is kept, and of the other ids of its group: the split with most of
    the group's kept ids.
    """
    placed = {image: kept[image] for image in kinds if image in kept}
    of_group: dict[str, Counter[str]] = defaultdict(Counter)
    for image, split in placed.items():
        if image in groups:
            of_group[groups[image]][split] += 1
    joined = {
        image: of_group[groups[image]].most_common(1)[0][0]
        for image in kinds
        if image not in placed and groups.get(image) in of_group
    }
    return placed | joined


def complete_split(
    ready: Mapping[str, str], kinds: Mapping[str, Kind], groups: Mapping[str, str], seed: int
) -> dict[str, tuple[str, ...]]:
    """Sorted ids of train, val and test where `ready` has the split of every id. With a test but no
    val, part of train becomes val, drawn as in `draw_split`: as many images as in the default split
    of all images.
    """
    splits = {name: tuple(sorted(i for i in kinds if ready[i] == name)) for name in SPLITS}
    if splits["val"] or not splits["test"] or not splits["train"]:
        return splits
    fraction = min(0.5, parse_split(DEFAULT)[1] * len(kinds) / len(splits["train"]))
    train = {image: kinds[image] for image in splits["train"]}
    drawn = draw_split(train, groups, (1 - fraction, fraction, 0.0), seed)
    return {**drawn, "test": splits["test"]}


def find_units(kinds: Mapping[str, Kind], groups: Mapping[str, str]) -> list[Unit]:
    """The sorted ids that stay together: of each group, and of each image without a group."""
    units: dict[str, Unit] = defaultdict(list)
    for image in sorted(kinds):
        units[groups.get(image, f"\0{image}")].append(image)
    return list(units.values())


def join_groups(*keys: Mapping[str, str]) -> dict[str, str]:
    """The group of every image that shares a key with another in any of the mappings from id to
    key, also through other images. A group is named after the first of its ids.
    """
    first: dict[str, str] = {}

    def root(image: str) -> str:
        while first.setdefault(image, image) != image:
            image = first[image]
        return image

    for mapping in keys:
        holders: dict[str, str] = {}
        for image, key in sorted(mapping.items()):
            one, other = root(holders.setdefault(key, image)), root(image)
            first[max(one, other)] = min(one, other)
    members = Counter(root(image) for image in list(first))
    return {image: root(image) for image in sorted(first) if members[root(image)] > 1}


def match_keys(ids: Sequence[str], pattern: str | None) -> dict[str, str]:
    """The match of a regular expression by id, for ids that match: the first group that took part,
    else the whole match.
    """
    if pattern is None:
        return {}
    matches = ((image, re.search(pattern, image)) for image in ids)
    return {
        image: next((part for part in match.groups() if part is not None), match[0])
        for image, match in matches
        if match
    }


def splits_of_groups(
    groups: Mapping[str, str], splits: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, list[str]]]:
    """The images of every group by split; a group with one key is in one split."""
    found: dict[str, dict[str, list[str]]] = {}
    for split, ids in splits.items():
        for image in ids:
            if image in groups:
                found.setdefault(groups[image], {}).setdefault(split, []).append(image)
    return found


def lacking_splits(
    splits: Mapping[str, Sequence[str]], kinds: Mapping[str, Kind]
) -> dict[str, list[str]]:
    """The non-empty splits without any image of a class, for each class with such a split."""
    lacks = {
        name: [
            split
            for split, ids in splits.items()
            if ids and not any(name in kinds[image] for image in ids)
        ]
        for name in sorted(set().union(*kinds.values()))
    }
    return {name: splits for name, splits in lacks.items() if splits}


def distribute(
    units: Sequence[Unit],
    kinds: Mapping[str, Kind],
    fractions: Fractions,
    seed: int,
    kept: Sequence[Sequence[str]] = (),
) -> list[list[Unit]]:
    """The units of each column (a split or fold), unordered, as `draw_split` describes. `kept` are
    the ids that each column has already; without any, no column with a fraction stays empty if
    there are enough units.
    """
    alike: dict[tuple[tuple[str, ...], ...], list[Unit]] = defaultdict(list)
    for unit in units:
        alike[tuple(sorted(tuple(sorted(kinds[image])) for image in unit))].append(unit)
    exact = Counter(kinds.values())
    seen: Counter[Kind | None] = Counter()  # None counts images of all kinds
    assigned: list[Counter[Kind | None]] = [Counter() for _ in fractions]
    columns: list[list[Unit]] = [[] for _ in fractions]
    for column, stay in enumerate(kept):
        assigned[column].update([kind for image in stay for kind in (kinds[image], None)])
        seen.update(assigned[column])
    for composition in sorted(alike, key=lambda composition: (-len(composition), composition)):
        unit_of = Counter(frozenset(kind) for kind in composition)
        members = sorted(alike[composition], key=lambda unit: _random_order(unit[0], seed))
        seen.update({kind: n * len(members) for kind, n in unit_of.items()})
        seen[None] += len(composition) * len(members)
        targets = _targets(unit_of, exact, assigned, fractions, len(members))
        counts = _rounded(targets, unit_of, seen, assigned, fractions)
        for column, count in enumerate(counts):
            taken, members = members[:count], members[count:]
            columns[column] += taken
            assigned[column].update({kind: n * count for kind, n in unit_of.items()})
            assigned[column][None] += len(composition) * count
    if not any(kept):
        _fill_empty(columns, fractions)
    return columns


def _targets(
    unit_of: Counter[Kind],
    exact: Counter[Kind],
    assigned: Sequence[Counter[Kind | None]],
    fractions: Fractions,
    count: int,
) -> list[float]:
    """How many of `count` units each column should get, by the images of their kinds it lacks."""
    lack = [
        max(0.0, sum(n * (fraction * exact[kind] - column[kind]) for kind, n in unit_of.items()))
        for fraction, column in zip(fractions, assigned, strict=True)
    ]
    parts, total = (lack, sum(lack)) if sum(lack) else (fractions, 1)
    return [count * part / total for part in parts]


def _rounded(
    targets: Sequence[float],
    unit_of: Counter[Kind],
    seen: Counter[Kind | None],
    assigned: Sequence[Counter[Kind | None]],
    fractions: Fractions,
) -> list[int]:
    """`targets` in whole units, each rounded down or up, with the least squared distance of all
    that is assigned so far from the fractions of all seen so far, over these kinds and the total.
    """
    down = [math.floor(value + 1e-9) for value in targets]
    spare = round(sum(targets)) - sum(down)
    open_to = [column for column, value in enumerate(targets) if value - down[column] > 1e-9]
    weights = [*unit_of.items(), (None, unit_of.total())]

    def distance(ups: Sequence[int], columns: Sequence[int]) -> float:
        return sum(
            (assigned[c][kind] + n * (down[c] + (c in ups)) - fractions[c] * seen[kind]) ** 2
            for c in columns
            for kind, n in weights
        )

    if len(fractions) <= len(SPLITS):
        choices = itertools.combinations(open_to, spare)
        best = min(choices, key=lambda ups: distance(ups, range(len(fractions))))
    else:  # the same but for ties: all choices of ten of twenty folds would take too long
        rise = {c: round(distance([c], [c]) - distance([], [c]), 6) for c in open_to}
        best = tuple(sorted(open_to, key=rise.__getitem__)[:spare])
    return [count + (column in best) for column, count in enumerate(down)]


def _fill_empty(columns: list[list[Unit]], fractions: Fractions) -> None:
    """Move the smallest unit of the largest column into each empty column with a fraction."""
    for column, fraction in enumerate(fractions):
        if fraction > 0 and not columns[column]:
            several = [units for units in columns if len(units) > 1]
            giver = max(several, key=lambda units: sum(map(len, units)))
            columns[column].append(giver.pop(giver.index(min(giver, key=len))))


def _random_order(image: str, seed: int) -> bytes:
    """A sort key by image and seed alone, so that new images do not change the order of others."""
    return hashlib.sha256(f"{seed} {image}".encode()).digest()
