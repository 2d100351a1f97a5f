"""Read the split that images come with: from the names of folders, or from lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.base.problems import Problem
from voc_builder.base.progress import note
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.listing import bare, folded
from voc_builder.tree.split import SPLITS

SPLIT_NAMES = {  # in any case
    **{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
Lists = Mapping[str, Path]  # file by split


@dataclass(frozen=True)
class Ready:
    """The split that images came with."""

    splits: Mapping[Path, str]  # by image; one in none is not part of the data set
    problems: tuple[Problem, ...] = ()
    refused: frozenset[Path] = frozenset()  # images that a problem is about


def split_named(name: str) -> str | None:
    """The split that a folder, a list or a word in a table names."""
    return SPLIT_NAMES.get(name.strip().lower())


def is_split(splits: Iterable[str]) -> bool:
    """Whether these are enough of a split to be kept: train and one to measure on."""
    found = set(splits)
    return "train" in found and bool(found & {"val", "test"})


def folder_splits(photos: Sequence[Path], images: Path) -> Ready | None:
    """The split of each image by the first folder under `images` that it lies in; None where that
    is no split.
    """
    splits = {}
    for image in photos:
        inside = image.relative_to(images)
        split = split_named(inside.parts[0]) if len(inside.parts) > 1 else None
        if split is None:
            return None
        splits[image] = split
    return Ready(splits) if is_split(splits.values()) else None


def find_lists(folders: Sequence[Path]) -> Lists:
    """The lists of the first folder that has them: train.txt, or trainval.txt in place of it and of
    val.txt, and val.txt or test.txt; {} where none has.
    """
    for folder in folders:
        lists: dict[str, Path] = {}
        files = sorted(folder.glob("*.txt")) if folder.is_dir() else []
        for file in files:
            if split := split_named(file.stem):
                lists.setdefault(split, file)
        both = folder / "trainval.txt"
        if "train" not in lists and both.is_file():
            lists = {"train": both, **{k: v for k, v in lists.items() if k == "test"}}
        if is_split(lists):
            return lists
    return {}


def listed_splits(lists: Lists, photos: Sequence[Path], images: Path, base: Path) -> Ready:
    """The split of each image that the lists name: a line is, or begins with, the stem or path of
    one, seen from `images` or from `base`. A line that names none is an error, as is an image in
    two lists.
    """
    known = _by_name(photos, images, base)
    places: dict[Path, list[tuple[str, str]]] = defaultdict(list)  # split and place, by image
    problems = []
    for split, file in lists.items():
        for number, line in _lines(file):
            found = _find(line, known)
            if len(found) == 1:
                places[found[0]].append((split, f"line {number} of {file.name}"))
            else:
                problems.append(_wrong_line(file, number, line, found, images))
    splits, refused = {}, set()
    for image, named in places.items():
        if len({split for split, _ in named}) > 1:
            problems.append(in_two_splits(image, [place for _, place in named]))
            refused.add(image)
        else:
            splits[image] = named[0][0]
    return Ready(splits, tuple(problems), frozenset(refused))


def in_two_splits(image: Path, places: Sequence[str]) -> Problem:
    """An error for an image that `places` name for several splits."""
    value = f"it is in several splits: {', '.join(places)}"
    return Problem(image, "error", "two-splits", value, "leave it in one")


def without_annotation(ready: Ready, annotated: Iterable[Path], what: str) -> set[Path]:
    """The images of a val or test of which none has a `what`, which are not part of the data set;
    a note says how many.
    """
    has = {ready.splits[image] for image in annotated if image in ready.splits}
    left: set[Path] = set()
    for split in SPLITS[1:]:
        images = {image for image, where in ready.splits.items() if where == split}
        if images and split not in has:
            note(f"left out {len(images)} {split} images, none of which has a {what}")
            left |= images
    return left


def _by_name(photos: Sequence[Path], images: Path, base: Path) -> dict[str, list[Path]]:
    known: dict[str, list[Path]] = defaultdict(list)
    for image in photos:
        inside = [image.relative_to(root) for root in (images, base) if image.is_relative_to(root)]
        for name in {folded(bare(path).as_posix()) for path in [*inside, Path(image.name)]}:
            known[name].append(image)
    return known


def _find(line: str, known: Mapping[str, list[Path]]) -> list[Path]:
    """The images that a line may name: all of it or its first word, as a path or by its stem."""
    for text in (line, line.split()[0]):
        path = Path(text.replace("\\", "/"))
        if path.suffix.lower() in SUFFIXES:
            path = bare(path)
        for name in (path.as_posix(), path.name):
            if found := known.get(folded(name)):
                return found
    return []


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a list with their numbers from 1, empty ones left out."""
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read as a list of images ({error})") from None
    yield from ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())


def _wrong_line(file: Path, number: int, line: str, found: Sequence[Path], images: Path) -> Problem:
    if found:
        value = f"line {number}, {line!r}, may be any of {', '.join(map(str, found))}"
        return Problem(file, "error", "split-unclear", value, "name it with its folder")
    value = f"line {number} names {line!r}, which is no image in {images}"
    return Problem(file, "error", "split-missing", value, "put the image there, or delete the line")
