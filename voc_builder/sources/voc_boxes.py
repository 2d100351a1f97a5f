"""Read boxes in Pascal VOC's XML; filled they make a mask."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from xml.etree import ElementTree

from voc_builder.base.classes import folder_classes
from voc_builder.base.problems import Problem
from voc_builder.sources.checks import check_labels, check_unlabelled
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.listing import seen_from, unique_ids
from voc_builder.sources.outlines import ObjectSample, Outline, box_of
from voc_builder.sources.pairing import find_pairs
from voc_builder.sources.places import BOXES
from voc_builder.sources.sample import Found

SIDES = ("xmin", "ymin", "xmax", "ymax")


def find_box_set(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The images of a folder with their boxes, by the class names of its file (default: one in the
    folder, else the names used); with `empty` an image without a file is a sample too. Raises
    `UserError` where no image has one.
    """
    pairs, root = find_pairs(folder, settings, BOXES)
    images = sorted([*pairs.files, *(pairs.unlabelled if empty else ())])
    samples = []
    for image_id, image in zip(
        unique_ids([seen_from(image, root) for image in images]), images, strict=True
    ):
        file = pairs.files.get(image)
        samples.append(
            read_boxes(image_id, image, file) if file else ObjectSample(image_id, image, image)
        )
    labels = {one.label for sample in samples for one in sample.objects}
    names, source = folder_classes(folder, settings.classes, labels)
    return Found(
        names,
        tuple(samples),
        (*pairs.problems, *check_labels(labels, names, source)),
        tuple(check_unlabelled(pairs.unlabelled, BOXES.what)),
        pairs.count,
        {one.id: pairs.splits[one.path] for one in samples} if pairs.splits else {},
    )


def read_boxes(image_id: str, image: Path, file: Path) -> ObjectSample:
    """The sample of an image and its XML. Pixels are counted from 1 and both corners belong to the
    box, as in Pascal VOC: xmin 2 and xmax 5 are the second to the fifth column.
    """
    try:
        encoded = file.read_bytes()
        root = ElementTree.fromstring(encoded)
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        value = f"cannot be read as XML ({error})"
        wrong = Problem(file, "error", "xml-unreadable", value, "save it again, or delete it")
        return ObjectSample(image_id, image, file, wrong=(wrong,))
    problems, boxes = [], []
    if root.tag != "annotation":
        value = f"XML of <{root.tag}>, not of <annotation>, so not Pascal VOC's"
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
        file,
        tuple(boxes),
        hashlib.sha256(encoded).hexdigest(),
        _size(root),
        tuple(problems),
    )


def _box(entry: ElementTree.Element, label: str, place: int) -> Outline:
    """The box of an <object>; raises `ValueError` for what is none."""
    if not label:
        raise ValueError("no <name>")
    texts = [entry.findtext(f"bndbox/{side}") for side in SIDES]
    missing = [side for side, text in zip(SIDES, texts, strict=True) if not (text or "").strip()]
    if missing:
        raise ValueError(f"no {' and no '.join(missing)} in a <bndbox>")
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        said = ", ".join(f"{side} {text!r}" for side, text in zip(SIDES, texts, strict=True))
        raise ValueError(f"not numbers: {said}") from None
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise ValueError("a side that is no finite number")
    for axis, least, most in (("x", left, right), ("y", top, bottom)):
        if most < least:
            raise ValueError(f"{axis}max {most:g} is below {axis}min {least:g}")
    return Outline(label, box_of(left - 1, top - 1, right, bottom), place)


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The image's (height, width) as the file says; None where it does not, or says 0 as some
    tools do.
    """
    try:
        height, width = (int(float(root.findtext(f"size/{s}") or 0)) for s in ("height", "width"))
    except (ValueError, OverflowError):
        return None
    return (height, width) if height and width else None
