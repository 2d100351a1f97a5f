"""Find images and their masks in folders, and make samples of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.classes import has_background
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.base.problems import AnnotationError, Problem
from voc_builder.base.progress import in_threads, progress
from voc_builder.sources.checks import check_mask, check_unlabelled
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.listing import seen_from, unique_ids
from voc_builder.sources.mask_files import MaskFile, decode_values, read_mask_file
from voc_builder.sources.mask_meaning import PLAIN, Meaning, find_meaning
from voc_builder.sources.pairing import Pairs, find_pairs
from voc_builder.sources.places import MASKS
from voc_builder.sources.sample import Found
from voc_builder.tree.split import join_groups
from voc_builder.tree.voc import is_tree, read_groups


@dataclass(frozen=True)
class MaskSample:
    """An image and its mask, or an image without one, which is empty."""

    id: str
    path: Path
    meaning: Meaning
    mask: MaskFile | None = None
    group: str | None = None

    @property
    def sha256(self) -> str:
        return self.mask.sha256 if self.mask else hashlib.sha256(b"").hexdigest()

    def read_image(self) -> bytes:
        return self.path.read_bytes()

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        if self.mask is None:
            return np.zeros((height, width), np.uint8)
        encoded = self.mask.path.read_bytes()
        if hashlib.sha256(encoded).hexdigest() != self.mask.sha256:
            raise UserError(f"{self.mask.path}: changed while it was read: build again")
        values = decode_values(encoded, coloured=self.meaning.coloured)
        ids = np.zeros(values.shape, np.uint8)
        for value in self.mask.counts:
            ids[values == value] = self.meaning.ids[value]
        return ids

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        return [] if self.mask is None else check_mask(self.mask, self.path, self.meaning, size)


def find_mask_set(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The images of a folder with their masks; with `empty` an image without one is a sample too.
    What must stay together in a VOC tree of this package still does. Raises `UserError` where no
    image has a mask, and where it is not known what they mean.
    """
    pairs, images = find_pairs(folder, settings, MASKS)
    group_of = read_groups(folder) if is_tree(folder) else {}
    groups = {
        image: group_of[name]
        for image in pairs.files
        if (name := image.relative_to(images).as_posix().removesuffix(".jpg")) in group_of
    }
    return mask_samples(pairs, groups, images, folder, settings, empty=empty)


def mask_samples(
    pairs: Pairs,
    groups: Mapping[Path, str],
    root: Path,
    folder: Path,
    settings: SourceConfig,
    *,
    empty: bool,
) -> Found:
    """The samples of images and masks however they were paired. Ids are made of paths seen from
    `root`, class names are looked for in `folder`; images of one mask, or one group, stay together.
    """
    if not pairs.files and pairs.problems:
        raise AnnotationError(pairs.problems)
    paths = sorted(set(pairs.files.values()))
    read = partial(read_mask_file, coloured=settings.colors is not None)
    files = list(
        progress(in_threads(read, paths, os.cpu_count() or 1), len(paths), "masks", patience=3)
    )
    meaning = find_meaning(folder, settings, files)
    file_of = {file.path: file for file in files}
    images = sorted([*pairs.files, *(pairs.unlabelled if empty else ())])
    ids = unique_ids([seen_from(image, root) for image in images])
    shared = {str(image): str(mask) for image, mask in pairs.files.items()}
    together = join_groups(shared, {str(image): group for image, group in groups.items()})
    samples = []
    for image_id, image in zip(ids, images, strict=True):
        mask = file_of[pairs.files[image]] if image in pairs.files else None
        samples.append(MaskSample(image_id, image, meaning, mask, together.get(str(image))))
    problems = [*pairs.problems, *_unlike(files, meaning), *_unused(files, meaning)]
    return Found(
        meaning.classes,
        tuple(samples),
        tuple(problems),
        tuple(check_unlabelled(pairs.unlabelled, "mask")),
        pairs.count,
        {one.id: pairs.splits[one.path] for one in samples} if pairs.splits else {},
    )


def _unused(files: Sequence[MaskFile], meaning: Meaning) -> list[Problem]:
    """A warning for each class that no mask shows, but the background."""
    seen = {meaning.ids.get(value) for file in files for value in file.counts}
    cure = "look whether the names stand in the order of the ids"
    if not meaning.plain:
        cure = "look whether the right value or colour has its name"
    return [
        Problem(
            meaning.source, "warning", "class-unused", f"no mask shows {name!r} (id {number})", cure
        )
        for number, name in enumerate(meaning.classes)
        if number not in seen and (number or not has_background(meaning.classes))
    ]


def _unlike(files: Sequence[MaskFile], meaning: Meaning) -> list[Problem]:
    """A warning where 255 is void for the 1 in other masks, but may have been meant as class 1."""
    ones = [file for file in files if 1 in file.counts and set(file.counts) <= PLAIN]
    whites = [file for file in files if VOID in file.counts and set(file.counts) <= {0, VOID}]
    if len(meaning.classes) != 2 or not meaning.plain or not ones or not whites:
        return []
    value = f"255 is void, as {ones[0].path.name} holds 1, but {len(whites)} masks such as "
    value += f"{whites[0].path.name} hold 255 and no 1"
    cure = f"where 255 means {meaning.classes[1]!r}, save them with 1 instead"
    return [Problem(ones[0].path.parent, "warning", "void-or-class", value, cure)]
