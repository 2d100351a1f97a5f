"""Find the annotated photos of a folder and make samples of them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.checks import check_annotation
from voc_builder.errors import UserError
from voc_builder.images import SUFFIXES
from voc_builder.labelme import Annotation, draw_mask, guess_photo, read_annotation, read_photo
from voc_builder.problems import AnnotationError, Problem


@dataclass(frozen=True)
class LabelmeSample:
    """A labelme file with its photo, or a photo without a file, which is empty."""

    id: str
    annotation: Annotation
    group: str | None = None

    @property
    def path(self) -> Path:
        return self.annotation.path

    @property
    def sha256(self) -> str:
        return self.annotation.sha256

    def read_photo(self) -> bytes:
        return read_photo(self.annotation)

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        sized = dataclasses.replace(self.annotation, height=height, width=width)
        return draw_mask(sized, classes)

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        return check_annotation(self.annotation, classes, size)


@dataclass(frozen=True)
class Found:
    """A folder's annotations, and what is wrong with files that are not used."""

    annotations: tuple[Annotation, ...]
    unlabelled: tuple[Path, ...]  # photos that no JSON file has the name of or names
    problems: tuple[Problem, ...]

    @property
    def labels(self) -> set[str]:
        """Every label that any shape carries, also one that cannot be drawn."""
        drawn = {shape.label for one in self.annotations for shape in one.shapes}
        return drawn | {p.label for one in self.annotations for p in one.problems if p.label}


def find_labelme(folder: Path) -> Found:
    """Every labelme file and every photo under the folder, hidden ones left out, in order of their
    paths. A JSON that is not labelme's is an error if it seems to belong to a photo, else a
    warning. A file whose name is not UTF-8 is an error and not used: no list, table or record could
    name it. Raises `UserError` when there is none at all.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: name the folder of photos and JSON files")
    everything = sorted(visible_files(folder))
    files = [path for path in everything if _printable(path) == path]
    misnamed = [
        path
        for path in everything
        if _printable(path) != path and path.suffix.lower() in (".json", *SUFFIXES)
    ]
    photos = [path for path in files if path.suffix.lower() in SUFFIXES]
    annotations: list[Annotation] = []
    bad: list[Problem] = []
    for path in files:
        if path.suffix.lower() != ".json":
            continue
        try:
            annotations.append(read_annotation(path))
        except AnnotationError as error:
            bad += error.problems
    named = {os.path.realpath(one.photo) for one in annotations if one.photo}
    free = [path for path in photos if os.path.realpath(path) not in named]
    beside = {_bare(one.path): one for one in annotations}
    left = [path for path in free if _bare(path) not in beside]
    second = [
        _second(path, one.photo)
        for path in free
        if (one := beside.get(_bare(path))) and one.photo and not one.embedded
    ]
    claims = _claims([*(problem.file for problem in bad), *misnamed], left)
    problems = [
        dataclasses.replace(problem, severity="warning")
        if problem.rule == "not-labelme" and not claims[problem.file]
        else problem
        for problem in bad
    ]
    problems += [_misnamed(path) for path in misnamed]
    problems += second
    claimed = set().union(*claims.values())
    unlabelled = [path for path in left if path not in claimed]
    if not annotations and not problems and not unlabelled:
        raise UserError(f"{folder}: neither labelme JSON nor photos in it: name another folder")
    return Found(tuple(annotations), tuple(unlabelled), tuple(problems))


def labelme_samples(found: Found, folder: Path, *, empty: bool) -> list[LabelmeSample]:
    """A sample for every annotation, and with `empty` for every photo without one."""
    annotations = list(found.annotations)
    if empty:
        none = hashlib.sha256(b"").hexdigest()
        annotations += [Annotation(path, (), photo=path, sha256=none) for path in found.unlabelled]
    ids = unique_ids([annotation.path.relative_to(folder) for annotation in annotations])
    return [LabelmeSample(*pair) for pair in zip(ids, annotations, strict=True)]


def unique_ids(paths: Sequence[Path]) -> list[str]:
    """An id for each path: its stem, or for a stem that several have, its folders and stem joined
    by `_`. The stem of `a.jpg.json` is `a`. Names that a disk may take for one (case, composed
    accents) count as the same.
    """
    bare = [_bare(path) for path in paths]
    stems = Counter(_folded(path.name) for path in bare)
    ids: list[str] = []
    taken: set[str] = set()
    for path in bare:
        name = path.name
        if stems[_folded(name)] > 1:
            name = "_".join(path.parts)
        unique, number = name, 1
        while _folded(unique) in taken or (unique != name and _folded(unique) in stems):
            number += 1
            unique = f"{name}_{number}"
        taken.add(_folded(unique))
        ids.append(unique)
    return ids


def _printable(path: Path) -> Path:
    """The path, with escapes for the bytes in it that are not UTF-8: only then is it another."""
    return Path(str(path).encode("utf-8", "backslashreplace").decode())


def _misnamed(path: Path) -> Problem:
    """An error for a file whose name is not UTF-8, as an archive from another system may leave."""
    part = next(part for part in path.parts if str(_printable(Path(part))) != part)
    value = f"the name {part!r} is not UTF-8"
    return Problem(_printable(path), "error", "file-name", value, "rename it")


def _second(path: Path, used: Path) -> Problem:
    """A warning for a photo that has the name of a JSON which belongs to another photo. It is never
    taken as empty: it may show the same as the other.
    """
    value = f"a photo without JSON: that of its name belongs to {used.name}"
    return Problem(path, "warning", "unlabelled", value, "delete it, or rename and annotate it")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _bare(path: Path) -> Path:
    """The path without its suffix, and without that of a photo in front of it."""
    path = path.with_suffix("")
    while path.suffix.lower() in SUFFIXES:
        path = path.with_suffix("")
    return path


def _claims(files: Sequence[Path], photos: Sequence[Path]) -> dict[Path, set[Path]]:
    """The photos that JSON files without a readable annotation may be meant for: those of the same
    name, in any folder, and the one that the file names.
    """
    known: dict[str, set[Path]] = defaultdict(set)  # by name and by place
    for photo in photos:
        known[_folded(_bare(photo).name)].add(photo)
        known[os.path.realpath(photo)].add(photo)
    claims = {}
    for file in files:
        guess = guess_photo(file)
        named = known[os.path.realpath(guess)] if guess else set()
        claims[file] = known[_folded(_bare(file).name)] | named
    return claims


def visible_files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file under the folder but hidden ones; links are followed, not in circles. Raises
    `UserError` for a folder that cannot be read.
    """
    real = folder.resolve()
    if real in above:
        return
    try:
        paths = [(path, path.is_dir()) for path in folder.iterdir() if path.name[0] != "."]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}): check its rights") from None
    for path, is_folder in paths:
        if is_folder:
            yield from visible_files(path, (*above, real))
        else:
            yield path
