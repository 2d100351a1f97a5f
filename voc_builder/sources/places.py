"""Find the folders of images and of their annotations by their usual names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.classes import FILES
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.listing import bare, files_with, visible_entries
from voc_builder.sources.mask_files import SUFFIXES as MASK_SUFFIXES
from voc_builder.sources.ready_splits import SPLIT_NAMES, split_named

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "JPEGImages")  # in any case
LISTS = tuple(f"{name}.txt" for name in (*SPLIT_NAMES, "trainval"))


@dataclass(frozen=True)
class Annotations:
    """A kind of files that annotate one image each, and where they usually are."""

    what: str  # what messages call one of them
    suffixes: tuple[str, ...]
    folders: tuple[str, ...]  # usual names, in any case
    endings: tuple[str, ...] = ()  # of a split's folder of files: `train_mask` beside `train`
    beside: bool = False  # they may also be in the folder of the images
    image_sets: str = "Segmentation"  # folder of lists in a VOC tree
    others: tuple[str, ...] = ()  # names of files with these suffixes that annotate no image


MASKS = Annotations(
    "mask",
    MASK_SUFFIXES,
    ("masks", "mask", "annotations", "labels", "SegmentationClass"),
    ("mask", "masks", "label", "labels", "annotation", "annotations", "annot"),
)
BOXES = Annotations(
    "box file", (".xml",), ("annotations", "xml", "xmls"), beside=True, image_sets="Main"
)
LABELS = Annotations("label file", (".txt",), ("labels",), beside=True, others=(*FILES, *LISTS))


@dataclass(frozen=True)
class Part:
    """A folder of images, the folder of their annotation files (None: they have none), and the
    split that the folder's name says, if any.
    """

    images: Path
    files: Path | None
    split: str | None = None


def require_parts(folder: Path, settings: SourceConfig, kind: Annotations) -> list[Part]:
    """As `find_parts`. Raises `UserError` if there are none."""
    parts = find_parts(folder, settings, kind)
    if not parts:
        beside = f", or images with a {kind.what} beside each" if kind.beside else ""
        raise UserError(
            f"{folder}: no folders of images and {kind.what}s in it, called {IMAGE_FOLDERS[0]} and "
            f"{kind.folders[0]} for example{beside}: name them with --images and --masks"
        )
    return parts


def find_parts(folder: Path, settings: SourceConfig, kind: Annotations) -> list[Part]:
    """The folders of images and annotations: those of the settings, else those with usual names,
    else those of ready-made splits, else the folder itself for both; [] if there are none.
    """
    named = settings.images is not None or settings.masks is not None
    images = _find(folder, settings.images, IMAGE_FOLDERS, SUFFIXES, "--images", required=named)
    files = _find(folder, settings.masks, kind.folders, kind.suffixes, "--masks", required=named)
    if images and files:
        if images.resolve() == files.resolve() and not kind.beside:
            raise UserError(f"{images}: both images and {kind.what}s: keep them in two folders")
        return [Part(images, _inner_folder(files, images, kind.suffixes))]
    parts = _split_parts(folder, kind)
    if any(part.split == "train" and part.files for part in parts):
        return parts
    if kind.beside and _annotated_beside(folder, kind):
        return [Part(folder, folder)]
    return []


def list_folders(folder: Path, part: Part, kind: Annotations) -> list[Path]:
    """Where lists of splits may be: as in a VOC tree, with the annotations, or above them."""
    files = part.files or folder
    above = [path for path in (files, *files.parents) if path.is_relative_to(folder)]
    return [folder / "ImageSets" / kind.image_sets, *above, folder]


def _find(
    folder: Path,
    named: Path | None,
    usual: Sequence[str],
    suffixes: Sequence[str],
    flag: str,
    *,
    required: bool = False,
) -> Path | None:
    """The folder that is named, else the one with a usual name and files with the suffixes. Raises
    `UserError` if the first does not exist, for several of the second, and for none if `required`.
    """
    if named is not None:
        if not (folder / named).is_dir():
            raise UserError(f"{folder / named}: no such folder: {flag} is relative to {folder}")
        return folder / named
    names = {name.lower() for name in usual}
    found = [p for p in _folders(folder) if p.name.lower() in names and files_with(p, suffixes)]
    if len(found) > 1 or (required and not found):
        several = f"several of {', '.join(path.name for path in found)}" if found else "none"
        raise UserError(
            f"{folder}: {several} in it of the names {', '.join(usual)}: name the folder with "
            f"{flag}"
        )
    return found[0] if found else None


def _split_parts(folder: Path, kind: Annotations) -> list[Part]:
    """`train` and `train_mask`, or `train/images` and `train/masks`, of every split."""
    parts = []
    for path in _folders(folder):
        if (split := split_named(path.name)) is None:
            continue
        inside = _find(path, None, IMAGE_FOLDERS, SUFFIXES, "--images")
        images = inside or path
        if inside:
            files = _find(path, None, kind.folders, kind.suffixes, "--masks")
        else:
            names = [f"{path.name}{mark}{end}" for mark in ("_", "-", "") for end in kind.endings]
            files = _find(folder, None, names, kind.suffixes, "--masks")
        if files is None and kind.beside and _annotated_beside(images, kind):
            files = images
        if files or files_with(images, SUFFIXES):
            parts.append(Part(images, files, split))
    return parts


def _annotated_beside(folder: Path, kind: Annotations) -> bool:
    """Whether an image in the folder has a file beside it that may annotate it."""
    images = {bare(path) for path in files_with(folder, SUFFIXES)}
    files = files_with(folder, kind.suffixes)
    return any(path.name.lower() not in kind.others and bare(path) in images for path in files)


def _inner_folder(folder: Path, images: Path, suffixes: Sequence[str]) -> Path:
    """The only subfolder with all the files, as in `annotations/trimaps`, unless the images have a
    subfolder of that name; else the folder itself.
    """
    if any(path.suffix.lower() in suffixes for path, _ in visible_entries(folder)):
        return folder
    inner = [path for path in _folders(folder) if files_with(path, suffixes)]
    if len(inner) != 1 or (images / inner[0].name).is_dir():
        return folder
    return inner[0]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path, is_folder in visible_entries(folder) if is_folder)
