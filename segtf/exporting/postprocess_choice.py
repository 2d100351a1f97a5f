"""Choose on val the limits for removing small components and filling holes.

For each class, first for its components and then for its holes, limits of 4, 8, 16, ... pixels are
tried on the masks that the rules so far give: at training size or, for images cut into tiles, at
full resolution. A limit is taken only if

- the mean IoU on val gains at least `LEAST_GAIN`,
- it still gains if any one image is left out: a single image may be an outlier,
- at least two images show the class,
- no true object of the class on val is smaller, found or not (specks aside), and
- in no image fewer true objects (`segtf.scoring.objects`) are found than before.

Of limits that gain about the same the lowest is taken, since it changes least. Gains are counted
from the components, which are found once for all limits; masks change only by the limit taken.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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
from segtf.scoring.evaluation import Predict
from segtf.scoring.inspection import number
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
EVEN = 0.0005  # of the mean IoU: gains that differ by less count as equal
LEAST_LIMIT = 4  # pixels
LARGEST_SHARE = 1 / 64  # of the area of the largest image that a limit may reach
PATIENCE = 5.0  # seconds of work before a progress bar appears
What = Literal["smallest", "hole"]
Verdict = Literal["taken", "gains too little", "one image", "loses objects", "another is taken"]


@dataclass(frozen=True)
class Trial:
    """A limit that was tried."""

    label: str  # name of the class
    what: What  # remove small components, or fill holes
    limit: int  # pixels, at training size or at full resolution
    gain: float  # of the mean IoU on val
    verdict: Verdict  # one image: without one of them nothing is gained


class Choice(NamedTuple):
    """The rules, and all that was tried, in order."""

    chosen: Postprocess
    trials: tuple[Trial, ...]


class MaskStore:
    """Masks of class ids, each of its own size, kept compressed: a fiftieth of their size."""

    def __init__(self, masks: Iterable[NDArray[np.uint8]] = ()) -> None:
        self._packed: list[tuple[bytes, tuple[int, ...]]] = []
        self.add(masks)

    def add(self, masks: Iterable[NDArray[np.uint8]]) -> None:
        """Appends class ids, shape (H, W) each."""
        self._packed += [(zlib.compress(mask.tobytes(), 1), mask.shape) for mask in masks]

    def keeping(self, predict: Predict) -> Predict:
        """`predict`, which also adds the masks of its answers here."""

        def kept(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            probabilities = predict(images)
            self.add(probabilities.argmax(-1).astype(np.uint8))
            return probabilities

        return kept

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        for packed, shape in self._packed:
            yield np.frombuffer(bytearray(zlib.decompress(packed)), np.uint8).reshape(shape)


def choose_postprocess(
    masks: MaskStore, truths: MaskStore, classes: Sequence[str], *, unit: Unit = "share"
) -> Choice:
    """The rules for a network by its masks on val and the true class ids (255 void). Limits are
    fractions of the area, which needs images of one size, or pixels. Raises ValueError unless there
    are as many masks as truths.
    """
    if len(masks) != len(truths):
        lengths = f"{len(masks)} and {len(truths)}"
        raise ValueError(f"masks and truths must be equally many. Received: {lengths}")
    val = _Val(masks, truths, classes)
    before = val.miou()
    trials: list[Trial] = []
    # holes last: small components in the background are removed by then
    for what in ("smallest", "hole") if has_background(classes) else ("smallest",):
        for class_id in object_classes(classes):
            trials += val.choose(class_id, what)
    taken = {(trial.label, trial.what): trial.limit for trial in trials if trial.verdict == "taken"}
    scale = 1 if unit == "pixels" else val.pixels
    rules = [
        Rule(name, unit, *(taken.get((name, what), 0) / scale for what in ("smallest", "hole")))
        for name in classes
        if (name, "smallest") in taken or (name, "hole") in taken
    ]
    return Choice(Postprocess(tuple(rules), number(before), number(val.miou())), tuple(trials))


class _Val:
    """The masks on val while rules are chosen, and what is counted from them."""

    def __init__(self, masks: MaskStore, truths: MaskStore, classes: Sequence[str]) -> None:
        self.masks, self.truths, self.classes = masks, truths, classes
        self.pixels = max((truth.size for truth in truths), default=0)
        pairs = zip(truths, masks, strict=True)
        counts = [metrics.confusion(truth, mask, len(classes)) for truth, mask in pairs]
        self.counts = np.array(counts).reshape(-1, len(classes), len(classes))  # of each image
        self.hits: NDArray[np.int64] | None = None  # of `_hits(masks)`, once needed

    def miou(self) -> float:
        return metrics.miou(self.counts.sum(axis=0))

    def choose(self, class_id: int, what: What) -> list[Trial]:
        """Try the limits of a class and apply the one that is taken. A class that fewer than two
        images show is skipped: to remove all of it would be a gain.
        """
        if (self.counts[:, class_id].sum(axis=1) > 0).sum() < 2:
            return []
        limits = self._limits(class_id, what)
        if not limits:
            return []
        steps = [
            Step(class_id, limit) if what == "smallest" else Step(0, limit, into=class_id)
            for limit in limits
        ]
        changes = self._changes(steps)
        gains = [metrics.miou((self.counts + c).sum(axis=0)) - self.miou() for c in changes]
        verdicts: list[Verdict] = [
            "another is taken" if gain >= LEAST_GAIN else "gains too little" for gain in gains
        ]
        for i in sorted(range(len(steps)), key=lambda i: (-round(gains[i] / EVEN), limits[i])):
            if gains[i] >= LEAST_GAIN:
                verdicts[i] = self._apply(steps[i], changes[i])
                if verdicts[i] == "taken":
                    break
        tried = zip(limits, gains, verdicts, strict=True)
        return [Trial(self.classes[class_id], what, *trial) for trial in tried]

    def _limits(self, class_id: int, what: What) -> list[int]:
        """4, 8, 16, ... up to a fraction of the area and the smallest true object."""
        most = max(LEAST_LIMIT, self.pixels * LARGEST_SHARE)
        if what == "smallest":
            most = min(most, self._smallest_true(class_id))
        return [2**n for n in range(2, 64) if LEAST_LIMIT <= 2**n <= most]

    def _smallest_true(self, class_id: int) -> int:
        """The area of the smallest true object; of specks only if there is nothing else."""
        found = [find_objects(truth, truth, class_id).truth for truth in self.truths]
        areas = np.concatenate([one.areas for one in found])
        whole = np.concatenate([one.whole for one in found])
        return int((areas[whole] if whole.any() else areas).min(initial=self.pixels))

    def _apply(self, step: Step, change: metrics.Counts) -> Verdict:
        """Take a step that gains enough, unless a single image or lost objects speak against it."""
        before, after = self.counts.sum(axis=0), (self.counts + change).sum(axis=0)
        for own, changed in zip(self.counts, change, strict=True):
            if not metrics.miou(after - own - changed) > metrics.miou(before - own):
                return "one image"
        masks = MaskStore()
        for mask in self.masks:
            apply_step(mask, step)
            masks.add([mask])
        hits = self._hits(masks)
        self.hits = self._hits(self.masks) if self.hits is None else self.hits
        if (hits < self.hits).any():
            return "loses objects"
        self.masks, self.hits = masks, hits
        self.counts += change
        return "taken"

    def _changes(self, steps: Sequence[Step]) -> metrics.Counts:
        """By how much the counts change, shape (steps, images, C, C); the steps, in the order of
        their limits, differ by these alone.
        """
        classes = len(self.classes)
        changes = np.zeros((len(steps), *self.counts.shape), np.int64)
        masks = enumerate(zip(self.truths, self.masks, strict=True))
        for image, (truth, mask) in progress(
            masks, len(self.truths), "val masks post-processed", patience=PATIENCE
        ):
            regions = find_regions(mask, steps[-1], 0, len(mask))
            edge = reaches_edge(regions, mask.shape)
            known = (regions.labels > 0) & (truth != VOID)
            pairs = regions.labels[known].astype(np.int64) * classes + truth[known]
            count = len(regions.areas)
            true = np.bincount(pairs, minlength=count * classes).reshape(count, classes)
            for change, step in zip(changes[:, image], steps, strict=True):
                new = becomes(step, regions, edge)
                for class_id in np.unique(new[new != KEPT]):
                    moved = true[new == class_id].sum(axis=0)
                    change[:, step.of] -= moved
                    change[:, class_id] += moved
        return changes

    def _hits(self, masks: MaskStore) -> NDArray[np.int64]:
        """The true objects that are found, specks aside, shape (images, classes)."""
        hits = np.zeros((len(self.truths), len(self.classes)), np.int64)
        for class_id in object_classes(self.classes):
            pairs = zip(self.truths, masks, strict=True)
            objects = [find_objects(truth, mask, class_id) for truth, mask in pairs]
            hits[:, class_id] = without_specks(count_objects(objects, (0, 0)))[:, HIT]
        return hits
