"""Distribute images to the folds of a cross-validation: equal in size and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from voc_builder.base.errors import UserError
from voc_builder.tree.split import Kind, Unit, distribute, find_units

# change of missing classes and of unevenness, giving fold and its unit, taking fold and its unit
Exchange = tuple[int, float, int, Unit, int, Unit]


def draw_folds(
    kinds: Mapping[str, Kind], groups: Mapping[str, str], count: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Sorted ids of each of `count` folds, 2 or more, drawn as `draw_split` draws equal splits.
    Then units are exchanged as long as that brings a class to a fold without it, for classes in
    `count` units or more. Raises `UserError` if a fold would be empty.
    """
    units = find_units(kinds, groups)
    if count > len(units):
        raise UserError(
            f"--folds {count}: train and val have {len(units)} images or groups of images, and "
            f"each fold needs one: take fewer folds, or add images"
        )
    folds = distribute(units, kinds, (1 / count,) * count, seed)
    while exchange := _best_exchange(folds, kinds):
        _, _, giver, given, taker, taken = exchange
        for units, lost, won in ((folds[giver], given, taken), (folds[taker], taken, given)):
            units[:] = [unit for unit in (*units, won) if unit and unit != lost]
    return tuple(tuple(sorted(image for unit in fold for image in unit)) for fold in folds)


def name_folds(folds: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The sorted ids of `fold_1_train`, `fold_1_val`, `fold_2_train` and so on."""
    lists = {}
    for number, val in enumerate(folds, start=1):
        others = (image for fold in folds if fold is not val for image in fold)
        lists[f"fold_{number}_train"] = tuple(sorted(others))
        lists[f"fold_{number}_val"] = tuple(val)
    return lists


def _best_exchange(folds: Sequence[Sequence[Unit]], kinds: Mapping[str, Kind]) -> Exchange | None:
    """The exchange of two units (or of one for none) that brings a class to a fold without it, with
    the fewest missing classes and the most even folds after it; None if no exchange helps.
    """
    held = [Counter(name for unit in fold for name in _classes(unit, kinds)) for fold in folds]
    total = sum(held, Counter[str]())
    enough = {name for name, units in total.items() if units >= len(folds)}
    for name in sorted(enough):
        for taker in range(len(folds)):
            if not held[taker][name]:
                best = min(_exchanges(folds, held, taker, name, enough, kinds), default=None)
                if best and best[0] < 0:
                    return best
    return None


def _exchanges(
    folds: Sequence[Sequence[Unit]],
    held: Sequence[Counter[str]],
    taker: int,
    name: str,
    enough: set[str],
    kinds: Mapping[str, Kind],
) -> Iterator[Exchange]:
    """The exchanges that give the fold `taker` a unit with the class, from folds with several."""
    loads = [_load((image for unit in fold for image in unit), kinds) for fold in folds]
    offered = [(unit, _classes(unit, kinds)) for unit in (*_unlike(folds[taker], kinds), [])]
    for giver in range(len(folds)):
        if held[giver][name] < 2:
            continue
        for given in _unlike(folds[giver], kinds):
            won = _classes(given, kinds)
            if name not in won:
                continue
            for taken, lost in offered:
                missing = _more_missing(held[giver], won, lost, enough)
                missing += _more_missing(held[taker], lost, won, enough)
                uneven = _more_uneven(loads[giver], loads[taker], given, taken, kinds)
                yield missing, uneven, giver, given, taker, taken


def _classes(unit: Unit, kinds: Mapping[str, Kind]) -> Kind:
    return Kind().union(*(kinds[image] for image in unit))


def _load(images: Iterable[str], kinds: Mapping[str, Kind]) -> Counter[Kind | None]:
    """Number of images of each kind; None stands for all kinds."""
    listed = list(images)
    return Counter([*(kinds[image] for image in listed), *[None] * len(listed)])


def _unlike(fold: Sequence[Unit], kinds: Mapping[str, Kind]) -> list[Unit]:
    """One unit of each composition."""
    return list({frozenset(_load(unit, kinds).items()): unit for unit in fold}.values())


def _more_missing(held: Counter[str], lost: Kind, won: Kind, enough: set[str]) -> int:
    """By how many the missing classes of a fold increase."""
    gone = sum(held[name] == 1 for name in (lost - won) & enough)
    return gone - sum(held[name] == 0 for name in (won - lost) & enough)


def _more_uneven(
    giver: Counter[Kind | None],
    taker: Counter[Kind | None],
    given: Unit,
    taken: Unit,
    kinds: Mapping[str, Kind],
) -> float:
    """By how much the squared differences between two folds increase, over kinds and the total."""
    moved = _load(given, kinds)
    moved.subtract(_load(taken, kinds))
    apart = {kind: giver[kind] - taker[kind] for kind in moved}
    return sum((apart[kind] - 2 * n) ** 2 - apart[kind] ** 2 for kind, n in moved.items())
