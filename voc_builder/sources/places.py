"""Find the folders of images and of their annotations by their names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.classes import FILES
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.listing import bare, visible_entries, visible_files
from voc_builder.sources.mask_files import SUFFIXES as MASK_SUFFIXES
from voc_builder.sources.ready_splits import SPLIT_NAMES, split_named

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "JPEGImages")  # in any case
LISTS = tuple(f"{name}.txt" for name in (*SPLIT_NAMES, "trainval"))


@dataclass(frozen=True)
class Annotations:
    """What files annotate images one by one, and where they usually lie."""

    what: str  # one of them, in a message
    suffixes: tuple[str, ...]
    folders: tuple[str, ...]  # in any case
    endings: tuple[str, ...] = ()  # of the name of their folder, behind that of the images' split
    beside: bool = False  # or in the folder of the images
    image_sets: str = "Segmentation"  # folder of lists in a VOC tree
    others: tuple[str, ...] = ()  # files of these suffixes that annotate no image


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
    """A folder of images and that of their annotations, None where they have none; `split` where
    the folder's name says it.
    """

    images: Path
    files: Path | None
    split: str | None = None


def require_parts(folder: Path, settings: SourceConfig, kind: Annotations) -> list[Part]:
    """The parts of a data set. Raises `UserError` where there are none."""
    parts = find_parts(folder, settings, kind)
    if not parts:
        beside = f", or images with a {kind.what} beside each" if kind.beside else ""
        raise UserError(
            f"{folder}: no folders of images and {kind.what}s in it, called {IMAGE_FOLDERS[0]} and "
            f"{kind.folders[0]} for example{beside}: name them with --images and --masks"
        )
    return parts


def find_parts(folder: Path, settings: SourceConfig, kind: Annotations) -> list[Part]:
    """The folders of images and annotations that are named or have the usual names, those of ready
    splits, or the folder itself for both; [] where there are none.
    """
    places: list[Path | None] = []
    named = (settings.images, settings.masks)
    for inside, usual, suffixes, flag in (
        (settings.images, IMAGE_FOLDERS, SUFFIXES, "--images"),
        (settings.masks, kind.folders, kind.suffixes, "--masks"),
    ):
        if inside is not None:
            places.append(_named(folder, inside, flag))
        else:
            places.append(_usual(folder, usual, suffixes, flag, wanted=any(named)))
    images, files = places
    if images and files:
        if images.resolve() == files.resolve() and not kind.beside:
            raise UserError(f"{images}: both images and {kind.what}s: keep them in two folders")
        return [Part(images, _inner(files, images, kind.suffixes))]
    parts = _split_parts(folder, kind)
    if any(part.split == "train" and part.files for part in parts):
        return parts
    if kind.beside and _beside(folder, kind):
        return [Part(folder, folder)]
    return []


def list_folders(folder: Path, part: Part, kind: Annotations) -> list[Path]:
    """Where the lists of a split may lie: in a VOC tree, with the annotations or above them."""
    files = part.files or folder
    above = [path for path in (files, *files.parents) if path.is_relative_to(folder)]
    return [folder / "ImageSets" / kind.image_sets, *above, folder]


def _named(folder: Path, inside: Path, flag: str) -> Path:
    if not (folder / inside).is_dir():
        raise UserError(f"{folder / inside}: no such folder: {flag} is seen from {folder}")
    return folder / inside


def _usual(
    folder: Path, usual: Sequence[str], suffixes: Sequence[str], flag: str, *, wanted: bool = False
) -> Path | None:
    """The one folder of a usual name with such files. Raises `UserError` where there are more, and
    where there is none that is `wanted`.
    """
    found = [path for path in _called(folder, usual) if holds(path, suffixes)]
    if len(found) > 1 or (wanted and not found):
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
        names = [f"{path.name}{mark}{end}" for mark in ("_", "-", "") for end in kind.endings]
        inside = _usual(path, IMAGE_FOLDERS, SUFFIXES, "--images")
        images = inside or path
        files = _usual(
            path if inside else folder, kind.folders if inside else names, kind.suffixes, "--masks"
        )
        if files is None and kind.beside and _beside(images, kind):
            files = images
        if files or holds(images, SUFFIXES):
            parts.append(Part(images, files, split))
    return parts


def _beside(folder: Path, kind: Annotations) -> bool:
    """Whether an image in the folder has a file beside it that may annotate it."""
    files = list(visible_files(folder))
    images = {bare(path) for path in files if path.suffix.lower() in SUFFIXES}
    return any(
        path.suffix.lower() in kind.suffixes
        and path.name.lower() not in kind.others
        and bare(path) in images
        for path in files
    )


def _inner(folder: Path, images: Path, suffixes: Sequence[str]) -> Path:
    """The one subfolder that holds all the files, as `annotations/trimaps` does, unless the images
    have one of its name.
    """
    if any(path.suffix.lower() in suffixes for path, _ in visible_entries(folder)):
        return folder
    inner = [path for path in _folders(folder) if holds(path, suffixes)]
    if len(inner) != 1 or (images / inner[0].name).is_dir():
        return folder
    return inner[0]


def _called(folder: Path, names: Sequence[str]) -> list[Path]:
    """The folders in it that have one of the names."""
    wanted = {name.lower() for name in names}
    return [path for path in _folders(folder) if path.name.lower() in wanted]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path, is_folder in visible_entries(folder) if is_folder)


def holds(folder: Path, suffixes: Sequence[str]) -> bool:
    """Whether a file with one of the suffixes lies under the folder."""
    return any(path.suffix.lower() in suffixes for path in visible_files(folder))
