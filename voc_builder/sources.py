"""Find the annotated photos of a folder and make samples of them."""

from __future__ import annotations

import dataclasses
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.checks import check_annotation
from voc_builder.errors import UserError
from voc_builder.images import SUFFIXES
from voc_builder.labelme import Annotation, draw_mask, read_annotation, read_photo
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

    def problems(self, classes: Sequence[str], height: int, width: int) -> list[Problem]:
        return check_annotation(self.annotation, classes, height, width)


@dataclass(frozen=True)
class Found:
    """A folder's annotations: those that can be drawn, and what is wrong with the others."""

    annotations: tuple[Annotation, ...]
    unlabelled: tuple[Path, ...]  # photos that no annotation names
    problems: tuple[Problem, ...]

    @property
    def labels(self) -> set[str]:
        """Every label that any shape carries."""
        return {shape.label for annotation in self.annotations for shape in annotation.shapes}


def find_labelme(folder: Path) -> Found:
    """Every labelme file and every photo under the folder, hidden ones left out, in order of their
    paths. A JSON that is not labelme's is an error if it has the name of a photo, else a warning.
    Raises `UserError` when there is none at all.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: name the folder of photos and JSON files")
    files = sorted(visible_files(folder))
    photos = [path for path in files if path.suffix.lower() in SUFFIXES]
    stems = {path.with_suffix("") for path in photos}
    annotations: list[Annotation] = []
    problems: list[Problem] = []
    for path in files:
        if path.suffix.lower() != ".json":
            continue
        try:
            annotations.append(read_annotation(path))
        except AnnotationError as error:
            problems += [_stray(problem, stems) for problem in error.problems]
    named = {annotation.photo.resolve() for annotation in annotations if annotation.photo}
    described = {path.with_suffix("") for path in files if path.suffix.lower() == ".json"}
    unlabelled = [
        path
        for path in photos
        if path.with_suffix("") not in described and path.resolve() not in named
    ]
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
    by `_`. Names that a disk may take for one (case, composed accents) count as the same.
    """
    stems = Counter(_folded(path.stem) for path in paths)
    ids: list[str] = []
    taken: set[str] = set()
    for path in paths:
        name = path.stem
        if stems[_folded(name)] > 1:
            name = "_".join(path.with_suffix("").parts)
        unique, number = name, 1
        while _folded(unique) in taken or (unique != name and _folded(unique) in stems):
            number += 1
            unique = f"{name}_{number}"
        taken.add(_folded(unique))
        ids.append(unique)
    return ids


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stray(problem: Problem, stems: set[Path]) -> Problem:
    stray = problem.rule == "not-labelme" and problem.file.with_suffix("") not in stems
    return dataclasses.replace(problem, severity="warning") if stray else problem


def visible_files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file under the folder but hidden ones; links are followed, not in circles."""
    real = folder.resolve()
    if real in above:
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from visible_files(path, (*above, real))
        else:
            yield path
