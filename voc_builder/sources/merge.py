"""Make new classes of those that annotations have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.classes import counted, is_background, is_void
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.base.problems import Problem
from voc_builder.sources.mask_meaning import background_first, nearest_names
from voc_builder.sources.sample import Found, Sample

REST = "*"  # all classes that are not named


@dataclass(frozen=True)
class MergedSample:
    """A sample whose classes are drawn as those that they were merged into."""

    sample: Sample
    classes: tuple[str, ...]  # that the sample draws
    ids: tuple[int, ...]  # new class id by that of the sample

    @property
    def id(self) -> str:
        return self.sample.id

    @property
    def path(self) -> Path:
        return self.sample.path

    @property
    def sha256(self) -> str:
        return self.sample.sha256

    @property
    def group(self) -> str | None:
        return self.sample.group

    def read_image(self) -> bytes:
        return self.sample.read_image()

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        table = np.full(256, VOID, np.uint8)
        table[: len(self.ids)] = self.ids
        merged: NDArray[np.uint8] = table[self.sample.draw_mask(self.classes, height, width)]
        return merged

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        return self.sample.problems(self.classes, size)


def merge_classes(found: Found, text: str) -> Found:
    """What was found, with the classes that text like `background=clutter+ground,object=*` makes of
    its own. Raises `UserError` unless it names each of these once.
    """
    merged = parse_merge(text, found.classes)
    classes = counted(list(background_first(merged.values())), "--merge")
    if not classes:
        raise UserError(f"--merge leaves no class but void. Received: {text}")
    ids = tuple(
        VOID if is_void(merged[name]) else classes.index(merged[name]) for name in found.classes
    )
    samples = tuple(MergedSample(sample, found.classes, ids) for sample in found.samples)
    return replace(found, classes=classes, samples=samples, before_merge=found.classes)


def parse_merge(text: str, classes: Sequence[str]) -> Mapping[str, str]:
    """The new class of each of `classes`, in the order in which the new ones are named. Raises
    `UserError` naming all that is wrong.
    """
    usual = "NEW=OLD+OLD,NEW=*, as background=clutter+ground,object=*"
    merged: dict[str, str] = {}
    rest: str | None = None
    wrong, unknown = [], []
    for part in text.split(","):
        new, equals, olds = (word.strip() for word in part.partition("="))
        if not new or not equals or not olds:
            raise UserError(f"--merge takes {usual}. Received: {text}")
        for old in (name.strip() for name in olds.split("+")):
            name = _old_name(old, classes)
            if old == REST:
                wrong += [f"{REST} comes twice"] if rest is not None else []
                rest = new
            elif name is None:
                unknown.append(old)
            elif name in merged:
                wrong.append(f"{name!r} comes twice")
            else:
                merged[name] = new
    if unknown:
        wrong.append(nearest_names(unknown, classes))
    left = [name for name in classes if name not in merged]
    if left and rest is None and not unknown:
        wrong.append(f"{', '.join(left)} not named: name each class, or all others as {REST}")
    if wrong:
        raise UserError(f"--merge {text}: {'; '.join(wrong)}")
    new_names = [part.partition("=")[0].strip() for part in text.split(",")]
    filled = {**merged, **({} if rest is None else dict.fromkeys(left, rest))}
    return dict(sorted(filled.items(), key=lambda pair: new_names.index(pair[1])))


def _old_name(old: str, classes: Sequence[str]) -> str | None:
    """The class that is meant; the background may be written in any of its ways."""
    if old in classes:
        return old
    same = [name for name in classes if is_background(name) and is_background(old)]
    return same[0] if same else None
