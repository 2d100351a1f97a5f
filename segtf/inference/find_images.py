"""Find the photos that a command line names and give each an id of its own."""

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


def find_photos(images: Sequence[Path], *, leave_out: Sequence[Path] = ()) -> list[Path]:
    """The photos that `images` name, in their order, none twice.

    Each is a file (taken whatever its suffix), a folder (searched with all its subfolders for
    files of `SUFFIXES`) or a glob pattern (likewise; `**` goes through subfolders). Hidden files
    and what lies in the folders `leave_out` are passed over in folders and patterns. Raises
    `UserError` naming every one of `images` that brings no photo.
    """
    found = {image: list(_photos_of(image, leave_out)) for image in images}
    barren = [str(image) for image, photos in found.items() if not photos]
    if barren:
        raise UserError(
            f"no photos at {', '.join(barren)}: name photos, folders or quoted patterns of "
            f"{', '.join(SUFFIXES)} files"
        )
    unique = {photo.resolve(): photo for photos in found.values() for photo in photos}
    return list(unique.values())


def _photos_of(image: Path, leave_out: Sequence[Path]) -> Iterator[Path]:
    """The photos of one argument, those of a folder or a pattern sorted."""
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


def folder_of(photo: Path) -> Path:
    """The absolute folder of a photo, without `..`; links are left as they are."""
    return Path(os.path.abspath(photo)).parent  # noqa: PTH100  Path.absolute() keeps `..`


def shared_folder(photos: Sequence[Path]) -> Path | None:
    """The lowest folder that all photos lie under; None where they lie on several drives."""
    folders = [folder_of(photo) for photo in photos]
    one_drive = len({folder.drive for folder in folders}) == 1
    return Path(os.path.commonpath(folders)) if one_drive else None


def photo_ids(photos: Sequence[Path]) -> list[str]:
    """An id for each photo, no two alike even where case does not count: the stem; for stems that
    occur more than once with the folders in front in which they differ, then the suffix, then a
    number.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for photo in photos:
        groups[photo.stem.casefold()].append(photo)
    shared = {
        stem: os.path.commonpath([folder_of(photo) for photo in alike])
        for stem, alike in groups.items()
    }
    taken = {stem for stem, alike in groups.items() if len(alike) == 1}
    ids = []
    for photo in photos:
        stem = photo.stem.casefold()
        if len(groups[stem]) == 1:
            ids.append(photo.stem)
            continue
        longer = _longer_ids(photo, shared[stem])
        ids.append(next(name for name in longer if name.casefold() not in taken))
        taken.add(ids[-1].casefold())
    return ids


def _longer_ids(photo: Path, shared: str) -> Iterator[str]:
    """Ids for one of several photos of the same stem, all under the folder `shared`; the shortest
    first, without end.
    """
    name = "_".join([*folder_of(photo).relative_to(shared).parts, photo.stem])
    yield name
    name += photo.suffix.replace(".", "_")
    yield name
    for number in itertools.count(2):
        yield f"{name}_{number}"
