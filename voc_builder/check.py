"""Check a folder of annotated images and report all problems."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.base.files import replacing
from voc_builder.base.problems import Problem, errors
from voc_builder.base.progress import in_threads, progress
from voc_builder.sources.checks import check_groups, check_images, examine
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import find_groups, find_samples
from voc_builder.sources.sample import Sample


@dataclass(frozen=True)
class CheckConfig(SourceConfig):
    """Report every problem of every image and annotation; exit code 1 on errors."""

    folder: Path
    """Folder of annotated images, CSV of pairs, or COCO JSON."""
    json: Path | None = None
    """File for the report in JSON; null: none."""
    workers: int = os.cpu_count() or 1
    """Number of threads."""


def check(config: CheckConfig) -> tuple[list[Problem], int]:
    """The problems of the folder, sorted by file, and the number of annotations."""
    refuse_below_one(workers=config.workers)
    found = find_samples(config.folder, config, empty=True)
    look = partial(_examine, found.original_classes)
    results = in_threads(look, found.samples, config.workers)
    problems = [*found.problems, *found.unlabelled]
    digests: dict[Path, str] = {}
    for sample, (wrong, digest) in zip(
        found.samples, progress(results, len(found.samples), "images"), strict=True
    ):
        problems += wrong
        if digest:
            digests[sample.path] = digest
    problems += check_images(digests)
    readable = [sample for sample in found.samples if sample.path in digests]
    groups = find_groups(readable, [digests[sample.path] for sample in readable], config)
    problems += check_groups(groups, found)
    unique = dict.fromkeys(problems)  # images that share a mask share its problems
    order = sorted(unique, key=lambda problem: (str(problem.file), problem.shape or 0))
    return order, found.annotations


def check_command(config: CheckConfig) -> int:
    """Print the report; 1 if there are errors."""
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
    return (
        f"{_count(annotations, 'annotation')}: {_count(wrong, 'error')} and "
        f"{_count(len(problems) - wrong, 'warning')} in {_count(files, 'file')}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _examine(classes: Sequence[str], sample: Sample) -> tuple[tuple[Problem, ...], str]:
    examined = examine(sample, classes, decode=True)
    return examined.problems, examined.sha256 if examined.image else ""


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
