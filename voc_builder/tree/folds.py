"""Deal images to the folds of a cross-validation: alike in size and classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from voc_builder.base.errors import UserError
from voc_builder.tree.split import Kind, deal, find_units

Unit = list[str]  # images that stay together
# growth of lacks and of unevenness, the giving fold and its unit, the taking one and its unit
Exchange = tuple[int, float, int, Unit, int, Unit]


def draw_folds(
    kinds: Mapping[str, Kind], groups: Mapping[str, str], count: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    """Sorted ids of each of `count` folds, 2 or more, dealt as `draw_split` deals splits of one
    size. Then images or groups change folds as long as that brings classes to folds that lack them,
    of those that `count` of them show. Raises `UserError` where a fold would have no image.
    """
    units = find_units(kinds, groups)
    if count > len(units):
        raise UserError(
            f"--folds {count}: train and val have {len(units)} images or groups of images, and "
            f"each fold needs one: take fewer folds, or add images"
        )
    dealt = deal(units, kinds, (1 / count,) * count, seed)
    while exchange := _best_exchange(dealt, kinds):
        _, _, giver, given, taker, taken = exchange
        for units, lost, won in ((dealt[giver], given, taken), (dealt[taker], taken, given)):
            units[:] = [unit for unit in (*units, won) if unit and unit != lost]
    return tuple(tuple(sorted(image for unit in fold for image in unit)) for fold in dealt)


def name_folds(folds: Sequence[Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The sorted ids of `fold_1_train`, `fold_1_val`, `fold_2_train` and so on."""
    lists = {}
    for number, val in enumerate(folds, start=1):
        others = (image for fold in folds if fold is not val for image in fold)
        lists[f"fold_{number}_train"] = tuple(sorted(others))
        lists[f"fold_{number}_val"] = tuple(val)
    return lists


def _best_exchange(dealt: Sequence[Sequence[Unit]], kinds: Mapping[str, Kind]) -> Exchange | None:
    """The exchange of two units, or of one against none, that brings a class to a fold that lacks
    it, after which the fewest folds lack a class and folds are most even; None if the lacks grow no
    fewer by any.
    """
    held = [Counter(name for unit in fold for name in _classes(unit, kinds)) for fold in dealt]
    total = sum(held, Counter[str]())
    enough = {name for name, units in total.items() if units >= len(dealt)}
    for name in sorted(enough):
        for taker in range(len(dealt)):
            if not held[taker][name]:
                ways = _exchanges(dealt, held, taker, name, enough, kinds)
                best = min(ways, default=None)
                if best and best[0] < 0:
                    return best
    return None


def _exchanges(
    dealt: Sequence[Sequence[Unit]],
    held: Sequence[Counter[str]],
    taker: int,
    name: str,
    enough: set[str],
    kinds: Mapping[str, Kind],
) -> Iterator[Exchange]:
    """The exchanges that give the fold `taker` a unit with the class, from folds with several."""
    loads = [_load((image for unit in fold for image in unit), kinds) for fold in dealt]
    offered = [(unit, _classes(unit, kinds)) for unit in (*_unlike(dealt[taker], kinds), [])]
    for giver in range(len(dealt)):
        if held[giver][name] < 2:
            continue
        for given in _unlike(dealt[giver], kinds):
            won = _classes(given, kinds)
            if name not in won:
                continue
            for taken, lost in offered:
                lacks = _lacks(held[giver], won, lost, enough)
                lacks += _lacks(held[taker], lost, won, enough)
                uneven = _unevenness(loads[giver], loads[taker], given, taken, kinds)
                yield lacks, uneven, giver, given, taker, taken


def _classes(unit: Unit, kinds: Mapping[str, Kind]) -> Kind:
    return Kind().union(*(kinds[image] for image in unit))


def _load(images: Iterable[str], kinds: Mapping[str, Kind]) -> Counter[Kind | None]:
    """Images of each kind; None stands for any."""
    listed = list(images)
    return Counter([*(kinds[image] for image in listed), *[None] * len(listed)])


def _unlike(fold: Sequence[Unit], kinds: Mapping[str, Kind]) -> list[Unit]:
    """A unit of each make-up."""
    return list({frozenset(_load(unit, kinds).items()): unit for unit in fold}.values())


def _lacks(held: Counter[str], lost: Kind, won: Kind, enough: set[str]) -> int:
    """How many classes more the fold would lack."""
    gone = sum(held[name] == 1 for name in (lost - won) & enough)
    return gone - sum(held[name] == 0 for name in (won - lost) & enough)


def _unevenness(
    giver: Counter[Kind | None],
    taker: Counter[Kind | None],
    given: Unit,
    taken: Unit,
    kinds: Mapping[str, Kind],
) -> float:
    """How much the squared differences between the folds, over kinds and over all images, grow."""
    moved = _load(given, kinds)
    moved.subtract(_load(taken, kinds))
    apart = {kind: giver[kind] - taker[kind] for kind in moved}
    return sum((apart[kind] - 2 * n) ** 2 - apart[kind] ** 2 for kind, n in moved.items())
