"""Checks that every source shares. An error makes a mask wrong or undefined, a warning does not."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.colours import IGNORE
from voc_builder.base.errors import UserError
from voc_builder.base.problems import CONTROL, AnnotationError, Problem
from voc_builder.pixels.images import JPEG_SIDE, Header, decode_image, read_header
from voc_builder.pixels.overlay import format_fraction
from voc_builder.sources.mask_files import MaskFile
from voc_builder.sources.mask_meaning import Meaning
from voc_builder.sources.sample import Found, Sample
from voc_builder.tree.split import SPLITS, splits_of_groups

LISTED = 5  # values or images that one message names


@dataclass(frozen=True)
class Examined:
    """An image and its problems; without a header it cannot be used."""

    problems: tuple[Problem, ...]
    image: bytes = b""
    header: Header | None = None

    @property
    def sha256(self) -> str:
        """Digest of the encoded image."""
        return hashlib.sha256(self.image).hexdigest()


def examine(sample: Sample, classes: Sequence[str], *, decode: bool) -> Examined:
    """The image of a sample with all problems of image and annotation. With `decode` every image is
    decoded, else the header and the end of a JPEG are enough; damage inside a JPEG is not noticed
    either way.
    """
    try:
        image = sample.read_image()
        header = read_header(image, str(sample.path))
        if decode and header.decoded is None:
            decode_image(image, str(sample.path))
    except AnnotationError as error:
        return Examined((*error.problems, *sample.problems(classes, None)))
    except (OSError, UserError) as error:
        value = "the image cannot be decoded, or is cut short"
        if isinstance(error, OSError):
            value = f"the image cannot be read ({error.strerror})"
        cure = "save it again as JPEG or PNG"
        wrong = Problem(sample.path, "error", "photo-unreadable", value, cure)
        return Examined((wrong, *sample.problems(classes, None)))
    size = (header.height, header.width)
    problems = [*_too_large(sample.path, header), *sample.problems(classes, size)]
    return Examined(tuple(problems), image, header)


def _too_large(path: Path, header: Header) -> list[Problem]:
    """An error for an image that must be encoded as JPEG but is too large."""
    if header.decoded is None or max(header.height, header.width) <= JPEG_SIDE:
        return []
    value = f"the image is {(header.height, header.width)}, a JPEG ends at {JPEG_SIDE} pixels"
    return [Problem(path, "error", "photo-large", value, "cut it into tiles and annotate these")]


def check_images(images: Mapping[Path, str]) -> list[Problem]:
    """A warning for each image that equals an earlier one; `images` are digests by file."""
    alike: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(images):
        alike[images[path]].append(path)
    cure = "delete one; until then they stay in one split"
    return [
        Problem(path, "warning", "same-photo", f"the same image as {paths[0]}", cure)
        for paths in alike.values()
        for path in paths[1:]
    ]


def check_groups(groups: Mapping[str, str], found: Found) -> list[Problem]:
    """A warning for each group of images that the ready-made split divides."""
    place = {sample.id: sample.path for sample in found.samples}
    ids_of: dict[str, list[str]] = {name: [] for name in SPLITS}
    for image, split in found.splits.items():
        ids_of[split].append(image)
    cure = "move them into one, or draw another split with --split 80/10/10"
    problems = []
    for where in splits_of_groups(groups, ids_of).values():
        if len(where) > 1:
            named = " and ".join(f"{split} ({_few(ids)})" for split, ids in where.items())
            first = place[min(image for ids in where.values() for image in ids)]
            value = f"images of one group are in {named}"
            problems.append(Problem(first, "warning", "group-cut", value, cure))
    return problems


def _few(names: Sequence[str]) -> str:
    more = f", {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(sorted(names)[:LISTED])}{more}"


def check_labels(labels: set[str], classes: Sequence[str], source: Path) -> list[Problem]:
    """A warning for each class without a shape; `source` names the classes."""
    cure = "draw it, or delete it from the class names"
    return [
        Problem(source, "warning", "class-unused", f"no shape has the label {name!r}", cure)
        for name in classes[1:]
        if name not in labels
    ]


def check_label(
    file: Path, label: str | None, place: int | None, classes: Sequence[str]
) -> list[Problem]:
    """An error for a label that is no class, at a place of the file. None is no label, which is an
    error of its own.
    """
    if label is None or label in (*classes, IGNORE):
        return []
    if CONTROL.search(label):
        value, cure = "a label with a control character", "rename it"
    else:
        near = difflib.get_close_matches(label, classes, n=1)
        rename = f"rename it {near[0]!r}" if near else "rename it"
        value, cure = "unknown label", f"{rename}, or add it to the class names"
    return [Problem(file, "error", "label", value, cure, place, label)]


def check_unlabelled(images: Sequence[Path], what: str) -> list[Problem]:
    """A warning for each image without a `what`, as an annotation of the source is called."""
    value = f"an image without {what}"
    cure = "annotate it, or take such images as empty with build --unlabelled background"
    return [Problem(path, "warning", "unlabelled", value, cure) for path in images]


def check_size(
    file: Path, what: str, annotated: tuple[int, int], size: tuple[int, int], cure: str
) -> list[Problem]:
    """An error if an annotation is for an image of another (height, width)."""
    if annotated == size:
        return []
    if annotated == size[::-1]:
        cure += " (was it rotated by its EXIF orientation after it was annotated?)"
    return [Problem(file, "error", "size", f"{what} {annotated}, the image is {size}", cure)]


def check_mask(
    mask: MaskFile, image: Path, meaning: Meaning, size: tuple[int, int] | None
) -> list[Problem]:
    """The problems of the mask of an image of that upright (height, width), None if unknown."""
    problems = list(mask.problems)
    if mask.height is None or mask.width is None:
        return problems
    total = mask.height * mask.width
    unknown = {value: n for value, n in mask.counts.items() if value not in meaning.ids}
    if unknown:
        most = sorted(unknown, key=lambda value: (-unknown[value], value))
        named = ", ".join(
            f"{meaning.name(value)} ({format_fraction(unknown[value] / total)})"
            for value in most[:LISTED]
        )
        others = f" and {len(most) - LISTED} others" if len(most) > LISTED else ""
        fraction = format_fraction(sum(unknown.values()) / total)
        value = f"{named}{others} fit no class, {fraction} of the pixels"
        problems.append(Problem(mask.path, "error", "mask-values", value, meaning.cure))
    if size is not None:
        what, cure = (
            f"the mask {mask.path.name} is",
            "save it at that size, or pair it with another",
        )
        problems += check_size(image, what, (mask.height, mask.width), size, cure)
    return problems
