"""Read a ready-made split: from the names of folders, or from lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.files import read_lines
from voc_builder.base.problems import Problem
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.listing import bare, folded

SPLIT_NAMES = {  # in any case
    **{"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
Lists = Mapping[str, Path]  # file by split


@dataclass(frozen=True)
class Ready:
    """A ready-made split."""

    splits: Mapping[Path, str]  # by image; an image without one is not part of the data set
    problems: tuple[Problem, ...] = ()
    refused: frozenset[Path] = frozenset()  # images with a problem


def split_named(name: str) -> str | None:
    """The split of a folder, a list or a cell of a table by its name."""
    return SPLIT_NAMES.get(name.strip().lower())


def is_split(splits: Iterable[str]) -> bool:
    """Whether these splits can be kept: train, and val or test."""
    found = set(splits)
    return "train" in found and bool(found & {"val", "test"})


def folder_splits(images: Sequence[Path], folder: Path) -> Ready | None:
    """The split of each image by the name of its top folder under `folder`; None if not every
    image has one, or if they make no split.
    """
    splits = {}
    for image in images:
        inside = image.relative_to(folder)
        split = split_named(inside.parts[0]) if len(inside.parts) > 1 else None
        if split is None:
            return None
        splits[image] = split
    return Ready(splits) if is_split(splits.values()) else None


def find_lists(folders: Sequence[Path]) -> Lists:
    """The lists of the first folder that has them: train.txt, val.txt and test.txt, one of the last
    two at least; without train.txt, trainval.txt and test.txt. {} if there are none.
    """
    for folder in folders:
        lists: dict[str, Path] = {}
        for file in sorted(folder.glob("*.txt")):
            if split := split_named(file.stem):
                lists.setdefault(split, file)
        both = folder / "trainval.txt"
        if "train" not in lists and both.is_file():
            lists = {"train": both, **{k: v for k, v in lists.items() if k == "test"}}
        if is_split(lists):
            return lists
    return {}


def listed_splits(lists: Lists, images: Sequence[Path], folder: Path, base: Path) -> Ready:
    """The split of each image that the lists name. A line is, or starts with, the stem of an image
    or its path relative to `folder` (that of the images) or `base`. A line without an image and an
    image in two lists are errors.
    """
    known = _by_name(images, folder, base)
    places: dict[Path, list[tuple[str, str]]] = defaultdict(list)  # split and place, by image
    problems = []
    for split, file in lists.items():
        for number, line in _numbered_lines(file):
            found = _find(line, known)
            if len(found) == 1:
                places[found[0]].append((split, f"line {number} of {file.name}"))
            else:
                problems.append(_wrong_line(file, number, line, found, folder))
    splits, refused = {}, set()
    for image, named in places.items():
        if len({split for split, _ in named}) > 1:
            problems.append(in_two_splits(image, [place for _, place in named]))
            refused.add(image)
        else:
            splits[image] = named[0][0]
    return Ready(splits, tuple(problems), frozenset(refused))


def in_two_splits(image: Path, places: Sequence[str]) -> Problem:
    """An error for an image that is put into several splits at these places."""
    value = f"it is in several splits: {', '.join(places)}"
    return Problem(image, "error", "two-splits", value, "leave it in one")


def _by_name(images: Sequence[Path], folder: Path, base: Path) -> dict[str, list[Path]]:
    known: dict[str, list[Path]] = defaultdict(list)
    for image in images:
        inside = [image.relative_to(root) for root in (folder, base) if image.is_relative_to(root)]
        for name in {folded(bare(path).as_posix()) for path in [*inside, Path(image.name)]}:
            known[name].append(image)
    return known


def _find(line: str, known: Mapping[str, list[Path]]) -> list[Path]:
    """The images that a line may mean: the line or its first word, as a path or as a stem."""
    for text in (line, line.split()[0]):
        path = Path(text.replace("\\", "/"))
        if path.suffix.lower() in SUFFIXES:
            path = bare(path)
        for name in (path.as_posix(), path.name):
            if found := known.get(folded(name)):
                return found
    return []


def _numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """The non-empty lines of a list, with their numbers from 1."""
    lines = enumerate(read_lines(file, "images"), 1)
    yield from ((number, line.strip()) for number, line in lines if line.strip())


def _wrong_line(file: Path, number: int, line: str, found: Sequence[Path], folder: Path) -> Problem:
    if found:
        value = f"line {number}, {line!r}, may be any of {', '.join(map(str, found))}"
        return Problem(file, "error", "split-unclear", value, "name it with its folder")
    value = f"line {number} names {line!r}, which is no image in {folder}"
    return Problem(file, "error", "split-missing", value, "put the image there, or delete the line")
