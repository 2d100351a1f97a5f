"""Every problem of every annotated photo, in one report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voc_builder.command import UserError
from voc_builder.images import Header, read_header
from voc_builder.labelme import Annotation
from voc_builder.problems import AnnotationError, Problem
from voc_builder.sample import Sample


@dataclass(frozen=True)
class Examined:
    """A photo that was looked at; without a header it cannot be used."""

    problems: tuple[Problem, ...]
    photo: bytes = b""
    header: Header | None = None


def check_annotation(
    annotation: Annotation, classes: Sequence[str], height: int, width: int
) -> list[Problem]:
    """What is wrong with the shapes and the size of one annotation of a photo of that size."""
    return []


def examine(sample: Sample, classes: Sequence[str]) -> Examined:
    """The photo of a sample with everything that is wrong with it and its annotation."""
    try:
        photo = sample.read_photo()
        header = read_header(photo, str(sample.path))
    except AnnotationError as error:
        return Examined(tuple(error.problems))
    except (OSError, UserError) as error:
        value = "the photo cannot be decoded, or is cut short"
        if isinstance(error, OSError):
            value = f"the photo cannot be read ({error.strerror})"
        cure = "save it again as JPEG or PNG"
        return Examined((Problem(sample.path, "error", "photo-unreadable", value, cure),))
    problems = sample.problems(classes, header.height, header.width)
    return Examined(tuple(problems), photo, header)
