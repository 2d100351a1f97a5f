"""Find out which annotation file is whose image's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.base.problems import Problem
from voc_builder.base.progress import note
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.listing import bad_name, bare, folded, visible_files, well_named
from voc_builder.sources.places import MASKS, Annotations, Part, list_folders, require_parts
from voc_builder.sources.ready_splits import (
    Ready,
    find_lists,
    folder_splits,
    is_split,
    listed_splits,
    without_annotation,
)


@dataclass(frozen=True)
class Pairs:
    """Which annotation is whose. A file is in one of these, or named by a problem."""

    files: Mapping[Path, Path] = field(default_factory=dict)  # annotation file by image
    unlabelled: tuple[Path, ...] = ()  # images without one
    problems: tuple[Problem, ...] = ()
    count: int = 0  # annotation files that were found
    images: tuple[Path, ...] = ()  # all that were found
    splits: Mapping[Path, str] = field(default_factory=dict)  # ready-made, by image


def pair_files(images: Path, masks: Path, pattern: str | None, kind: Annotations = MASKS) -> Pairs:
    """An image's mask, or what else annotates it, has its stem, or with `pattern`, which has to
    match the whole stem, what its first bracket finds there; it lies in a subfolder of the same
    name, or in none. Without a pattern two images of one mask are an error. Raises `UserError`
    where no image has a mask.
    """
    photos, problems = list_files(images, SUFFIXES, apart=masks)
    files, bad = list_files(masks, kind.suffixes, apart=images)
    files = [file for file in files if file.name.lower() not in kind.others]
    what = kind.what
    by_name: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_name[folded(str(bare(file.relative_to(masks))))].append(file)
    found = {image: _named_alike(image.relative_to(images), pattern, by_name) for image in photos}
    if not any(found.values()):
        raise UserError(_no_pair(images, photos, masks, files, what, pattern))
    holders: dict[Path, list[Path]] = defaultdict(list)
    for image, mine in found.items():
        for file in mine:
            holders[file].append(image)
    problems += [*bad, *(_alone(file, images, what) for file in files if file not in holders)]
    pairs = {}
    for image, mine in found.items():
        if len(mine) > 1:
            problems.append(_two_masks(image, mine, what))
        elif mine and len(holders[mine[0]]) > 1 and pattern is None:
            others = [other for other in holders[mine[0]] if other != image]
            problems.append(_two_images(image, mine[0], others, what))
        elif mine:
            pairs[image] = mine[0]
    unlabelled = tuple(image for image, mine in found.items() if not mine)
    return Pairs(pairs, unlabelled, tuple(problems), len(files), tuple(photos))


def find_pairs(folder: Path, settings: SourceConfig, kind: Annotations) -> tuple[Pairs, Path]:
    """The images of a folder with what annotates them, and the folder that their ids are seen from.
    A split that folders or lists make is kept: images of a val or test without any annotation, and
    those that no list names, are left out. Raises `UserError` where no image has an annotation.
    """
    parts = require_parts(folder, settings, kind)
    if len(parts) > 1:
        return in_parts(parts, settings.mask_pattern, kind), folder
    images, files = parts[0].images, parts[0].files
    assert files is not None
    pairs = pair_files(images, files, settings.mask_pattern, kind)
    ready = folder_splits(pairs.images, images)
    if ready is None and (lists := find_lists(list_folders(folder, parts[0], kind))):
        ready = listed_splits(lists, pairs.images, images, folder)
    return (keep_split(pairs, ready, kind.what) if ready else pairs), images


def keep_split(pairs: Pairs, ready: Ready, what: str) -> Pairs:
    """The pairs that `ready` has a split for; notes say how many images that leaves out. Where only
    train is left, there is no split to be kept.
    """
    bare = without_annotation(ready, set(pairs.images) - {*pairs.unlabelled}, what)
    known = {*ready.splits, *ready.refused}
    unlisted = [image for image in (*pairs.files, *pairs.unlabelled) if image not in known]
    if unlisted:
        note(f"left out {len(unlisted)} images that are in no split, such as {unlisted[0]}")
    kept = {image: split for image, split in ready.splits.items() if image not in bare}
    return replace(
        pairs,
        files={image: file for image, file in pairs.files.items() if image in kept},
        unlabelled=tuple(image for image in pairs.unlabelled if image in kept),
        problems=(*pairs.problems, *ready.problems),
        splits=kept if is_split(kept.values()) else {},
    )


def in_parts(parts: Sequence[Part], pattern: str | None, kind: Annotations) -> Pairs:
    """The pairs of all parts, which are splits."""
    found = [
        pair_files(part.images, part.files, pattern, kind)
        if part.files
        else _unannotated(part.images)
        for part in parts
    ]
    splits = {
        image: part.split
        for part, pairs in zip(parts, found, strict=True)
        for image in pairs.images
        if part.split
    }
    files = {image: file for pairs in found for image, file in pairs.files.items()}
    pairs = Pairs(
        files,
        tuple(image for pairs in found for image in pairs.unlabelled),
        tuple(problem for pairs in found for problem in pairs.problems),
        sum(pairs.count for pairs in found),
        tuple(image for pairs in found for image in pairs.images),
    )
    return keep_split(pairs, Ready(splits), kind.what)


def _unannotated(images: Path) -> Pairs:
    photos, problems = list_files(images, SUFFIXES, apart=images)
    return Pairs({}, tuple(photos), tuple(problems), images=tuple(photos))


def list_files(
    folder: Path, suffixes: Sequence[str], apart: Path
) -> tuple[list[Path], list[Problem]]:
    """The files under the folder with those suffixes, but those under `apart`, and an error for
    each bad name.
    """
    inside = apart != folder and apart.is_relative_to(folder)
    paths = [
        path
        for path in sorted(visible_files(folder))
        if path.suffix.lower() in suffixes and not (inside and path.is_relative_to(apart))
    ]
    good, bad = well_named(paths)
    return good, [bad_name(path) for path in bad]


def _named_alike(image: Path, pattern: str | None, by_name: Mapping[str, list[Path]]) -> list[Path]:
    """The masks of an image, which is named as seen from the images' folder."""
    stem = bare(image).name
    if pattern is not None:
        match = re.fullmatch(pattern, stem)
        if match is None or not match[1]:
            return []
        stem = match[1]
    names = (folded(str(image.parent / stem)), folded(stem))
    return next((by_name[name] for name in names if name in by_name), [])


def _no_pair(
    images: Path,
    photos: Sequence[Path],
    masks: Path,
    files: Sequence[Path],
    what: str,
    pattern: str | None,
) -> str:
    if not photos:
        return f"{images}: no images in it: name another folder with --images"
    if not files:
        return f"{masks}: no {what}s in it: name another folder with --masks"
    cure = "name them alike"
    if pattern is not None:
        cure = f"correct --mask-pattern {pattern}, or give null where they are named alike"
    elif what == "mask":
        cure += r", or give --mask-pattern, as '(.*)_\d+' where 0001.png is the mask of 0001_1.jpg"
    return (
        f"{masks}: no image has a {what}: {len(photos)} images such as {photos[0].name}, "
        f"{len(files)} {what}s such as {files[0].name}: {cure}"
    )


def _alone(file: Path, images: Path, what: str) -> Problem:
    cure = f"put its image there, or delete the {what}"
    if what == "mask":
        cure = "put its image there, delete the mask, or correct --mask-pattern"
    return Problem(file, "error", "photo-missing", f"no image in {images} has this {what}", cure)


def _two_masks(image: Path, masks: Sequence[Path], what: str) -> Problem:
    value = f"it has {len(masks)} {what}s: {', '.join(mask.name for mask in masks)}"
    return Problem(image, "error", "two-masks", value, "delete all but one")


def _two_images(image: Path, mask: Path, others: Sequence[Path], what: str) -> Problem:
    value = f"its {what} {mask.name} is that of {', '.join(map(str, others))} too"
    cure = "delete one image"
    if what == "mask":
        cure += ", or say with --mask-pattern which images share a mask"
    return Problem(image, "error", "two-photos", value, cure)
