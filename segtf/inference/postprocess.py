"""Sweep small components out of a mask of class ids and fill holes, by rules chosen on val.

A component is connected pixels of one class, corners count as touching. One that is smaller than
its class's `smallest` becomes the class that it shares most sides of pixels with, the lowest id of
equals. A hole of a class is connected pixels of the background, corners do not count, that this
class alone surrounds and that does not reach the image's edge: smaller than `hole`, it becomes the
class. Rules are applied one after the other, in their order, components before holes.

A limit is a share of the image's area where the network sees images squeezed to its square, since
shares stay what they are at any size, and pixels where it sees tiles of the image as it is.

Images may have hundreds of megapixels, and numbers for each of their pixels four bytes each: masks
are worked on in bands of rows. What lies within a band is done there; components that reach a
band's edge are joined across bands, and filled from one of their pixels if they prove small.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Unit = Literal["share", "pixels"]
UNITS = ("share", "pixels")
BAND_PIXELS = 2**20  # of a band: 4 MB of component numbers
KEPT = -1  # what becomes of a component that stays as it is


@dataclass(frozen=True)
class Rule:
    """What is done about one class."""

    label: str  # its name
    unit: Unit  # of the limits: a share of the image's area, 0 to 1, or pixels
    smallest: float = 0.0  # smaller components become what surrounds them
    hole: float = 0.0  # smaller holes are filled


@dataclass(frozen=True)
class Postprocess:
    """The rules of a network, and what they were chosen by."""

    rules: tuple[Rule, ...]  # none where nothing helped
    miou: float | None  # on val without them
    miou_after: float | None  # on val with them


@dataclass(frozen=True)
class Step:
    """One pass over a mask."""

    of: int  # the class id whose components may change
    limit: int  # pixels: of those that are smaller
    into: int | None = None  # fills holes of this class; None: they become what surrounds them


class Regions(NamedTuple):
    """The components of one class in some rows of a mask; number 0 is all that is of no component,
    it is kept.
    """

    labels: NDArray[np.int32]  # the component of each pixel, shape (h, W)
    areas: NDArray[np.int64]
    sides: NDArray[np.int64]  # sides of pixels shared with each other class, shape (N, classes)
    boxes: NDArray[np.int32]  # left, top, width and height, shape (N, 4)


def postprocess(
    mask: NDArray[np.uint8], rules: Sequence[Rule], classes: Sequence[str]
) -> NDArray[np.uint8]:
    """A copy of class ids, shape (H, W), after the rules. Raises ValueError for a rule of a class
    that is none of `classes`.
    """
    result = np.array(mask, np.uint8, order="C")
    postprocess_in_place(result, rules, classes)
    return result


def postprocess_in_place(
    mask: NDArray[np.uint8], rules: Sequence[Rule], classes: Sequence[str]
) -> None:
    """The same in the mask itself, which must be contiguous."""
    for step in steps(rules, classes, mask.size):
        apply_step(mask, step)


def steps(rules: Sequence[Rule], classes: Sequence[str], pixels: int) -> Iterator[Step]:
    """The passes that rules come to on an image of so many pixels."""
    unknown = sorted({rule.label for rule in rules} - set(classes))
    if unknown:
        raise ValueError(f"rules of {unknown}, which are none of the classes {list(classes)}")
    for rule in rules:
        if rule.smallest:
            yield Step(classes.index(rule.label), _pixels(rule.smallest, rule.unit, pixels))
    for rule in rules:
        if rule.hole:
            limit = _pixels(rule.hole, rule.unit, pixels)
            yield Step(0, limit, into=classes.index(rule.label))


def describe(chosen: Postprocess | Mapping[str, Any] | None) -> str:
    """What was chosen, in words; `chosen` may also be as JSON gives it."""
    if chosen is None:
        return "never chosen"
    values = dataclasses.asdict(chosen) if isinstance(chosen, Postprocess) else chosen
    if not values["rules"]:
        return "none, as none helped on val"
    done = []
    for rule in values["rules"]:
        if rule["smallest"]:
            done.append(f"{rule['label']} under {_limit(rule['smallest'], rule['unit'])} is swept")
        if rule["hole"]:
            done.append(f"holes of {rule['label']} under {_limit(rule['hole'], rule['unit'])} are")
            done[-1] += " filled"
    return f"{', '.join(done)}; mIoU on val {values['miou']:.4f} to {values['miou_after']:.4f}"


def _limit(limit: float, unit: Unit) -> str:
    return f"{100 * limit:.2g} % of the image" if unit == "share" else f"{limit:.0f} pixels"


def _pixels(limit: float, unit: Unit, pixels: int) -> int:
    """As a whole number; what a share of 16 / 9216 gives of 9216 pixels is 16."""
    return math.ceil(limit * pixels - 1e-6) if unit == "share" else math.ceil(limit)


def apply_step(mask: NDArray[np.uint8], step: Step) -> None:
    """One pass in the contiguous `mask` itself, which is that of a whole image."""
    height, width = mask.shape
    rows = max(BAND_PIXELS // max(width, 1), 1)
    across = _Across(step)
    for top in range(0, height, rows):
        end = min(top + rows, height)
        regions = find_regions(mask, step, top, end)
        edge = reaches_edge(regions, mask.shape, top)
        open_above = (top > 0) & (regions.boxes[:, 1] == 0)
        open_below = (end < height) & (regions.boxes[:, 1] + regions.boxes[:, 3] == end - top)
        unfinished = (open_above | open_below) & (regions.areas > 0)
        target = becomes(step, regions.areas, regions.sides, edge)
        target[unfinished] = KEPT
        _repaint(mask[top:end], regions.labels, target)
        across.add(regions, unfinished, edge, top, last=end == height)
    for (left, upper, right, lower), (x, y), target_id in across.small():
        part = mask[upper:lower, left:right]  # filling takes memory for all that it might reach
        flags = 8 if step.into is None else 4
        cv2.floodFill(part, None, (x - left, y - upper), [target_id], flags=flags)


def find_regions(mask: NDArray[np.uint8], step: Step, top: int, end: int) -> Regions:
    """The components of the class that a pass is about in the rows from `top` to below `end`. The
    sides of those that are too large to change are not counted.
    """
    of_class = mask[top:end] == step.of
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        of_class.view(np.uint8), connectivity=8 if step.into is None else 4, ltype=cv2.CV_32S
    )
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas[0] = 0
    classes = int(mask[max(top - 1, 0) : end + 1].max(initial=0)) + 1
    sides = np.zeros(count * classes, np.int64)
    small = areas < step.limit
    small[0] = False
    if small.any():
        of_small = small[labels]
        for own, numbers, other in _neighbours(mask, of_small, labels, top, end):
            beyond = own & (other != step.of)
            pairs = numbers[beyond].astype(np.int64) * classes + other[beyond]
            sides += np.bincount(pairs, minlength=len(sides))
    return Regions(labels, areas, sides.reshape(count, classes), stats[:, :4])


def _neighbours(
    mask: NDArray[np.uint8],
    chosen: NDArray[np.bool_],
    labels: NDArray[np.int32],
    top: int,
    end: int,
) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.uint8]]]:
    """Which pixels are chosen, their components, and the classes of those beside them, in each of
    the four directions; beyond the image there is nothing.
    """
    part = mask[top:end]
    above, below = int(top == 0), len(part) - int(end == len(mask))
    yield chosen[:, :-1], labels[:, :-1], part[:, 1:]
    yield chosen[:, 1:], labels[:, 1:], part[:, :-1]
    yield chosen[above:], labels[above:], mask[top - 1 + above : end - 1]
    yield chosen[:below], labels[:below], mask[top + 1 : end + 1]


def reaches_edge(regions: Regions, shape: tuple[int, ...], top: int = 0) -> NDArray[np.bool_]:
    """Which components lie at the edge of the mask of that shape, (N,)."""
    left, first, width, height = regions.boxes.T
    first = first + top
    return (left == 0) | (first == 0) | (left + width == shape[1]) | (first + height == shape[0])


def becomes(
    step: Step,
    areas: NDArray[np.int64],
    sides: NDArray[np.int64],
    edge: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """The class id that each component becomes, shape (N,), or `KEPT`."""
    around = sides.sum(axis=1)
    small = (areas > 0) & (areas < step.limit) & (around > 0)
    if step.into is None:
        return np.where(small, sides.argmax(axis=1), KEPT)
    if step.into >= sides.shape[1]:  # the class is not there
        return np.full(len(areas), KEPT)
    return np.where(small & ~edge & (sides[:, step.into] == around), step.into, KEPT)


def _repaint(part: NDArray[np.uint8], labels: NDArray[np.int32], target: NDArray[np.int64]) -> None:
    changed = target != KEPT
    if changed.any():
        pixels = changed[labels]
        part[pixels] = target[labels[pixels]]


class _Across:
    """Components that reach the edge of a band, joined with those of the next one."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.parents: list[int] = []
        # area, whether at the edge, sides, first and last column and row, a pixel of each
        self.found: list[tuple[int, bool, NDArray[np.int64], list[int], tuple[int, int]]] = []
        self.row = np.zeros(0, np.int64)  # the numbers + 1 along the last row of the band before

    def add(
        self,
        regions: Regions,
        unfinished: NDArray[np.bool_],
        edge: NDArray[np.bool_],
        top: int,
        *,
        last: bool,
    ) -> None:
        """Takes the `unfinished` components of a band that begins at the row `top`."""
        first_row, last_row = regions.labels[0], regions.labels[-1]
        numbers = np.zeros(len(regions.areas), np.int64)
        begun = len(self.parents)
        which = np.flatnonzero(unfinished)
        numbers[which] = begun + 1 + np.arange(len(which))
        self.parents += range(begun, begun + len(which))
        places: dict[int, tuple[int, int]] = {}  # a pixel of each, in one of the two rows
        for row, y in ((last_row, top + len(regions.labels) - 1), (first_row, top)):
            labels, columns = np.unique(row, return_index=True)
            places |= {int(n): (int(x), y) for n, x in zip(labels, columns, strict=True)}
        for n in which:
            left, first, width, height = regions.boxes[n].tolist()
            box = [left, top + first, left + width, top + first + height]
            area, at_edge = int(regions.areas[n]), bool(edge[n])
            self.found.append((area, at_edge, regions.sides[n], box, places[int(n)]))
        if top:
            self._join(self.row, numbers[first_row])
        self.row = np.zeros(0, np.int64) if last else numbers[last_row]

    def _join(self, above: NDArray[np.int64], below: NDArray[np.int64]) -> None:
        touching = [(above, below)]
        if self.step.into is None:  # corners touch
            touching += [(above[1:], below[:-1]), (above[:-1], below[1:])]
        pairs = np.concatenate([np.stack(pair, axis=1) for pair in touching])
        for a, b in np.unique(pairs[(pairs > 0).all(axis=1)], axis=0).tolist():
            self.parents[self._root(a - 1)] = self._root(b - 1)

    def _root(self, n: int) -> int:
        while self.parents[n] != n:
            self.parents[n] = self.parents[self.parents[n]]
            n = self.parents[n]
        return n

    def small(self) -> Iterator[tuple[list[int], tuple[int, int], int]]:
        """The box (left, top, right and bottom) of each joined component that changes, column and
        row of one of its pixels, and what it becomes.
        """
        if not self.found:
            return
        roots = np.array([self._root(n) for n in range(len(self.parents))])
        classes = max(len(sides) for _, _, sides, _, _ in self.found)
        areas, edge = np.zeros(len(roots), np.int64), np.zeros(len(roots), bool)
        sides = np.zeros((len(roots), classes), np.int64)
        boxes = np.array([box for _, _, _, box, _ in self.found])
        np.minimum.at(boxes[:, :2], roots, boxes[:, :2].copy())
        np.maximum.at(boxes[:, 2:], roots, boxes[:, 2:].copy())
        for root, (area, at_edge, own, _, _) in zip(roots, self.found, strict=True):
            areas[root] += area
            edge[root] |= at_edge
            sides[root, : len(own)] += own
        target = becomes(self.step, areas, sides, edge)
        for root in np.flatnonzero(target != KEPT):
            yield boxes[root].tolist(), self.found[root][4], int(target[root])
