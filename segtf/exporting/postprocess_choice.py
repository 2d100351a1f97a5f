"""Choose on val which components are too small to be true, and which holes to fill.

For each class, first its components and then its holes, limits of 4, 8, 16, ... pixels are tried,
at training size or, of images that were cut into tiles, at their own, on what the rules before have
left. One is taken only where

- the mean IoU on val gains at least `LEAST_GAIN` by it,
- it still gains, whichever one of the images is left out: what a single image shows may be chance,
- at least two images show the class,
- no true object of the class on val is smaller, be it found or not (specks aside), and
- in no image fewer true objects (`segtf.scoring.objects`) are found after it than before.

Of limits that gain about as much the lowest is taken, since it changes least. What a limit comes to
is counted from the components, whose areas are found once; only what is to be taken is painted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segtf.inference.postprocess import (
    KEPT,
    Postprocess,
    Rule,
    Step,
    Unit,
    apply_step,
    becomes,
    find_regions,
    reaches_edge,
)
from segtf.scoring import metrics
from segtf.scoring.objects import (
    HIT,
    count_objects,
    find_objects,
    object_classes,
    without_specks,
)
from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID
from voc_builder.base.progress import progress

LEAST_GAIN = 0.002  # of the mean IoU on val, for each limit
EVEN = 0.0005  # of the mean IoU: gains that are as good as equal
LEAST_LIMIT = 4  # pixels at training size
LARGEST_SHARE = 1 / 64  # of the training size's area that a limit may reach
PATIENCE = 5.0  # seconds of work that nothing is said of
Predict = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, S, S, 3) -> (N, S, S, C)
What = Literal["smallest", "hole"]
Verdict = Literal["taken", "gains too little", "one image", "loses objects", "another is taken"]


@dataclass(frozen=True)
class Trial:
    """A limit that was tried, and what became of it."""

    label: str  # name of the class
    what: What  # components that are swept, or holes that are filled
    limit: int  # pixels, at training size or of images as they are
    gain: float  # of the mean IoU on val, beside what was taken before
    verdict: Verdict  # one image: it gains nothing without one of them


class Choice(NamedTuple):
    """The rules that were chosen, and everything that was tried for them, in order."""

    chosen: Postprocess
    trials: tuple[Trial, ...]


@dataclass
class Answers:
    """Masks of class ids, kept compressed: a fiftieth of their size."""

    packed: list[tuple[bytes, tuple[int, ...]]] = field(default_factory=list)

    def keeping(self, predict: Predict) -> Predict:
        """`predict`, which also leaves here what it answers, image by image."""

        def kept(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            probabilities = predict(images)
            self.add(probabilities.argmax(-1).astype(np.uint8))
            return probabilities

        return kept

    def add(self, masks: NDArray[np.uint8]) -> None:
        """Class ids of further images, shape (N, H, W)."""
        self.packed += [(zlib.compress(mask.tobytes(), 1), mask.shape) for mask in masks]

    @classmethod
    def of(cls, masks: Iterable[NDArray[np.uint8]]) -> Answers:
        """Of masks that come one after the other, each of its own size."""
        answers = cls()
        for mask in masks:
            answers.add(mask[None])
        return answers

    def __len__(self) -> int:
        return len(self.packed)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for packed, shape in self.packed:
            yield np.frombuffer(bytearray(zlib.decompress(packed)), np.uint8).reshape(shape)


def choose_postprocess(
    answers: Answers,
    truths: Answers | NDArray[np.uint8],
    classes: Sequence[str],
    *,
    unit: Unit = "share",
) -> Choice:
    """The rules for a network, from its answers about the images of val, and their true class ids
    (255 void), with all that was tried. Limits are a share of the images, which are of one size
    then, or pixels of images as they are, put together of their tiles. Raises ValueError unless
    there are as many answers as truths.
    """
    if len(answers) != len(truths):
        lengths = f"{len(answers)} and {len(truths)}"
        raise ValueError(f"answers and truths must be as many. Received: {lengths}")
    val = _Val(answers, truths, classes, unit)
    before = val.miou()
    limits: dict[tuple[int, str], int] = {}
    trials: list[Trial] = []
    # the steps to choose: what holes lie in the background is asked when all else is swept
    wanted: list[tuple[int, What]] = [(i, "smallest") for i in object_classes(classes)]
    if has_background(classes):
        wanted += [(i, "hole") for i in object_classes(classes)]
    for class_id, what in wanted:
        found, tried = val.choose(class_id, what)
        trials += tried
        if found is not None:
            limits[class_id, what] = found.limit
            val.take(found)
    rules = [
        Rule(name, *val.limits(limits.get((i, "smallest"), 0), limits.get((i, "hole"), 0)))
        for i, name in enumerate(classes)
        if (i, "smallest") in limits or (i, "hole") in limits
    ]
    chosen = Postprocess(tuple(rules), _number(before), _number(val.miou()))
    return Choice(chosen, tuple(trials))


class _Val:
    """What is known of val while rules are chosen."""

    def __init__(
        self,
        answers: Answers,
        truths: Answers | NDArray[np.uint8],
        classes: Sequence[str],
        unit: Unit,
    ) -> None:
        self.answers, self.truths, self.classes, self.unit = answers, truths, classes, unit
        self.pixels = max((truth.size for truth in truths), default=0)
        count = len(classes)
        self.counts = np.zeros((len(truths), count, count), np.int64)
        for counts, truth, mask in zip(self.counts, truths, answers, strict=True):
            counts += metrics.confusion(truth, mask, count)
        self.hits: NDArray[np.int64] | None = None  # counted when they are asked for

    def miou(self) -> float:
        return metrics.miou(self.counts.sum(axis=0))

    def limits(self, smallest: int, hole: int) -> tuple[Unit, float, float]:
        """The limits in the unit that they are stored in."""
        if self.unit == "pixels":
            return "pixels", float(smallest), float(hole)
        return "share", smallest / self.pixels, hole / self.pixels

    def choose(self, class_id: int, what: What) -> tuple[Step | None, list[Trial]]:
        """The limit that helps, None if none does, and all that were tried. A class that fewer than
        two images show is left alone: to sweep all of it would be a gain.
        """
        if (self.counts[:, class_id].sum(axis=1) > 0).sum() < 2:
            return None, []
        limits = _candidates(self.pixels)
        if what == "smallest":
            most = self._smallest_true(class_id)
            limits = [limit for limit in limits if limit <= most]
        tried = [_step(class_id, what, limit) for limit in limits]
        if not tried:
            return None, []
        changes = self._changes(tried)
        gains = [self._gain(change) for change in changes]
        verdicts: list[Verdict] = [
            "another is taken" if gain >= LEAST_GAIN else "gains too little" for gain in gains
        ]
        best = sorted(range(len(tried)), key=lambda i: (-round(gains[i] / EVEN), tried[i].limit))
        for i in best:
            if gains[i] >= LEAST_GAIN:
                verdicts[i] = self._verdict(tried[i], changes[i])
                if verdicts[i] == "taken":
                    break
        label = self.classes[class_id]
        trials = [
            Trial(label, what, *of_limit) for of_limit in zip(limits, gains, verdicts, strict=True)
        ]
        return (tried[verdicts.index("taken")] if "taken" in verdicts else None), trials

    def _verdict(self, step: Step, change: metrics.Counts) -> Verdict:
        """Whether a step that gains enough is to be taken."""
        if not self._whoever_is_left_out(change):
            return "one image"
        self.hits = self._hits(self.answers) if self.hits is None else self.hits
        kept = (self._hits(self._after(step)) >= self.hits).all()
        return "taken" if kept else "loses objects"

    def _smallest_true(self, class_id: int) -> int:
        """The area of the smallest true object, specks aside unless there are specks alone."""
        found = [find_objects(truth, truth, class_id).truth for truth in self.truths]
        areas = np.concatenate([one.areas for one in found])
        whole = np.concatenate([one.whole for one in found])
        return int((areas[whole] if whole.any() else areas).min(initial=self.pixels))

    def take(self, step: Step) -> None:
        """Goes on from what a step leaves."""
        self.counts += self._changes([step])[0]
        self.answers = self._after(step)
        self.hits = self._hits(self.answers)

    def _after(self, step: Step) -> Answers:
        after = Answers()
        for mask in self.answers:
            apply_step(mask, step)
            after.add(mask[None])
        return after

    def _changes(self, tried: Sequence[Step]) -> metrics.Counts:
        """By how much the counts of each image change, shape (steps, images, C, C); the steps
        differ by their limits alone.
        """
        classes = len(self.classes)
        changes = np.zeros((len(tried), *self.counts.shape), np.int64)
        largest = max(tried, key=lambda step: step.limit)
        masks = enumerate(zip(self.truths, self.answers, strict=True))
        what = f"val masks looked through for {self.classes[tried[0].of]}"
        for image, (truth, mask) in progress(masks, len(self.truths), what, patience=PATIENCE):
            regions = find_regions(mask, largest, 0, len(mask))
            edge = reaches_edge(regions, mask.shape)
            known = (regions.labels > 0) & (truth != VOID)
            pairs = regions.labels[known].astype(np.int64) * classes + truth[known]
            count = len(regions.areas)
            true = np.bincount(pairs, minlength=count * classes).reshape(count, classes)
            for change, step in zip(changes[:, image], tried, strict=True):
                target = becomes(step, regions.areas, regions.sides, edge)
                for class_id in np.unique(target[target != KEPT]):
                    moved = true[target == class_id].sum(axis=0)
                    change[:, step.of] -= moved
                    change[:, class_id] += moved
        return changes

    def _gain(self, change: metrics.Counts) -> float:
        return metrics.miou((self.counts + change).sum(axis=0)) - self.miou()

    def _whoever_is_left_out(self, change: metrics.Counts) -> bool:
        """Whether the mean IoU gains without any one of the images too."""
        before, after = self.counts.sum(axis=0), (self.counts + change).sum(axis=0)
        return all(
            metrics.miou(after - own - changed) > metrics.miou(before - own)
            for own, changed in zip(self.counts, change, strict=True)
        )

    def _hits(self, answers: Answers) -> NDArray[np.int64]:
        """The true objects that are found, specks aside, shape (masks, classes)."""
        hits = np.zeros((len(self.truths), len(self.classes)), np.int64)
        for class_id in object_classes(self.classes):
            objects = [
                find_objects(truth, mask, class_id)
                for truth, mask in zip(self.truths, answers, strict=True)
            ]
            hits[:, class_id] = without_specks(count_objects(objects, (0, 0)))[:, HIT]
        return hits


def _candidates(pixels: int) -> list[int]:
    """4, 8, 16, ... up to a part of so many pixels."""
    limits = [LEAST_LIMIT]
    while 2 * limits[-1] <= pixels * LARGEST_SHARE:
        limits.append(2 * limits[-1])
    return limits


def _step(class_id: int, what: What, limit: int) -> Step:
    return Step(class_id, limit) if what == "smallest" else Step(0, limit, into=class_id)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
