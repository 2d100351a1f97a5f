"""Check a folder of annotated photos and report all that is wrong with it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from voc_builder.checks import check_photos, examine
from voc_builder.errors import UserError, refuse_below_one
from voc_builder.files import replacing
from voc_builder.problems import Problem, errors
from voc_builder.progress import in_threads, progress
from voc_builder.sample import Sample
from voc_builder.sources import Place, Source, find_samples


@dataclass(frozen=True)
class CheckConfig:
    """Report every problem of every photo and annotation in a folder; exit code 1 on errors."""

    folder: Path
    """folder of photos and labelme JSON, or of a folder of images and one of masks"""
    source: Source = "auto"
    """what the annotations are: labelme JSON, or masks of class ids in a folder beside the images'
    (default: what lies in the folder)"""
    images: Path | None = None
    """folder of the images of masks, seen from the first (default: images, JPEGImages, ...)"""
    masks: Path | None = None
    """folder of masks, seen from the first (default: masks, annotations, SegmentationClass, ...)"""
    mask_pattern: str | None = None
    """regular expression that matches the whole stem of an image and whose first bracket finds that
    of its mask, as '(.*)_\\d+' where 0001.png is the mask of 0001_1.jpg (default: the same stem)"""
    classes: Path | None = None
    """file of class names, one a line (default: obj.names, labels.txt, classes.txt or
    class_names.txt in the folder, else labelme's labels); for masks id 0 is that of line 1"""
    json: Path | None = None
    """file to write the report to, for programs"""
    workers: int = os.cpu_count() or 1
    """threads"""


def check(config: CheckConfig) -> tuple[list[Problem], int]:
    """The problems of the folder, sorted by file, and the number of annotations looked at."""
    refuse_below_one(workers=config.workers)
    place = Place(config.folder, config.source, config.images, config.masks, config.mask_pattern)
    found = find_samples(place, config.classes, empty=True)
    look = partial(_look, found.classes)
    results = in_threads(look, found.samples, config.workers)
    problems = [*found.problems, *found.unlabelled]
    digests = {}
    for sample, (wrong, digest) in zip(
        found.samples, progress(results, len(found.samples), "photos"), strict=True
    ):
        problems += wrong
        if digest:
            digests[sample.path] = digest
    problems += check_photos(digests)
    unlike = dict.fromkeys(problems)  # photos that share a mask share its problems
    order = sorted(unlike, key=lambda problem: (str(problem.file), problem.shape or 0))
    return order, found.annotations


def check_command(config: CheckConfig) -> int:
    """Print the report; 1 when there are errors."""
    problems, annotations = check(config)
    for file, group in groupby(problems, key=lambda problem: problem.file):
        print(file, *(f"  {problem}" for problem in group), sep="\n")
    print(summary(problems, annotations))
    if config.json:
        _write_json(config.json, problems, annotations)
    return 1 if errors(problems) else 0


def summary(problems: Sequence[Problem], annotations: int) -> str:
    """`113 annotations: 2 errors and 1 warning in 3 files`."""
    wrong, files = len(errors(problems)), len({problem.file for problem in problems})
    counts = (
        _count(annotations, "annotation"),
        _count(wrong, "error"),
        _count(len(problems) - wrong, "warning"),
        _count(files, "file"),
    )
    return "{}: {} and {} in {}".format(*counts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _look(classes: Sequence[str], sample: Sample) -> tuple[tuple[Problem, ...], str]:
    examined = examine(sample, classes, decode=True)
    return examined.problems, examined.sha256 if examined.photo else ""


def _write_json(path: Path, problems: Sequence[Problem], annotations: int) -> None:
    content = {
        "annotations": annotations,
        "errors": len(errors(problems)),
        "warnings": len(problems) - len(errors(problems)),
        "problems": [{**dataclasses.asdict(p), "file": str(p.file)} for p in problems],
    }
    try:
        with replacing(path) as beside:
            text = json.dumps(content, ensure_ascii=False, indent=1)
            beside.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
