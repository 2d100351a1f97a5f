"""Find out what kind of annotations a folder holds, and read them as samples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voc_builder.classes import FILES
from voc_builder.errors import UserError
from voc_builder.images import SUFFIXES
from voc_builder.labelme import read_annotation
from voc_builder.labelme_folder import find_labelme, find_labelme_set
from voc_builder.listing import visible_files
from voc_builder.mask_files import SUFFIXES as MASK_SUFFIXES
from voc_builder.mask_folders import find_mask_set
from voc_builder.problems import AnnotationError
from voc_builder.sample import Found

Source = Literal["auto", "labelme", "masks"]
IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "JPEGImages")  # in any case
MASK_FOLDERS = ("masks", "mask", "annotations", "SegmentationClass")


@dataclass(frozen=True)
class Place:
    """Where annotated photos lie, and in what form."""

    folder: Path
    source: Source = "auto"
    images: Path | None = None  # folder of the photos of masks, seen from `folder`
    masks: Path | None = None
    mask_pattern: str | None = None  # its first bracket finds the mask's stem in that of a photo


def find_samples(place: Place, classes: Path | None, *, empty: bool) -> Found:
    """All that is annotated at the place, by the class names of the file `classes` (default: one in
    the folder); with `empty` a photo without annotation is a sample too. Raises `UserError` for a
    folder that holds nothing of its kind.
    """
    if choose_source(place) == "labelme":
        return find_labelme_set(place.folder, classes, empty=empty)
    images, masks = _mask_folders(place)
    pattern = place.mask_pattern
    return find_mask_set(place.folder, images, masks, pattern=pattern, classes=classes, empty=empty)


def files_of(place: Place) -> list[Path]:
    """Every file that decides what `find_samples` finds, sorted."""
    found = [place.folder / name for name in FILES if (place.folder / name).is_file()]
    if choose_source(place) == "labelme":
        found += _with_suffix(place.folder, (".json", *SUFFIXES))
        found += [one.photo for one in find_labelme(place.folder).annotations if one.photo]
    else:
        for folder in _mask_folders(place):
            found += _with_suffix(folder, (*SUFFIXES, *MASK_SUFFIXES))
    return sorted(set(found))


def choose_source(place: Place) -> Literal["labelme", "masks"]:
    """The source that the place names, else the one of what lies in the folder. Raises `UserError`
    where that is neither or both, and for settings that are not of the source.
    """
    if not place.folder.is_dir():
        raise UserError(f"{place.folder}: no such folder: name the folder of annotated photos")
    given = [
        f"--{name.replace('_', '-')}"
        for name in ("images", "masks", "mask_pattern")
        if getattr(place, name) is not None
    ]
    if place.source == "labelme" and given:
        raise UserError(f"{', '.join(given)}: of --source masks alone: give that, or leave it out")
    _refuse_pattern(place.mask_pattern)
    if place.source != "auto":
        return place.source
    return "masks" if given else _detect(place.folder)


def _detect(folder: Path) -> Literal["labelme", "masks"]:
    files = list(visible_files(folder))
    json = sorted(path for path in files if path.suffix.lower() == ".json")
    pictured = {path for path in _named(folder, MASK_FOLDERS) if _with_suffix(path, MASK_SUFFIXES)}
    paired = bool(pictured and _named(folder, IMAGE_FOLDERS))
    if paired and (annotated := next(filter(_is_labelme, json), None)):
        raise UserError(
            f"{folder}: both masks ({', '.join(sorted(path.name for path in pictured))}) and "
            f"labelme JSON ({annotated.relative_to(folder)}) in it: choose with --source"
        )
    if not paired and not json:
        raise UserError(
            f"{folder}: neither labelme JSON nor folders of images and masks in it, called "
            f"{IMAGE_FOLDERS[0]} and {MASK_FOLDERS[0]} for example: name another folder, or those "
            f"two with --images and --masks"
        )
    return "masks" if paired else "labelme"


def _mask_folders(place: Place) -> tuple[Path, Path]:
    """The folders of images and of masks, as named or found by their usual names."""
    images = _one_folder(place.folder, place.images, IMAGE_FOLDERS, "--images")
    masks = _one_folder(place.folder, place.masks, MASK_FOLDERS, "--masks")
    if images.resolve() == masks.resolve():
        raise UserError(f"{images}: both images and masks: keep them in two folders")
    return images, masks


def _one_folder(folder: Path, named: Path | None, usual: Sequence[str], flag: str) -> Path:
    if named is not None:
        if not (folder / named).is_dir():
            raise UserError(f"{folder / named}: no such folder: {flag} is seen from {folder}")
        return folder / named
    found = _named(folder, usual)
    if len(found) != 1:
        several = f"several of {', '.join(path.name for path in found)}" if found else "none"
        raise UserError(
            f"{folder}: {several} in it of the names {', '.join(usual)}: name the folder with "
            f"{flag}"
        )
    return found[0]


def _named(folder: Path, names: Sequence[str]) -> list[Path]:
    """The folders in it that have one of the names."""
    wanted = {name.lower() for name in names}
    return sorted(
        path for path in folder.iterdir() if path.name.lower() in wanted and path.is_dir()
    )


def _with_suffix(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return [path for path in visible_files(folder) if path.suffix.lower() in suffixes]


def _is_labelme(path: Path) -> bool:
    try:
        read_annotation(path)
    except AnnotationError:
        return False
    return True


def _refuse_pattern(pattern: str | None) -> None:
    if pattern is None:
        return
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise UserError(f"--mask-pattern is no regular expression ({error}): {pattern}") from None
    if not groups:
        raise UserError(
            f"--mask-pattern has no bracket to find the mask's stem, as '(.*)_\\d+' has. "
            f"Received: {pattern}"
        )
