"""Read boxes in the XML of Pascal VOC, which are filled."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from xml.etree import ElementTree

from voc_builder.base.classes import folder_classes
from voc_builder.base.problems import Problem
from voc_builder.sources.checks import check_labels
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.outlines import ObjectSample, Outline, box_of
from voc_builder.sources.pairing import find_pairs
from voc_builder.sources.places import BOXES
from voc_builder.sources.sample import Found

SIDES = ("xmin", "ymin", "xmax", "ymax")


def find_box_set(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The images of a folder with their boxes; with `empty` also images without a file. Classes are
    those of the class file, else the names of the boxes. Raises `UserError` if no image has a file.
    """
    pairs, root = find_pairs(folder, settings, BOXES)
    samples = [
        read_boxes(image_id, image, file) if file else ObjectSample(image_id, image, file=image)
        for image_id, image, file in pairs.numbered(root, empty=empty)
    ]
    labels = {one.label for sample in samples for one in sample.objects}
    names, source = folder_classes(folder, settings.classes, labels)
    return pairs.found(BOXES.what, names, samples, *check_labels(labels, names, source))


def read_boxes(image_id: str, image: Path, file: Path) -> ObjectSample:
    """The sample of an image and its XML. As in Pascal VOC, pixels are counted from 1 and both
    corners are inside: xmin 2 and xmax 5 are the second to the fifth column.
    """
    try:
        encoded = file.read_bytes()
        root = ElementTree.fromstring(encoded)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        value = f"cannot be read as XML ({error})"
        wrong = Problem(file, "error", "xml-unreadable", value, "save it again, or delete it")
        return ObjectSample(image_id, image, file=file, unread=(wrong,))
    problems, boxes = [], []
    if root.tag != "annotation":
        value = f"XML of <{root.tag}>, not of <annotation>, so not Pascal VOC"
        problems.append(Problem(file, "error", "not-voc", value, "move it out of the folder"))
    for place, entry in enumerate(root.findall("object")):
        label = (entry.findtext("name") or "").strip()
        try:
            boxes.append(_box(entry, label, place))
        except ValueError as error:
            cure = "draw it again or delete it"
            problems.append(Problem(file, "error", "box", str(error), cure, place, label or None))
    return ObjectSample(
        image_id,
        image,
        hashlib.sha256(encoded).hexdigest(),
        file=file,
        objects=tuple(boxes),
        size=_size(root),
        unread=tuple(problems),
    )


def _box(entry: ElementTree.Element, label: str, place: int) -> Outline:
    """The box of an <object>. Raises `ValueError` if it is invalid."""
    if not label:
        raise ValueError("no <name>")
    texts = {side: (entry.findtext(f"bndbox/{side}") or "").strip() for side in SIDES}
    missing = [side for side, text in texts.items() if not text]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} in a <bndbox>")
    try:
        left, top, right, bottom = map(float, texts.values())
    except ValueError:
        listed = ", ".join(f"{side} {text!r}" for side, text in texts.items())
        raise ValueError(f"not numbers: {listed}") from None
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError("a side that is no finite number")
    for axis, low, high in (("x", left, right), ("y", top, bottom)):
        if high < low:
            raise ValueError(f"{axis}max {high:g} is below {axis}min {low:g}")
    return Outline(label, box_of(left - 1, top - 1, right, bottom), place)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The image's (height, width) in the file; None if missing or 0, as some tools write."""
    try:
        height, width = (int(float(root.findtext(f"size/{s}") or 0)) for s in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height and width else None
