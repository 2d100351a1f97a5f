"""Match images with the files that annotate them."""

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
from voc_builder.sources.checks import check_unlabelled
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.listing import (
    bad_name,
    bare,
    files_with,
    folded,
    relative_path,
    unique_ids,
    well_named,
)
from voc_builder.sources.places import MASKS, Annotations, Part, list_folders, require_parts
from voc_builder.sources.ready_splits import (
    Ready,
    find_lists,
    folder_splits,
    is_split,
    listed_splits,
)
from voc_builder.sources.sample import Found, Sample
from voc_builder.tree.split import SPLITS


@dataclass(frozen=True)
class Pairs:
    """Images with their annotation files; a file without an image is named by a problem."""

    files: Mapping[Path, Path] = field(default_factory=dict)  # annotation file by image
    unlabelled: tuple[Path, ...] = ()  # images without a file
    problems: tuple[Problem, ...] = ()
    count: int = 0  # number of annotation files
    images: tuple[Path, ...] = ()  # all images, with or without a file or a problem
    splits: Mapping[Path, str] = field(default_factory=dict)  # ready-made split by image, or {}

    def numbered(self, root: Path, *, empty: bool) -> list[tuple[str, Path, Path | None]]:
        """Id, image and annotation file of every sample, sorted by image; with `empty` also of the
        images without a file. Ids come from the paths relative to `root`.
        """
        images = sorted([*self.files, *(self.unlabelled if empty else ())])
        ids = unique_ids([relative_path(image, root) for image in images])
        return [(one, image, self.files.get(image)) for one, image in zip(ids, images, strict=True)]

    def found(
        self, what: str, classes: tuple[str, ...], samples: Sequence[Sample], *more: Problem
    ) -> Found:
        """The result of a source with these samples, whose annotations are called `what`."""
        return Found(
            classes,
            tuple(samples),
            (*self.problems, *more),
            tuple(check_unlabelled(self.unlabelled, what)),
            self.count,
            {one.id: self.splits[one.path] for one in samples} if self.splits else {},
        )


def find_pairs(folder: Path, settings: SourceConfig, kind: Annotations) -> tuple[Pairs, Path]:
    """The images of a folder with their annotation files, and the folder that ids are relative to.
    A ready-made split is kept, see `keep_split`. Raises `UserError` if no image has a file.
    """
    parts = require_parts(folder, settings, kind)
    if len(parts) > 1:
        return pair_parts(parts, settings.mask_pattern, kind), folder
    images, files = parts[0].images, parts[0].files
    assert files is not None
    pairs = pair_files(images, files, settings.mask_pattern, kind)
    ready = folder_splits(pairs.images, images)
    if ready is None and (lists := find_lists(list_folders(folder, parts[0], kind))):
        ready = listed_splits(lists, pairs.images, images, folder)
    return (keep_split(pairs, ready, kind.what) if ready else pairs), images


def pair_parts(parts: Sequence[Part], pattern: str | None, kind: Annotations) -> Pairs:
    """The pairs of all parts, each of which is a split."""
    found = [pair_files(part.images, part.files, pattern, kind) for part in parts]
    both = list(zip(parts, found, strict=True))
    splits = {image: part.split for part, one in both for image in one.images if part.split}
    pairs = Pairs(
        {image: file for one in found for image, file in one.files.items()},
        tuple(image for one in found for image in one.unlabelled),
        tuple(problem for one in found for problem in one.problems),
        sum(one.count for one in found),
        tuple(image for one in found for image in one.images),
    )
    return keep_split(pairs, Ready(splits), kind.what)


def keep_split(pairs: Pairs, ready: Ready, what: str) -> Pairs:
    """The pairs that have a split in `ready`. A val or test in which no image has a `what` is left
    out, and so are images without a split; a note gives their number. If only train is left, the
    result has no split.
    """
    unlabelled = {*pairs.unlabelled}
    left_out: set[Path] = set()
    for split in SPLITS[1:]:
        images = {image for image, where in ready.splits.items() if where == split}
        if images and images <= unlabelled:
            note(f"left out {len(images)} {split} images, none of which has a {what}")
            left_out |= images
    known = {*ready.splits, *ready.refused}
    unlisted = [image for image in (*pairs.files, *pairs.unlabelled) if image not in known]
    if unlisted:
        note(f"left out {len(unlisted)} images that are in no split, such as {unlisted[0]}")
    kept = {image: split for image, split in ready.splits.items() if image not in left_out}
    return replace(
        pairs,
        files={image: file for image, file in pairs.files.items() if image in kept},
        unlabelled=tuple(image for image in pairs.unlabelled if image in kept),
        problems=(*pairs.problems, *ready.problems),
        splits=kept if is_split(kept.values()) else {},
    )


def pair_files(
    images_folder: Path, folder: Path | None, pattern: str | None, kind: Annotations = MASKS
) -> Pairs:
    """The images under `images_folder` with their annotation files under `folder` (None: without
    any). A file has the stem of its image, or with `pattern`, which must match the whole stem, what
    its first group matches; it is in a subfolder of the same name or in none. Without a pattern two
    images with one file are an error. Raises `UserError` if no image has a file.
    """
    images, problems = list_files(images_folder, SUFFIXES, apart=folder)
    if folder is None:
        return Pairs({}, tuple(images), tuple(problems), images=tuple(images))
    files, misnamed = list_files(folder, kind.suffixes, apart=images_folder)
    files = [file for file in files if file.name.lower() not in kind.others]
    by_name: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        by_name[folded(str(bare(file.relative_to(folder))))].append(file)
    found = {
        image: _files_of(image.relative_to(images_folder), pattern, by_name) for image in images
    }
    if not any(found.values()):
        raise UserError(_no_pair(images_folder, images, folder, files, kind.what, pattern))
    images_of: dict[Path, list[Path]] = defaultdict(list)
    for image, mine in found.items():
        for file in mine:
            images_of[file].append(image)
    unused = [file for file in files if file not in images_of]
    problems += [*misnamed, *(_no_image(file, images_folder, kind.what) for file in unused)]
    pairs = {}
    for image, mine in found.items():
        if len(mine) > 1:
            problems.append(_two_files(image, mine, kind.what))
        elif mine and len(images_of[mine[0]]) > 1 and pattern is None:
            problems.append(_two_images(image, mine[0], images_of[mine[0]], kind.what))
        elif mine:
            pairs[image] = mine[0]
    unlabelled = tuple(image for image, mine in found.items() if not mine)
    return Pairs(pairs, unlabelled, tuple(problems), len(files), tuple(images))


def list_files(
    folder: Path, suffixes: Sequence[str], apart: Path | None
) -> tuple[list[Path], list[Problem]]:
    """The files under the folder with those suffixes, except under a subfolder `apart`, and an
    error for each bad name.
    """
    paths = files_with(folder, suffixes)
    if apart is not None and apart != folder and apart.is_relative_to(folder):
        paths = [path for path in paths if not path.is_relative_to(apart)]
    good, bad = well_named(paths)
    return good, [bad_name(path) for path in bad]


def _files_of(image: Path, pattern: str | None, by_name: Mapping[str, list[Path]]) -> list[Path]:
    """The annotation files of an image, given by its path relative to the images' folder."""
    stem = bare(image).name
    if pattern is not None:
        match = re.fullmatch(pattern, stem)
        if match is None or not match[1]:
            return []
        stem = match[1]
    names = (folded(str(image.parent / stem)), folded(stem))
    return next((by_name[name] for name in names if name in by_name), [])


def _no_pair(
    images_folder: Path,
    images: Sequence[Path],
    folder: Path,
    files: Sequence[Path],
    what: str,
    pattern: str | None,
) -> str:
    if not images:
        return f"{images_folder}: no images in it: name another folder with --images"
    if not files:
        return f"{folder}: no {what}s in it: name another folder with --masks"
    cure = "give both the same names"
    if pattern is not None:
        cure = f"correct --mask-pattern {pattern}, or give null if both have the same names"
    elif what == "mask":
        cure += r", or give --mask-pattern, as '(.*)_\d+' if 0001.png is the mask of 0001_1.jpg"
    return (
        f"{folder}: no image has a {what}: {len(images)} images such as {images[0].name}, "
        f"{len(files)} {what}s such as {files[0].name}: {cure}"
    )


def _no_image(file: Path, images_folder: Path, what: str) -> Problem:
    cure = f"put its image there, or delete the {what}"
    if what == "mask":
        cure = "put its image there, delete the mask, or correct --mask-pattern"
    value = f"no image in {images_folder} has this {what}"
    return Problem(file, "error", "photo-missing", value, cure)


def _two_files(image: Path, files: Sequence[Path], what: str) -> Problem:
    value = f"it has {len(files)} {what}s: {', '.join(file.name for file in files)}"
    return Problem(image, "error", "two-masks", value, "delete all but one")


def _two_images(image: Path, file: Path, images: Sequence[Path], what: str) -> Problem:
    others = ", ".join(str(other) for other in images if other != image)
    cure = "delete one image"
    if what == "mask":
        cure += ", or give --mask-pattern if several images share a mask"
    value = f"its {what} {file.name} is also that of {others}"
    return Problem(image, "error", "two-photos", value, cure)
