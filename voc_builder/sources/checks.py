"""The rules that annotated images are checked by.

Errors make a mask wrong or undefined: an unreadable file, a name that is not UTF-8, a missing
image, a size unlike the image's, an unknown label, a shape that cannot be drawn or has no area, a
mask with values that fit no class.
Warnings leave it well defined: a polygon that crosses itself, a shape outside the image or drawn
twice, equal images, a class that nobody drew, an image without annotation.
"""

from __future__ import annotations

import difflib
import hashlib
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.colours import IGNORE
from voc_builder.base.errors import UserError
from voc_builder.base.problems import CONTROL, AnnotationError, Problem, Severity
from voc_builder.pixels.geometry import find_crossing, is_flat
from voc_builder.pixels.images import JPEG_SIDE, Header, decode_image, read_header
from voc_builder.pixels.overlay import format_fraction
from voc_builder.sources.labelme import LINE_WIDTH, POINT_RADIUS, Annotation, Shape
from voc_builder.sources.mask_files import MaskFile
from voc_builder.sources.mask_meaning import Meaning
from voc_builder.sources.sample import Found, Sample
from voc_builder.tree.split import SPLITS, splits_of_groups

Wrong = tuple[Severity, str, str, str]  # severity, rule, value and cure of a `Problem`
LISTED = 5  # values or images that one line names


@dataclass(frozen=True)
class Examined:
    """An image that was looked at; without a header it cannot be used."""

    problems: tuple[Problem, ...]
    image: bytes = b""
    header: Header | None = None

    @property
    def sha256(self) -> str:
        """Digest of the encoded image."""
        return hashlib.sha256(self.image).hexdigest()


def examine(sample: Sample, classes: Sequence[str], *, decode: bool) -> Examined:
    """The image of a sample and all that is wrong with it and its annotation; `decode` decodes
    every image, else a JPEG's header and end are enough. Damage in the middle of a JPEG shows in
    neither way.
    """
    wrong: Sequence[Problem]
    try:
        image = sample.read_image()
        header = read_header(image, str(sample.path))
        if decode and header.decoded is None:
            decode_image(image, str(sample.path))
    except AnnotationError as error:
        wrong = error.problems
    except (OSError, UserError) as error:
        value = "the image cannot be decoded, or is cut short"
        if isinstance(error, OSError):
            value = f"the image cannot be read ({error.strerror})"
        cure = "save it again as JPEG or PNG"
        wrong = [Problem(sample.path, "error", "photo-unreadable", value, cure)]
    else:
        wrong = _too_large(sample.path, header)
        found = sample.problems(classes, (header.height, header.width))
        return Examined((*wrong, *found), image, header)
    return Examined((*wrong, *sample.problems(classes, None)))


def check_annotation(
    annotation: Annotation, classes: Sequence[str], size: tuple[int, int] | None
) -> list[Problem]:
    """What is wrong with the annotation of an image of that upright (height, width); None asks
    nothing that depends on it.
    """
    problems = list(annotation.problems)
    said = (annotation.height, annotation.width)
    if size is not None and None not in said and said != size:
        value = f"imageHeight and imageWidth are {said}, the image is {size}"
        cure = "annotate this very image, or put back the one that was annotated"
        if said == size[::-1]:
            cure += " (turned by its EXIF after it was annotated?)"
        problems.append(Problem(annotation.path, "error", "size", value, cure))
    for undrawn in annotation.problems:
        found = _wrong_label(undrawn.label, classes)
        problems += [
            Problem(annotation.path, *what, undrawn.shape, undrawn.label) for what in found
        ]
    seen: dict[tuple[object, ...], int] = {}
    for index, shape in annotation.numbered_shapes():
        found = [*_wrong_label(shape.label, classes), *_wrong(shape, size)]
        pixels = shape.pixels()
        drawn = None if pixels is None else hashlib.sha256(pixels.tobytes()).digest()
        first = seen.setdefault((shape.label, shape.shape_type, shape.points, drawn), index)
        if first != index:
            found.append(("warning", "duplicate", f"the same as shape {first}", "delete one"))
        problems += [Problem(annotation.path, *what, index, shape.label) for what in found]
    return problems


def check_images(images: Mapping[Path, str]) -> list[Problem]:
    """A warning for each image that another equals; `images` are digests by file."""
    alike: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(images):
        alike[images[path]].append(path)
    cure = "delete one; until then they stay in one split"
    return [
        Problem(path, "warning", "same-photo", f"the image is that of {paths[0]}", cure)
        for paths in alike.values()
        for path in paths[1:]
    ]


def check_groups(groups: Mapping[str, str], found: Found) -> list[Problem]:
    """A warning for each group of images that the split which they came with cuts."""
    place = {sample.id: sample.path for sample in found.samples}
    sides: dict[str, list[str]] = {name: [] for name in SPLITS}
    for image, split in found.splits.items():
        sides[split].append(image)
    cure = "move them into one, or draw another split with --split 80/10/10"
    problems = []
    for where in splits_of_groups(groups, sides).values():
        if len(where) > 1:
            named = " and ".join(f"{split} ({_few(ids)})" for split, ids in where.items())
            first = place[min(image for ids in where.values() for image in ids)]
            value = f"images that belong together are in {named}"
            problems.append(Problem(first, "warning", "group-cut", value, cure))
    return problems


def _few(names: Sequence[str]) -> str:
    more = f", {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(sorted(names)[:LISTED])}{more}"


def check_labels(labels: set[str], classes: Sequence[str], source: Path) -> list[Problem]:
    """A warning for each class that nobody drew; `source` names the classes."""
    cure = "draw it, or delete it from the class names"
    return [
        Problem(source, "warning", "class-unused", f"no shape has the label {name!r}", cure)
        for name in classes[1:]
        if name not in labels
    ]


def check_unlabelled(images: Sequence[Path], lacking: str = "JSON") -> list[Problem]:
    """A warning for each image that no annotation, which is called `lacking`, belongs to."""
    value = f"an image without {lacking}"
    cure = "annotate it, or take such images as empty with build --unlabelled background"
    return [Problem(path, "warning", "unlabelled", value, cure) for path in images]


def check_mask(
    mask: MaskFile, image: Path, meaning: Meaning, size: tuple[int, int] | None
) -> list[Problem]:
    """What is wrong with the mask of an image of that upright (height, width); None asks nothing
    that depends on it.
    """
    problems = list(mask.problems)
    if mask.height is None or mask.width is None:
        return problems
    total = mask.height * mask.width
    strange = {value: n for value, n in mask.counts.items() if value not in meaning.ids}
    if strange:
        most = sorted(strange, key=lambda value: (-strange[value], value))
        named = ", ".join(
            f"{meaning.name(value)} ({format_fraction(strange[value] / total)})"
            for value in most[:LISTED]
        )
        others = f" and {len(most) - LISTED} others" if len(most) > LISTED else ""
        share = format_fraction(sum(strange.values()) / total)
        value = f"{named}{others} fit no class, {share} of the pixels"
        problems.append(Problem(mask.path, "error", "mask-values", value, meaning.cure))
    said = (mask.height, mask.width)
    if size is not None and said != size:
        value = f"the mask {mask.path.name} is {said}, the image is {size}"
        cure = "save the mask at the size of its image, or pair it with another"
        if said == size[::-1]:
            cure += " (turned by its EXIF after it was annotated?)"
        problems.append(Problem(image, "error", "size", value, cure))
    return problems


def check_label(file: Path, label: str, place: int, classes: Sequence[str]) -> list[Problem]:
    """Whether the object at a place of a file has a label that is no class."""
    return [Problem(file, *what, place, label) for what in _wrong_label(label, classes)]


def _too_large(path: Path, header: Header) -> list[Problem]:
    """An error for an image that must become a JPEG but cannot."""
    if header.decoded is None or max(header.height, header.width) <= JPEG_SIDE:
        return []
    value = f"the image is {(header.height, header.width)}, a JPEG ends at {JPEG_SIDE} pixels"
    return [Problem(path, "error", "photo-large", value, "cut it into tiles and annotate these")]


def _wrong_label(label: str | None, classes: Sequence[str]) -> list[Wrong]:
    """Whether a shape has a label that is no class; None is no label, which is said elsewhere."""
    if label is None or label in (*classes, IGNORE):
        return []
    if CONTROL.search(label):
        return [("error", "label", "a label with a control character", "rename it")]
    near = difflib.get_close_matches(label, classes, n=1)
    cure = f"rename it {near[0]!r}" if near else "rename it"
    return [("error", "label", "unknown label", f"{cure}, or add it to the class names")]


def _wrong(shape: Shape, size: tuple[int, int] | None) -> Iterator[Wrong]:
    """Everything wrong with where one shape lies."""
    if _has_no_area(shape):
        yield "error", "no-area", f"a {shape.shape_type} without area", "draw it again or delete it"
    elif shape.shape_type in ("polygon", "oriented_rectangle"):
        crossing = find_crossing(shape.points)
        if crossing:
            value = "the edges from points {} and {} meet".format(*crossing)
            yield "warning", "self-intersection", value, "move a point"
    if size is None:
        return
    height, width = size
    left, top, right, bottom = _box(shape)
    if right <= -1 or bottom <= -1 or left >= width or top >= height:
        yield "warning", "outside", "wholly outside the image", "delete it"


def _has_no_area(shape: Shape) -> bool:
    if (pixels := shape.pixels()) is not None:
        return not pixels.any()
    if shape.shape_type == "rectangle":
        (x0, y0), (x1, y1) = shape.points
        return x0 == x1 or y0 == y1
    if shape.shape_type == "circle":
        return shape.points[0] == shape.points[1]
    return shape.shape_type in ("polygon", "oriented_rectangle") and is_flat(shape.points)


def _box(shape: Shape) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what a shape paints, to a pixel."""
    points = shape.points[:1] if shape.shape_type == "circle" else shape.points
    margins = {"line": LINE_WIDTH / 2, "linestrip": LINE_WIDTH / 2, "point": POINT_RADIUS}
    margin = margins.get(shape.shape_type, 0.0)
    if shape.shape_type == "circle":
        margin = math.dist(*shape.points)
    xs, ys = zip(*points, strict=True)
    return min(xs) - margin, min(ys) - margin, max(xs) + margin, max(ys) + margin
