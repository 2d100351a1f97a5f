"""The result of every source: samples, classes, problems and a ready-made split."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.colours import VOID
from voc_builder.base.problems import Problem

EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()  # of an image without an annotation


@dataclass(frozen=True)
class Sample:
    """An image with its annotation; each source has a subclass."""

    id: str  # name in the data set, unique in it
    path: Path  # file that messages name, the image unless a subclass says otherwise
    sha256: str = EMPTY_SHA256  # of the annotation
    group: str | None = None  # samples of one group stay in one split

    def read_image(self) -> bytes:
        """The encoded image. Raises `AnnotationError` and `OSError`."""
        return self.path.read_bytes()

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        """Class ids, shape (height, width), which is the upright size of the image."""
        raise NotImplementedError

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        """The problems of the annotation; `size` is the upright (height, width) of the image, None
        if the image could not be read.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Found:
    """All that a source finds at a place."""

    classes: tuple[str, ...]  # index = class id
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]  # of the whole set, and of files that are no sample
    unlabelled: tuple[Problem, ...]  # a warning for each image without an annotation
    annotations: int  # number of annotation files, including unreadable ones
    splits: Mapping[str, str] = field(default_factory=dict)  # ready-made split by id, or {}
    merged: Mapping[str, int] = field(default_factory=dict)  # class id by original class, or {}

    @property
    def original_classes(self) -> tuple[str, ...]:
        """The classes of the annotations, before they were merged into `classes`."""
        return tuple(self.merged) or self.classes

    def draw_mask(self, sample: Sample, height: int, width: int) -> NDArray[np.uint8]:
        """Ids of `classes`, shape (height, width)."""
        mask = sample.draw_mask(self.original_classes, height, width)
        if not self.merged:
            return mask
        table = np.full(256, VOID, np.uint8)
        table[: len(self.merged)] = list(self.merged.values())
        return np.asarray(table[mask], np.uint8)
