"""Read images with masks, in two folders or in any pairs."""

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
from voc_builder.sources.checks import check_mask
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.mask_files import MaskFile, decode_values, read_mask_file
from voc_builder.sources.mask_meaning import PLAIN, Meaning, find_meaning
from voc_builder.sources.pairing import Pairs, find_pairs
from voc_builder.sources.places import MASKS
from voc_builder.sources.sample import EMPTY_SHA256, Found, Sample
from voc_builder.tree.split import join_groups
from voc_builder.tree.voc import is_tree, read_groups


@dataclass(frozen=True, kw_only=True)
class MaskSample(Sample):
    """An image with its mask, or without one, which is empty."""

    meaning: Meaning
    mask: MaskFile | None

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
    """The images of a folder with their masks; with `empty` also images without a mask. The groups
    of a tree of this package are kept. Raises `UserError` if no image has a mask, and if the
    meaning of the masks is unknown.
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
    """The samples of pairs of images and masks. Ids are paths relative to `root`, a class file is
    looked for in `folder`. Images of one mask or of one of the `groups` stay together.
    """
    if not pairs.files and pairs.problems:
        raise AnnotationError(pairs.problems)
    paths = sorted(set(pairs.files.values()))
    read = partial(read_mask_file, coloured=settings.colors is not None)
    results = in_threads(read, paths, os.cpu_count() or 1)
    masks = list(progress(results, len(paths), "masks", patience=3))
    meaning = find_meaning(folder, settings, masks)
    mask_of = {mask.path: mask for mask in masks}
    shared = {str(image): str(mask) for image, mask in pairs.files.items()}
    together = join_groups(shared, {str(image): group for image, group in groups.items()})
    samples = []
    for image_id, image, file in pairs.numbered(root, empty=empty):
        mask = mask_of[file] if file else None
        digest = mask.sha256 if mask else EMPTY_SHA256
        group = together.get(str(image))
        samples.append(MaskSample(image_id, image, digest, group, meaning=meaning, mask=mask))
    problems = [*_void_or_class(masks, meaning), *_unused(masks, meaning)]
    return pairs.found(MASKS.what, meaning.classes, samples, *problems)


def _unused(masks: Sequence[MaskFile], meaning: Meaning) -> list[Problem]:
    """A warning for each class, except the background, that no mask shows."""
    seen = {meaning.ids.get(value) for mask in masks for value in mask.counts}
    cure = "check that the names are in the order of the ids"
    if not meaning.plain:
        cure = "check that the right value or colour has its name"
    first = 1 if has_background(meaning.classes) else 0
    return [
        Problem(meaning.source, "warning", "class-unused", f"no mask shows {name!r} (id {i})", cure)
        for i, name in enumerate(meaning.classes)
        if i >= first and i not in seen
    ]


def _void_or_class(masks: Sequence[MaskFile], meaning: Meaning) -> list[Problem]:
    """A warning if 255 is ignored because of the 1 in other masks, but may mean class 1."""
    ones = [mask for mask in masks if 1 in mask.counts and set(mask.counts) <= PLAIN]
    whites = [mask for mask in masks if VOID in mask.counts and set(mask.counts) <= {0, VOID}]
    if len(meaning.classes) != 2 or not meaning.plain or not ones or not whites:
        return []
    value = f"255 is ignored, as {ones[0].path.name} holds 1, but {len(whites)} masks such as "
    value += f"{whites[0].path.name} hold 255 and no 1"
    cure = f"if 255 means {meaning.classes[1]!r}, save them with 1 instead"
    return [Problem(ones[0].path.parent, "warning", "void-or-class", value, cure)]
