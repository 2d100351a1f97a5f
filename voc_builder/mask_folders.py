"""Find the images and masks of two folders and make samples of them."""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.checks import check_mask, check_unlabelled
from voc_builder.classes import FILES, class_file, has_background, read_ids
from voc_builder.colours import VOID
from voc_builder.errors import UserError
from voc_builder.images import SUFFIXES
from voc_builder.listing import bad_name, bare, folded, unique_ids, visible_files, well_named
from voc_builder.mask_files import SUFFIXES as MASK_SUFFIXES
from voc_builder.mask_files import MaskFile, decode_ids, read_mask_file
from voc_builder.problems import Problem
from voc_builder.progress import in_threads, progress
from voc_builder.sample import Found


@dataclass(frozen=True)
class MaskSample:
    """A photo and its mask, or a photo without one, which is empty."""

    id: str
    path: Path
    mask: MaskFile | None = None
    group: str | None = None
    white: bool = False  # 255 is class 1, not void

    @property
    def sha256(self) -> str:
        return self.mask.sha256 if self.mask else hashlib.sha256(b"").hexdigest()

    def read_photo(self) -> bytes:
        return self.path.read_bytes()

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        if self.mask is None:
            return np.zeros((height, width), np.uint8)
        encoded = self.mask.path.read_bytes()
        if hashlib.sha256(encoded).hexdigest() != self.mask.sha256:
            raise UserError(f"{self.mask.path}: changed while it was read: build again")
        ids = decode_ids(encoded)
        if self.white:
            ids = np.where(ids == VOID, 1, ids)
        return np.ascontiguousarray(ids, np.uint8)

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        return [] if self.mask is None else check_mask(self.mask, self.path, classes, size)


@dataclass(frozen=True)
class Pairs:
    """Which mask is whose. A file is in one of these, or named by a problem."""

    masks: Mapping[Path, Path] = field(default_factory=dict)  # by photo
    unlabelled: tuple[Path, ...] = ()  # photos without a mask
    problems: tuple[Problem, ...] = ()
    count: int = 0  # masks that were found


def find_mask_set(
    folder: Path,
    images: Path,
    masks: Path,
    *,
    pattern: str | None,
    classes: Path | None,
    empty: bool,
) -> Found:
    """The photos under `images` with their masks under `masks`, by the class names of the file
    `classes` (default: one in `folder`); with `empty` a photo without a mask is a sample too.
    Raises `UserError` where no photo has a mask, and without class names.
    """
    pairs = pair_files(images, masks, pattern)
    paths = sorted(set(pairs.masks.values()))
    read = in_threads(read_mask_file, paths, os.cpu_count() or 1)
    files = list(progress(read, len(paths), "masks", patience=3))
    names, source = _class_names(folder, classes, files)
    white = white_is_one(files, names)
    photos = sorted([*pairs.masks, *(pairs.unlabelled if empty else ())])
    ids = unique_ids([photo.relative_to(images) for photo in photos])
    file_of = {file.path: file for file in files}
    samples = []
    for photo_id, photo in zip(ids, photos, strict=True):
        mask = file_of[pairs.masks[photo]] if photo in pairs.masks else None
        group = str(mask.path.relative_to(masks)) if mask else None
        samples.append(MaskSample(photo_id, photo, mask, group, white))
    problems = [*pairs.problems, *_unlike(masks, files, names)]
    problems += _unused(files, names, source, white=white)
    without = check_unlabelled(pairs.unlabelled, "mask")
    return Found(names, tuple(samples), tuple(problems), tuple(without), pairs.count)


def pair_files(images: Path, masks: Path, pattern: str | None) -> Pairs:
    """A photo's mask has its stem, or with `pattern`, which has to match the whole stem, what its
    first bracket finds there; it lies in a subfolder of the same name, or in none. Without a
    pattern two photos of one mask are an error. Raises `UserError` where no photo has a mask.
    """
    photos, problems = _list(images, SUFFIXES, apart=masks)
    files, bad = _list(masks, MASK_SUFFIXES, apart=images)
    by_name: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_name[folded(str(bare(file.relative_to(masks))))].append(file)
    found = {photo: _named_alike(photo.relative_to(images), pattern, by_name) for photo in photos}
    if not any(found.values()):
        raise UserError(_no_pair(images, photos, masks, files))
    holders: dict[Path, list[Path]] = defaultdict(list)
    for photo, mine in found.items():
        for file in mine:
            holders[file].append(photo)
    problems += [*bad, *(_alone(file, images) for file in files if file not in holders)]
    pairs = {}
    for photo, mine in found.items():
        if len(mine) > 1:
            problems.append(_two_masks(photo, mine))
        elif mine and len(holders[mine[0]]) > 1 and pattern is None:
            others = [other for other in holders[mine[0]] if other != photo]
            problems.append(_two_photos(photo, mine[0], others))
        elif mine:
            pairs[photo] = mine[0]
    unlabelled = tuple(photo for photo, mine in found.items() if not mine)
    return Pairs(pairs, unlabelled, tuple(problems), len(files))


def white_is_one(files: Sequence[MaskFile], classes: Sequence[str]) -> bool:
    """Whether 255 is class 1 and not void: in a set of two classes where no mask of 0, 1 and 255
    alone holds a 1. The whole set decides: one mask of 0 and 255 may be of either kind.
    """
    plain = [set(file.counts) for file in files if set(file.counts) <= {0, 1, VOID}]
    seen = set().union(*plain)
    return len(classes) == 2 and VOID in seen and 1 not in seen


def _list(folder: Path, suffixes: Sequence[str], apart: Path) -> tuple[list[Path], list[Problem]]:
    """The pictures under the folder but those under `apart`, and an error for each bad name."""
    inside = apart != folder and apart.is_relative_to(folder)
    paths = [
        path
        for path in sorted(visible_files(folder))
        if path.suffix.lower() in suffixes and not (inside and path.is_relative_to(apart))
    ]
    good, bad = well_named(paths)
    return good, [bad_name(path) for path in bad]


def _named_alike(photo: Path, pattern: str | None, by_name: Mapping[str, list[Path]]) -> list[Path]:
    """The masks of a photo, which is named as seen from the photos' folder."""
    stem = bare(photo).name
    if pattern is not None:
        match = re.fullmatch(pattern, stem)
        if match is None or not match[1]:
            return []
        stem = match[1]
    names = (folded(str(photo.parent / stem)), folded(stem))
    return next((by_name[name] for name in names if name in by_name), [])


def _no_pair(images: Path, photos: Sequence[Path], masks: Path, files: Sequence[Path]) -> str:
    if not photos or not files:
        place, what = (masks, "masks") if photos else (images, "images")
        return f"{place}: no {what} in it: name another folder with --{what}"
    return (
        f"{masks}: no photo has a mask: {len(photos)} photos such as {photos[0].name}, "
        f"{len(files)} masks such as {files[0].name}: name them alike, or give --mask-pattern, as "
        r"'(.*)_\d+' where 0001.png is the mask of 0001_1.jpg"
    )


def _alone(file: Path, images: Path) -> Problem:
    cure = "put its photo there, delete the mask, or correct --mask-pattern"
    return Problem(file, "error", "photo-missing", f"no photo in {images} has this mask", cure)


def _two_masks(photo: Path, masks: Sequence[Path]) -> Problem:
    value = f"it has {len(masks)} masks: {', '.join(mask.name for mask in masks)}"
    return Problem(photo, "error", "two-masks", value, "delete all but one")


def _two_photos(photo: Path, mask: Path, others: Sequence[Path]) -> Problem:
    value = f"its mask {mask.name} is that of {', '.join(map(str, others))} too"
    cure = "delete one photo, or say with --mask-pattern which photos share a mask"
    return Problem(photo, "error", "two-photos", value, cure)


def _class_names(
    folder: Path, classes: Path | None, files: Sequence[MaskFile]
) -> tuple[tuple[str, ...], Path]:
    source = class_file(folder, classes)
    if source is None:
        values = sorted(set().union(*(file.counts for file in files)))
        raise UserError(
            f"{folder}: no class names, and masks hold none: give --classes FILE, class 0 first, "
            f"or put it into the folder as {FILES[0]}. The masks hold the values "
            f"{', '.join(map(str, values[:10]))}{', ...' if len(values) > 10 else ''}"
        )
    return read_ids(source), source


def _unused(
    files: Sequence[MaskFile], classes: Sequence[str], source: Path, *, white: bool
) -> list[Problem]:
    """A warning for each class that no mask shows, but the background."""
    seen = set().union(*(file.counts for file in files)) | ({1} if white else set())
    cure = "look whether the names stand in the order of the ids"
    return [
        Problem(source, "warning", "class-unused", f"no mask shows {name!r} (id {number})", cure)
        for number, name in enumerate(classes)
        if number not in seen and (number or not has_background(classes))
    ]


def _unlike(masks: Path, files: Sequence[MaskFile], classes: Sequence[str]) -> list[Problem]:
    """A warning where 255 is void for the 1 in other masks, but may have been meant as class 1."""
    ones = [file for file in files if 1 in file.counts and set(file.counts) <= {0, 1, VOID}]
    whites = [file for file in files if VOID in file.counts and set(file.counts) <= {0, VOID}]
    if len(classes) != 2 or not ones or not whites:
        return []
    value = f"255 is void, as {ones[0].path.name} holds 1, but {len(whites)} masks such as "
    value += f"{whites[0].path.name} hold 255 and no 1"
    cure = f"where 255 means {classes[1]!r}, save them with 1 instead"
    return [Problem(masks, "warning", "void-or-class", value, cure)]
