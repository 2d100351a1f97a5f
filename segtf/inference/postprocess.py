"""Remove small components from a mask of class ids and fill holes, by rules chosen on val.

A component is connected pixels of one class, corners included. One below its class's `smallest`
becomes the class with which it shares most pixel sides, the lowest id of equals. A hole of a class
is connected background, corners excluded, that only this class surrounds and that does not reach
the edge of the image; below `hole`, it becomes the class. Rules are applied in their order,
components before holes.

A limit is a fraction of the image's area (unit `share`) for a network that sees images resized to
the training size, and pixels for one that sees tiles at full resolution.

Images may have hundreds of megapixels and component numbers take four bytes per pixel: a mask is
worked on in windows of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Unit = Literal["share", "pixels"]
UNITS = ("share", "pixels")
WINDOW_PIXELS = 2**20  # of a window of rows: 4 MB of component numbers
KEPT = -1  # instead of a new class id: the component stays


@dataclass(frozen=True)
class Rule:
    """Limits for one class."""

    label: str  # name of the class
    unit: Unit  # of the limits: share, a fraction of the image's area, or pixels
    smallest: float = 0.0  # components below are removed
    hole: float = 0.0  # holes below are filled


@dataclass(frozen=True)
class Postprocess:
    """The rules of a network, and the scores that they were chosen by."""

    rules: tuple[Rule, ...]  # empty if nothing helped
    miou: float | None  # on val without them
    miou_after: float | None  # on val with them

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Postprocess:
        """From the values that `dataclasses.asdict` gives, by way of JSON."""
        rules = [
            Rule(str(rule["label"]), rule["unit"], float(rule["smallest"]), float(rule["hole"]))
            for rule in values["rules"]
        ]
        return cls(tuple(rules), values["miou"], values["miou_after"])


@dataclass(frozen=True)
class Step:
    """One pass over a mask."""

    of: int  # the class id whose components may change
    limit: int  # pixels: components below may change
    into: int | None = None  # fill holes of this class; None: remove components


class Regions(NamedTuple):
    """The components of one class in some rows of a mask; number 0 is every other pixel."""

    labels: NDArray[np.int32]  # the component of each pixel, shape (h, W)
    areas: NDArray[np.int64]  # 0 for number 0
    sides: NDArray[np.int64]  # pixel sides shared with each other class, shape (N, classes)
    boxes: NDArray[np.int32]  # left, top, width and height, shape (N, 4)


def postprocess(
    mask: NDArray[np.uint8], rules: Sequence[Rule], classes: Sequence[str]
) -> NDArray[np.uint8]:
    """A copy of class ids, shape (H, W), after the rules. Raises ValueError for a rule whose class
    is not among `classes`.
    """
    result = np.array(mask, np.uint8, order="C")
    postprocess_in_place(result, rules, classes)
    return result


def postprocess_in_place(
    mask: NDArray[np.uint8], rules: Sequence[Rule], classes: Sequence[str]
) -> None:
    """The same in the contiguous mask itself."""
    for step in steps(rules, classes, mask.size):
        apply_step(mask, step)


def steps(rules: Sequence[Rule], classes: Sequence[str], pixels: int) -> Iterator[Step]:
    """The passes for an image of so many pixels."""
    unknown = sorted({rule.label for rule in rules} - set(classes))
    if unknown:
        raise ValueError(f"rules for {unknown}, which are not among the classes {list(classes)}")
    for rule in rules:
        if rule.smallest:
            yield Step(classes.index(rule.label), _pixels(rule.smallest, rule.unit, pixels))
    for rule in rules:
        if rule.hole:
            limit = _pixels(rule.hole, rule.unit, pixels)
            yield Step(0, limit, into=classes.index(rule.label))


def _pixels(limit: float, unit: Unit, pixels: int) -> int:
    """As a whole number: a fraction of 16 / 9216 of 9216 pixels is 16."""
    return math.ceil(limit * pixels - 1e-6) if unit == "share" else math.ceil(limit)


def describe(chosen: Postprocess | None) -> str:
    """The rules in words."""
    if chosen is None:
        return "never chosen"
    if not chosen.rules:
        return "none, as none helped on val"
    parts = []
    for rule in chosen.rules:
        if rule.smallest:
            parts.append(f"remove {rule.label} below {_limit(rule.smallest, rule.unit)}")
        if rule.hole:
            parts.append(f"fill holes of {rule.label} below {_limit(rule.hole, rule.unit)}")
    return f"{', '.join(parts)}; mIoU on val {chosen.miou:.4f} to {chosen.miou_after:.4f}"


def _limit(limit: float, unit: Unit) -> str:
    return f"{100 * limit:.2g} % of the image" if unit == "share" else f"{limit:.0f} pixels"


def apply_step(mask: NDArray[np.uint8], step: Step) -> None:
    """One pass over the contiguous mask of a whole image, in place.

    A component that ends a window unfinished and still small is decided in the next window, which
    begins a row above it. So all that touches the first row of a window but the image's first has
    been decided before. Windows grow if components are too high for them.
    """
    height, width = mask.shape
    rows, top, end = max(WINDOW_PIXELS // max(width, 1), 1), 0, 0
    while end < height:
        end = min(top + rows, height)
        regions = find_regions(mask, step, top, end)
        new = becomes(step, regions, reaches_edge(regions, mask.shape, top))
        first, below = regions.boxes[:, 1], regions.boxes[:, 1] + regions.boxes[:, 3]
        decided = (top > 0) & (first == 0)
        unfinished = ~decided & (below == end - top) & (regions.areas > 0) & (end < height)
        new[decided | unfinished] = KEPT
        if (new != KEPT).any():
            changed = (new != KEPT)[regions.labels]
            mask[top:end][changed] = new[regions.labels[changed]]
        pending = first[unfinished & (regions.areas < step.limit)]
        following = top + int(pending.min(initial=end - top)) - 1
        if following - top < max(rows // 2, 1):
            rows *= 2
        top = max(following, top)


def find_regions(mask: NDArray[np.uint8], step: Step, top: int, end: int) -> Regions:
    """The components that a pass may change, in the rows from `top` to below `end`. `sides` are
    counted for those below the limit only.
    """
    of_class = mask[top:end] == step.of
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        of_class.view(np.uint8), connectivity=8 if step.into is None else 4, ltype=cv2.CV_32S
    )
    areas = stats[:, cv2.CC_STAT_AREA].astype(np.int64)
    areas[0] = 0
    classes = int(mask[max(top - 1, 0) : end + 1].max(initial=0)) + 1
    sides = np.zeros(count * classes, np.int64)
    small = (areas > 0) & (areas < step.limit)
    if small.any():
        for own, numbers, other in _neighbours(mask, small[labels], labels, top, end):
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
    """For each of the four directions: which pixels are chosen, their components, and the classes
    of their neighbours. Pixels without a neighbour, at the edge of the image, are left out.
    """
    part = mask[top:end]
    above, below = int(top == 0), len(part) - int(end == len(mask))
    yield chosen[:, :-1], labels[:, :-1], part[:, 1:]
    yield chosen[:, 1:], labels[:, 1:], part[:, :-1]
    yield chosen[above:], labels[above:], mask[top - 1 + above : end - 1]
    yield chosen[:below], labels[:below], mask[top + 1 : end + 1]


def reaches_edge(regions: Regions, shape: tuple[int, ...], top: int = 0) -> NDArray[np.bool_]:
    """Which components touch the edge of a mask of that shape, (N,)."""
    left, first, width, height = regions.boxes.T
    first = first + top
    return (left == 0) | (first == 0) | (left + width == shape[1]) | (first + height == shape[0])


def becomes(step: Step, regions: Regions, edge: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The new class id of each component, shape (N,), or `KEPT`."""
    around = regions.sides.sum(axis=1)
    small = (regions.areas > 0) & (regions.areas < step.limit) & (around > 0)
    if step.into is None:
        return np.where(small, regions.sides.argmax(axis=1), KEPT)
    if step.into >= regions.sides.shape[1]:  # the mask does not have the class
        return np.full(len(around), KEPT)
    surrounded = regions.sides[:, step.into] == around
    return np.where(small & ~edge & surrounded, step.into, KEPT)
