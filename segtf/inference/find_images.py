"""Find the images that a command line names and give each an id of its own."""

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


def find_images(images: Sequence[Path], *, leave_out: Sequence[Path] = ()) -> list[Path]:
    """The images that `images` name, in their order, none twice.

    Each is a file (taken whatever its suffix), a folder (searched with all its subfolders for
    files of `SUFFIXES`) or a glob pattern (likewise; `**` goes through subfolders). Hidden files
    and what lies in the folders `leave_out` are passed over in folders and patterns. Raises
    `UserError` naming every one of `images` that brings no image.
    """
    found = {image: list(_images_of(image, leave_out)) for image in images}
    barren = [str(image) for image, photos in found.items() if not photos]
    if barren:
        raise UserError(
            f"no images at {', '.join(barren)}: name images, folders or quoted patterns of "
            f"{', '.join(SUFFIXES)} files"
        )
    unique = {photo.resolve(): photo for photos in found.values() for photo in photos}
    return list(unique.values())


def _images_of(image: Path, leave_out: Sequence[Path]) -> Iterator[Path]:
    """The images of one argument, those of a folder or a pattern sorted."""
    if image.is_file():
        yield image
        return
    if image.is_dir():
        paths = list(visible_files(image))
    else:  # glob passes hidden files over by itself, Path.glob does not
        paths = [Path(name) for name in glob.glob(str(image), recursive=True)]  # noqa: PTH207
    for path in sorted(paths):
        left_out = any(folder.absolute() in path.absolute().parents for folder in leave_out)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not left_out:
            yield path


def folder_of(image: Path) -> Path:
    """The absolute folder of an image, without `..`; links are left as they are."""
    return Path(os.path.abspath(image)).parent  # noqa: PTH100  Path.absolute() keeps `..`


def shared_folder(images: Sequence[Path]) -> Path | None:
    """The lowest folder that all images lie under; None where they lie on several drives."""
    folders = [folder_of(image) for image in images]
    one_drive = len({folder.drive for folder in folders}) == 1
    return Path(os.path.commonpath(folders)) if one_drive else None


def image_ids(images: Sequence[Path]) -> list[str]:
    """An id for each image, no two alike even where case does not count: the stem; for stems that
    occur more than once with the folders in front in which they differ, then the suffix, then a
    number.
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
    """Ids for one of several images of the same stem, all under the folder `shared`; the shortest
    first, without end.
    """
    name = "_".join([*folder_of(image).relative_to(shared).parts, image.stem])
    yield name
    name += image.suffix.replace(".", "_")
    yield name
    for number in itertools.count(2):
        yield f"{name}_{number}"
