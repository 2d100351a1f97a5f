"""Find the labelme files and images of a folder and make samples of them."""

from __future__ import annotations

import dataclasses
import hashlib
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
from voc_builder.sources.checks import check_annotation, check_labels, check_unlabelled
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.labelme import (
    Annotation,
    draw_mask,
    guess_image,
    read_annotation,
    read_image,
)
from voc_builder.sources.listing import (
    bad_name,
    bare,
    folded,
    unique_ids,
    visible_files,
    well_named,
)
from voc_builder.sources.ready_splits import folder_splits
from voc_builder.sources.sample import Found


@dataclass(frozen=True)
class LabelmeSample:
    """A labelme file with its image, or an image without a file, which is empty."""

    id: str
    annotation: Annotation
    group: str | None = None

    @property
    def path(self) -> Path:
        return self.annotation.path

    @property
    def sha256(self) -> str:
        return self.annotation.sha256

    def read_image(self) -> bytes:
        return read_image(self.annotation)

    def draw_mask(self, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
        sized = dataclasses.replace(self.annotation, height=height, width=width)
        return draw_mask(sized, classes)

    def problems(self, classes: Sequence[str], size: tuple[int, int] | None) -> list[Problem]:
        return check_annotation(self.annotation, classes, size)


@dataclass(frozen=True)
class LabelmeFolder:
    """A folder's annotations, and what is wrong with files that are not used."""

    annotations: tuple[Annotation, ...]
    unlabelled: tuple[Path, ...]  # images that no JSON file has the name of or names
    problems: tuple[Problem, ...]

    @property
    def labels(self) -> set[str]:
        """Every label that any shape carries, also one that cannot be drawn."""
        drawn = {shape.label for one in self.annotations for shape in one.shapes}
        return drawn | {p.label for one in self.annotations for p in one.problems if p.label}


def find_labelme_set(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """All that labelme annotated in the folder, by the class names of the file that is named, else
    of one in the folder, else the labels used; with `empty` an image without JSON is a sample too.
    The split is kept where every file lies in the folder of one.
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
        tuple(check_unlabelled(found.unlabelled)),
        len(found.annotations) + len(unread),
        {sample.id: ready.splits[sample.path] for sample in samples} if ready else {},
    )


def find_labelme(folder: Path) -> LabelmeFolder:
    """Every labelme file and every image under the folder, hidden ones left out, in order of their
    paths. A JSON that is not labelme's is an error if it seems to belong to an image, else a
    warning. A file whose name is not UTF-8 is an error and not used: no list, table or record could
    name it. Raises `UserError` when there is none at all.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: name the folder of images and JSON files")
    files, misnamed = well_named(sorted(visible_files(folder)))
    misnamed = [path for path in misnamed if path.suffix.lower() in (".json", *SUFFIXES)]
    images = [path for path in files if path.suffix.lower() in SUFFIXES]
    annotations: list[Annotation] = []
    bad: list[Problem] = []
    for path in files:
        if path.suffix.lower() != ".json":
            continue
        try:
            annotations.append(read_annotation(path))
        except AnnotationError as error:
            bad += error.problems
    named = {os.path.realpath(one.image) for one in annotations if one.image}
    free = [path for path in images if os.path.realpath(path) not in named]
    beside = {bare(one.path): one for one in annotations}
    left = [path for path in free if bare(path) not in beside]
    second = [
        _second(path, one.image)
        for path in free
        if (one := beside.get(bare(path))) and one.image and not one.embedded
    ]
    claims = _claims([*(problem.file for problem in bad), *misnamed], left)
    problems = [
        dataclasses.replace(problem, severity="warning")
        if problem.rule == "not-labelme" and not claims[problem.file]
        else problem
        for problem in bad
    ]
    problems += [bad_name(path) for path in misnamed]
    problems += second
    claimed = set().union(*claims.values())
    unlabelled = [path for path in left if path not in claimed]
    if not annotations and not problems and not unlabelled:
        raise UserError(f"{folder}: neither labelme JSON nor images in it: name another folder")
    return LabelmeFolder(tuple(annotations), tuple(unlabelled), tuple(problems))


def labelme_samples(found: LabelmeFolder, folder: Path, *, empty: bool) -> list[LabelmeSample]:
    """A sample for every annotation, and with `empty` for every image without one."""
    annotations = list(found.annotations)
    if empty:
        none = hashlib.sha256(b"").hexdigest()
        annotations += [Annotation(path, (), image=path, sha256=none) for path in found.unlabelled]
    ids = unique_ids([annotation.path.relative_to(folder) for annotation in annotations])
    return [LabelmeSample(*pair) for pair in zip(ids, annotations, strict=True)]


def _second(path: Path, used: Path) -> Problem:
    """A warning for an image with the name of a JSON that belongs to another image. It is never
    taken as empty: it may show the same as the other.
    """
    value = f"an image without JSON: that of its name belongs to {used.name}"
    return Problem(path, "warning", "unlabelled", value, "delete it, or rename and annotate it")


def _claims(files: Sequence[Path], images: Sequence[Path]) -> dict[Path, set[Path]]:
    """The images that JSON files without a readable annotation may be meant for: those of the same
    name, in any folder, and the one that the file names.
    """
    known: dict[str, set[Path]] = defaultdict(set)  # by name and by place
    for image in images:
        known[folded(bare(image).name)].add(image)
        known[os.path.realpath(image)].add(image)
    claims = {}
    for file in files:
        guess = guess_image(file)
        named = known[os.path.realpath(guess)] if guess else set()
        claims[file] = known[folded(bare(file).name)] | named
    return claims
