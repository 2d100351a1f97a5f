"""Find the images that a command line names, and give each a unique id."""

from __future__ import annotations

import glob
import itertools
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.listing import visible_files


def find_images(places: Sequence[Path], *, leave_out: Sequence[Path] = ()) -> list[Path]:
    """The images of all `places`, in their order, without duplicates.

    A place is a file (of any suffix), a folder (searched with all its subfolders for files of
    `SUFFIXES`) or a glob pattern (likewise; `**` matches subfolders). Folders and patterns skip
    hidden files and the folders `leave_out`. Raises `UserError` naming every place without images.
    """
    found = {place: list(_images_of(place, leave_out)) for place in places}
    empty = [str(place) for place, images in found.items() if not images]
    if empty:
        raise UserError(
            f"no images at {', '.join(empty)}: name images, folders or quoted patterns of "
            f"{', '.join(SUFFIXES)} files"
        )
    unique = {image.resolve(): image for images in found.values() for image in images}
    return list(unique.values())


def _images_of(place: Path, leave_out: Sequence[Path]) -> Iterator[Path]:
    """The images of one place, those of a folder or a pattern sorted."""
    if place.is_file():
        yield place
        return
    if place.is_dir():
        paths = list(visible_files(place))
    else:  # glob skips hidden files, Path.glob does not
        paths = [Path(name) for name in glob.glob(str(place), recursive=True)]  # noqa: PTH207
    for path in sorted(paths):
        left_out = any(folder.absolute() in path.absolute().parents for folder in leave_out)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not left_out:
            yield path


def folder_of(image: Path) -> Path:
    """The absolute folder of an image, without `..`; links are left as they are."""
    return Path(os.path.abspath(image)).parent  # noqa: PTH100  Path.absolute() keeps `..`


def shared_folder(images: Sequence[Path]) -> Path | None:
    """The lowest folder above all images; None if they are on several drives."""
    folders = [folder_of(image) for image in images]
    one_drive = len({folder.drive for folder in folders}) == 1
    return Path(os.path.commonpath(folders)) if one_drive else None


def image_ids(images: Sequence[Path]) -> list[str]:
    """A unique id for each image, ignoring case: the stem; where stems are equal, with the folders
    in which they differ in front, then the suffix, then a number behind.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        groups[image.stem.casefold()].append(image)
    shared = {
        stem: os.path.commonpath([folder_of(image) for image in alike])
        for stem, alike in groups.items()
    }
    taken = {stem for stem, alike in groups.items() if len(alike) == 1}
    ids = []
    for image in images:
        stem = image.stem.casefold()
        if len(groups[stem]) == 1:
            ids.append(image.stem)
            continue
        longer = _longer_ids(image, shared[stem])
        ids.append(next(name for name in longer if name.casefold() not in taken))
        taken.add(ids[-1].casefold())
    return ids


def _longer_ids(image: Path, shared: str) -> Iterator[str]:
    """Endless ids for one of several images of the same stem under the folder `shared`, the
    shortest first.
    """
    name = "_".join([*folder_of(image).relative_to(shared).parts, image.stem])
    yield name
    name += image.suffix.replace(".", "_")
    yield name
    for number in itertools.count(2):
        yield f"{name}_{number}"
