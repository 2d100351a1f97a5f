"""What every source of annotations gives to the rest of the package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.problems import Problem


class Sample(Protocol):
    """An image and what is drawn on it, whatever the annotation came from."""

    @property
    def id(self) -> str:
        """Name in the data set, unique in it."""

    @property
    def path(self) -> Path:
        """The file to name when something is wrong."""

    @property
    def sha256(self) -> str:
        """Digest of the annotation."""

    @property
    def group(self) -> str | None:
        """Samples of the same group never part in a split."""

    def read_image(self) -> bytes:
        """The encoded image. Raises `AnnotationError` and `OSError`."""

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        """Class ids for an image of that upright size, shape (height, width)."""

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        """What is wrong with the annotation of an image of that upright (height, width); None for a
        image that could not be read.
        """


@dataclass(frozen=True)
class Found:
    """What a source finds in a folder: all that the rest of the package knows of it."""

    classes: tuple[str, ...]  # place = class id
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...]  # of the whole set, and of files that are no sample
    unlabelled: tuple[Problem, ...]  # a warning for each image without annotation
    annotations: int  # files looked at, also those that cannot be read
    splits: Mapping[str, str] = field(default_factory=dict)  # ready-made, by id; {}: there is none
    before_merge: tuple[str, ...] = ()  # what samples draw, where `classes` are made of that
