"""Deal images to train, val and test: every kind of image in its share, no group in two splits."""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from voc_builder.base.errors import UserError

SPLITS = ("train", "val", "test")
USUAL = "80/10/10"  # percentages of the three, where nothing else is said
READY_MADE = "ready-made"  # what dataset.json calls a split that images came with
Kind = frozenset[str]  # the classes in an image's mask, the background left out
Shares = tuple[float, ...]


def parse_split(text: str) -> Shares:
    """The shares of train, val and test from text like `80/10/10`; they add up to 1."""
    wrong = f"--split takes three percentages that add up to 100, as 80/10/10. Received: {text}"
    try:
        shares = [float(part) / 100 for part in text.split("/")]
    except ValueError:
        raise UserError(wrong) from None
    fits = len(shares) == len(SPLITS) and math.isclose(sum(shares), 1, abs_tol=1e-6)
    if not fits or not all(share >= 0 for share in shares):
        raise UserError(wrong)
    if shares[0] == 0:
        raise UserError(f"--split leaves train empty: give it a share. Received: {text}")
    return tuple(shares)


def draw_split(
    kinds: Mapping[str, Kind],
    groups: Mapping[str, str],
    shares: Shares,
    seed: int,
    *,
    kept: Mapping[str, str] | None = None,
) -> dict[str, tuple[str, ...]]:
    """Sorted ids of train, val and test; `kinds` and `groups` are by id, an id without a group
    stands alone. Ids that have a split in `kept` stay there, and their groups with them.

    Groups of the same make-up are dealt together, the largest first: each split gets its share of
    them cut to whole groups, and the rest go where they bring kinds and totals nearest to their
    shares. For images that stand alone every kind is so within one image of exact. Who goes where
    is drawn by `seed` from the ids alone.
    """
    placed = _with_groups(kept or {}, kinds, groups)
    units = find_units({image: kinds[image] for image in kinds if image not in placed}, groups)
    wanted = sum(share > 0 for share in shares)
    if not placed and len(units) < wanted:
        raise UserError(
            f"{len(units)} images or groups of images cannot fill {wanted} splits: "
            f"add images, or give the whole to train with --split 100/0/0"
        )
    columns = [[image for image in placed if placed[image] == name] for name in SPLITS]
    dealt = deal(units, kinds, shares, seed, columns)
    return {
        name: tuple(sorted([*stay, *(image for unit in new for image in unit)]))
        for name, stay, new in zip(SPLITS, columns, dealt, strict=True)
    }


def _with_groups(
    kept: Mapping[str, str], kinds: Mapping[str, Kind], groups: Mapping[str, str]
) -> dict[str, str]:
    """The split of every id that is kept, or that belongs to a group of which an id is: where most
    of those are.
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
    """Sorted ids of train, val and test where `ready` has the split of every id. Where there is a
    test but no val, a part of train becomes val, drawn by `seed` as `draw_split` does: as many as
    the usual split of all images would have.
    """
    splits = {name: tuple(sorted(i for i in kinds if ready[i] == name)) for name in SPLITS}
    if splits["val"] or not splits["test"] or not splits["train"]:
        return splits
    share = min(0.5, parse_split(USUAL)[1] * len(kinds) / len(splits["train"]))
    train = {image: kinds[image] for image in splits["train"]}
    return {**draw_split(train, groups, (1 - share, share, 0.0), seed), "test": splits["test"]}


def find_units(kinds: Mapping[str, Kind], groups: Mapping[str, str]) -> list[list[str]]:
    """The sorted ids that must stay together: of each group, and of each image that has none."""
    units: dict[str, list[str]] = defaultdict(list)
    for image in sorted(kinds):
        units[groups.get(image, f"\0{image}")].append(image)
    return list(units.values())


def join_groups(*keys: Mapping[str, str]) -> dict[str, str]:
    """The group of every image that shares a key with another, in any of the mappings from id to
    key: the first id of all that are so connected.
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
    """What a regular expression finds in the ids that it matches: its first bracket that took part,
    else all of the match.
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
    """The images of every group by the splits that they are in: one each, as anyone can see."""
    found: dict[str, dict[str, list[str]]] = {}
    for split, ids in splits.items():
        for image in ids:
            if image in groups:
                found.setdefault(groups[image], {}).setdefault(split, []).append(image)
    return found


def too_few(splits: Mapping[str, Sequence[str]], kinds: Mapping[str, Kind]) -> dict[str, list[str]]:
    """For every class that some split lacks, the splits that lack it; empty splits count not."""
    classes = sorted(set().union(*kinds.values()))
    lacks = {
        name: [
            split
            for split, ids in splits.items()
            if ids and not any(name in kinds[image] for image in ids)
        ]
        for name in classes
    }
    return {name: splits for name, splits in lacks.items() if splits}


def deal(
    units: Sequence[list[str]],
    kinds: Mapping[str, Kind],
    shares: Shares,
    seed: int,
    kept: Sequence[Sequence[str]] = (),
) -> list[list[list[str]]]:
    """The units of each share, in no order, as `draw_split` says; `kept` are the ids that each has
    beforehand. Where none has any, none is empty that has a share, if there are units enough.
    """
    alike: dict[tuple[tuple[str, ...], ...], list[list[str]]] = defaultdict(list)
    for unit in units:
        alike[tuple(sorted(tuple(sorted(kinds[image])) for image in unit))].append(unit)
    exact = Counter(kinds.values())
    seen: Counter[Kind | None] = Counter()  # None counts images of every kind
    given: list[Counter[Kind | None]] = [Counter() for _ in shares]
    dealt: list[list[list[str]]] = [[] for _ in shares]
    for column, stay in enumerate(kept):
        given[column].update([kind for image in stay for kind in (kinds[image], None)])
        seen.update(given[column])
    for make_up in sorted(alike, key=lambda make_up: (-len(make_up), make_up)):
        unit_of = Counter(frozenset(kind) for kind in make_up)
        members = sorted(alike[make_up], key=lambda unit: _chance(unit[0], seed))
        seen.update({kind: n * len(members) for kind, n in unit_of.items()})
        seen[None] += len(make_up) * len(members)
        wanted = _wanted(unit_of, exact, given, shares, len(members))
        counts = _rounded(wanted, unit_of, seen, given, shares)
        for column, count in enumerate(counts):
            mine, members = members[:count], members[count:]
            dealt[column] += mine
            given[column].update({kind: n * count for kind, n in unit_of.items()})
            given[column][None] += len(make_up) * count
    if not any(kept):
        _fill_empty(dealt, shares)
    return dealt


def _wanted(
    unit_of: Counter[Kind],
    exact: Counter[Kind],
    given: Sequence[Counter[Kind | None]],
    shares: Shares,
    count: int,
) -> list[float]:
    """How many of `count` units each split should get for what it still lacks of their kinds."""
    lack = [
        max(0.0, sum(n * (share * exact[kind] - column[kind]) for kind, n in unit_of.items()))
        for share, column in zip(shares, given, strict=True)
    ]
    return [
        count * part / sum(lack) if sum(lack) else count * s
        for part, s in zip(lack, shares, strict=True)
    ]


def _rounded(
    wanted: Sequence[float],
    unit_of: Counter[Kind],
    seen: Counter[Kind | None],
    given: Sequence[Counter[Kind | None]],
    shares: Shares,
) -> list[int]:
    """`wanted` in whole units, each rounded down or up, so that what was dealt so far is nearest to
    the shares of what was seen so far, over these kinds and over all images.
    """
    down = [math.floor(value + 1e-9) for value in wanted]
    spare = round(sum(wanted)) - sum(down)
    open_to = [column for column, value in enumerate(wanted) if value - down[column] > 1e-9]
    weights = [*unit_of.items(), (None, unit_of.total())]

    def off(ups: Sequence[int], columns: Sequence[int]) -> float:
        return sum(
            (given[c][kind] + n * (down[c] + (c in ups)) - shares[c] * seen[kind]) ** 2
            for c in columns
            for kind, n in weights
        )

    if len(shares) <= len(SPLITS):
        ways = itertools.combinations(open_to, spare)
        best = min(ways, key=lambda ups: off(ups, range(len(shares))))
    else:  # the same but for ties: to try all ways to choose ten of twenty folds takes too long
        rise = {c: round(off([c], [c]) - off([], [c]), 6) for c in open_to}
        best = tuple(sorted(open_to, key=rise.__getitem__)[:spare])
    return [count + (column in best) for column, count in enumerate(down)]


def _fill_empty(dealt: list[list[list[str]]], shares: Shares) -> None:
    """Give a split that has a share but no image the smallest unit of the largest split."""
    for column, share in enumerate(shares):
        if share > 0 and not dealt[column]:
            giver = max(
                (units for units in dealt if len(units) > 1), key=lambda units: sum(map(len, units))
            )
            dealt[column].append(giver.pop(giver.index(min(giver, key=len))))


def _chance(image: str, seed: int) -> bytes:
    """A place in the draw that depends on the image and the seed alone: more images leave it."""
    return hashlib.sha256(f"{seed} {image}".encode()).digest()
