"""Read the labelme files and images of a folder."""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.classes import folder_classes
from voc_builder.base.errors import UserError
from voc_builder.base.problems import AnnotationError, Problem
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.checks import check_labels, check_unlabelled
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.labelme import (
    Annotation,
    draw_mask,
    guess_image,
    read_annotation,
    read_image,
)
from voc_builder.sources.labelme_checks import check_annotation
from voc_builder.sources.listing import bad_name, bare, files_with, folded, unique_ids, well_named
from voc_builder.sources.ready_splits import folder_splits
from voc_builder.sources.sample import Found, Sample


@dataclass(frozen=True, kw_only=True)
class LabelmeSample(Sample):
    """A labelme file with its image, or an image without a file, which is empty."""

    annotation: Annotation

    def read_image(self) -> bytes:
        return read_image(self.annotation)

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        sized = dataclasses.replace(self.annotation, height=height, width=width)
        return draw_mask(sized, classes)

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        return check_annotation(self.annotation, classes, size)


@dataclass(frozen=True)
class LabelmeFolder:
    """The annotations of a folder, and the problems of files that are not used."""

    annotations: tuple[Annotation, ...]
    unlabelled: tuple[Path, ...]  # images that no JSON file has the name of or names
    problems: tuple[Problem, ...]

    @property
    def labels(self) -> set[str]:
        """The labels of all shapes, including invalid ones."""
        valid = {shape.label for one in self.annotations for shape in one.shapes}
        return valid | {p.label for one in self.annotations for p in one.problems if p.label}


def find_labelme_set(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The labelme files of a folder; with `empty` also images without one. Classes are those of the
    class file, else the labels. A split is kept if every file is in the folder of one.
    """
    found = find_labelme(folder)
    names, source = folder_classes(folder, settings.classes, found.labels)
    unread = {problem.file for problem in found.problems if problem.file.suffix.lower() == ".json"}
    samples = labelme_samples(found, folder, empty=empty)
    ready = folder_splits([sample.path for sample in samples], folder)
    return Found(
        names,
        tuple(samples),
        (*found.problems, *check_labels(found.labels, names, source)),
        tuple(check_unlabelled(found.unlabelled, "JSON")),
        len(found.annotations) + len(unread),
        {sample.id: ready.splits[sample.path] for sample in samples} if ready else {},
    )


def find_labelme(folder: Path) -> LabelmeFolder:
    """Every labelme file and every image under the folder, except hidden ones, sorted by path. A
    JSON that is not labelme's is an error if it seems to belong to an image, else a warning. Raises
    `UserError` if there is nothing at all.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: name the folder of images and JSON files")
    files, misnamed = well_named(files_with(folder, (".json", *SUFFIXES)))
    images = [path for path in files if path.suffix.lower() != ".json"]
    annotations: list[Annotation] = []
    bad: list[Problem] = []
    for path in files:
        if path.suffix.lower() == ".json":
            try:
                annotations.append(read_annotation(path))
            except AnnotationError as error:
                bad += error.problems
    named = {os.path.realpath(one.image) for one in annotations if one.image}
    free = [path for path in images if os.path.realpath(path) not in named]
    beside = {bare(one.path): one for one in annotations}
    left = [path for path in free if bare(path) not in beside]
    claims = _claims([*(problem.file for problem in bad), *misnamed], left)
    problems = [
        dataclasses.replace(problem, severity="warning")
        if problem.rule == "not-labelme" and not claims[problem.file]
        else problem
        for problem in bad
    ]
    problems += [bad_name(path) for path in misnamed]
    problems += [
        _second_image(path, one.image)
        for path in free
        if (one := beside.get(bare(path))) and one.image and not one.embedded
    ]
    claimed = set().union(*claims.values())
    unlabelled = [path for path in left if path not in claimed]
    if not annotations and not problems and not unlabelled:
        raise UserError(f"{folder}: neither labelme JSON nor images in it: name another folder")
    return LabelmeFolder(tuple(annotations), tuple(unlabelled), tuple(problems))


def labelme_samples(found: LabelmeFolder, folder: Path, *, empty: bool) -> list[LabelmeSample]:
    """A sample for every annotation, and with `empty` for every image without one."""
    annotations = list(found.annotations)
    if empty:
        annotations += [Annotation(path, (), image=path) for path in found.unlabelled]
    ids = unique_ids([one.path.relative_to(folder) for one in annotations])
    return [
        LabelmeSample(image_id, one.path, one.sha256, annotation=one)
        for image_id, one in zip(ids, annotations, strict=True)
    ]


def _second_image(path: Path, used: Path) -> Problem:
    """A warning for an image whose JSON belongs to another image. It is never taken as empty,
    because it may show the same objects.
    """
    value = f"an image without JSON: that of its name belongs to {used.name}"
    return Problem(path, "warning", "unlabelled", value, "delete it, or rename and annotate it")


def _claims(files: Sequence[Path], images: Sequence[Path]) -> dict[Path, set[Path]]:
    """The images that unreadable JSON files may annotate: those of the same name in any folder, and
    the one that the file names.
    """
    known: dict[str, set[Path]] = defaultdict(set)  # by name and by real path
    for image in images:
        known[folded(bare(image).name)].add(image)
        known[os.path.realpath(image)].add(image)
    claims = {}
    for file in files:
        guess = guess_image(file)
        named = known[os.path.realpath(guess)] if guess else set()
        claims[file] = known[folded(bare(file).name)] | named
    return claims
