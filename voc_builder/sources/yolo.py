"""Read the text files of YOLO: boxes and polygons, which are filled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from voc_builder.base.classes import class_file, read_ids
from voc_builder.base.errors import UserError
from voc_builder.base.problems import Problem
from voc_builder.sources.checks import check_labels
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.mask_meaning import with_background
from voc_builder.sources.outlines import ObjectSample, Outline, box_of, polygon_of
from voc_builder.sources.pairing import find_pairs, pair_parts
from voc_builder.sources.places import LABELS, Part
from voc_builder.sources.sample import Found
from voc_builder.tree.split import SPLITS

YAMLS = ("data.yaml", "data.yml", "dataset.yaml")
About = tuple[Path, dict[str, Any]]  # data.yaml and its content
SLACK = 0.001  # by which a fraction may leave 0 to 1, because of rounding


def find_yolo_set(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The images of a folder with the objects of their text files; with `empty` also images without
    a file, while an empty file always makes an empty image. Class names are those of `classes`, of
    data.yaml, or of a file in the folder; the background is added. Raises `UserError` if no image
    has a file, and without class names.
    """
    about = read_about(folder)
    parts, problems = named_parts(folder, settings, about)
    if parts:
        pairs, root = pair_parts(parts, None, LABELS), folder
    else:
        pairs, root = find_pairs(folder, settings, LABELS)
    names, source = _names(folder, settings, about)
    samples = [
        read_labels(image_id, image, file, names)
        if file
        else ObjectSample(image_id, image, file=image)
        for image_id, image, file in pairs.numbered(root, empty=empty)
    ]
    labels = {one.label for sample in samples for one in sample.objects}
    classes = with_background(names, source)
    problems += check_labels(labels, classes, source)
    return pairs.found(LABELS.what, classes, samples, *problems)


def read_labels(image_id: str, image: Path, file: Path, names: Sequence[str]) -> ObjectSample:
    """The sample of an image and its text file, with rows `class cx cy w h` and `class x1 y1 x2 y2
    ...` in fractions of the image's width and height. Problems name the line.
    """
    try:
        encoded = file.read_bytes()
        lines = encoded.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        value = f"cannot be read as text ({error})"
        wrong = Problem(file, "error", "label-unreadable", value, "save it again, or delete it")
        return ObjectSample(image_id, image, file=file, unread=(wrong,))
    problems, objects = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            objects.append(_outline(line, number, names))
        except ValueError as error:
            short = line if len(line) <= 60 else f"{line[:57]}..."
            value = f"line {number}, {short!r}: {error}"
            problems.append(Problem(file, "error", "label-row", value, "correct or delete it"))
    digest = hashlib.sha256(encoded).hexdigest()
    return ObjectSample(
        image_id, image, digest, file=file, objects=tuple(objects), unread=tuple(problems)
    )


def read_about(folder: Path) -> About | None:
    """The data.yaml of a folder and its content, None without one. Raises `UserError` if it cannot
    be read.
    """
    path = next((folder / name for name in YAMLS if (folder / name).is_file()), None)
    if path is None:
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: cannot be read as YAML ({reason})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not the YAML of a YOLO data set, which has names, train and val")
    return path, content


def _outline(line: str, number: int, names: Sequence[str]) -> Outline:
    """The object of a row. Raises `ValueError`."""
    try:
        kind, *values = (float(word) for word in line.split())
    except ValueError:
        raise ValueError("not numbers with spaces between them") from None
    if not kind.is_integer() or not 0 <= kind < len(names):
        raise ValueError(f"class {kind:g} has no name, the {len(names)} are counted from 0")
    beyond = [value for value in values if not -SLACK <= value <= 1 + SLACK]  # NaN too
    if beyond:
        raise ValueError(f"{beyond[0]:g} is not between 0 and 1, as fractions of the image are")
    label = names[int(kind)]
    if len(values) != 4:
        return Outline(label, polygon_of(values), number, relative=True, what="polygon")
    x, y, width, height = values
    if width <= 0 or height <= 0:
        raise ValueError(f"a box of width {width:g} and height {height:g}")
    corners = box_of(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return Outline(label, corners, number, relative=True)


def named_parts(
    folder: Path, settings: SourceConfig, about: About | None
) -> tuple[list[Part], list[Problem]]:
    """The parts that data.yaml names, and an error for each missing one. [] if it does not name a
    folder of images for train and for val, each its own, or if flags name the folders.
    """
    named = settings.images is not None or settings.masks is not None
    if about is None or named or not all(about[1].get(key) for key in ("train", "val")):
        return [], []
    parts, problems = [], []
    for split in SPLITS:
        entries = about[1].get(split) or []
        for entry in [entries] if isinstance(entries, str) else entries:
            images = _find(folder, about[1].get("path"), str(entry))
            if images is None:
                value = f"{split} names {entry!r}, which is no folder"
                cure = "put it there, or correct the entry"
                problems.append(Problem(about[0], "error", "split-missing", value, cure))
            elif images.is_file():  # a list, which is found by its name
                return [], []
            else:
                parts.append(Part(images, labels_of(images, folder), split))
    if len({part.images for part in parts}) < len(parts):  # one folder for two splits
        return [], []
    return (parts if any(part.files for part in parts) else []), problems


def _find(folder: Path, path: object, entry: str) -> Path | None:
    """The folder or list of an entry of data.yaml: relative to `path`, to the folder, or, as some
    tools write it, to a folder beside.
    """
    inner = entry.removeprefix("../").removeprefix("./")
    places = [folder / str(path or "") / entry, folder / entry, folder / inner]
    return next((place for place in places if place.exists()), None)


def labels_of(images: Path, folder: Path) -> Path | None:
    """The folder of the text files of a folder of images: its path with `labels` for the last
    `images`, else that of the images itself.
    """
    parts = list(images.relative_to(folder).parts) if images.is_relative_to(folder) else []
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        beside = folder.joinpath(*parts[:last], "labels", *parts[last + 1 :])
        return beside if beside.is_dir() else None
    return images


def _names(
    folder: Path, settings: SourceConfig, about: About | None
) -> tuple[tuple[str, ...], Path]:
    """The name of each class number, and the file of the names."""
    if about is not None and settings.classes is None and about[1].get("names"):
        names = about[1]["names"]
        if isinstance(names, dict):
            keys = sorted(names)
            if keys != list(range(len(keys))):
                raise UserError(f"{about[0]}: names must be numbered 0, 1, 2, ... Received: {keys}")
            names = [names[key] for key in keys]
        if not isinstance(names, list) or len({*map(str, names)}) != len(names):
            raise UserError(f"{about[0]}: names must be a list of names, each once: {names}")
        return tuple(map(str, names)), about[0]
    sources = (class_file(place, settings.classes) for place in (folder, folder / "labels"))
    source = next((file for file in sources if file), None)
    if source is None:
        raise UserError(
            f"{folder}: no class names: put {YAMLS[0]} with names into it, or classes.txt with one "
            "per line, class 0 first, or give --classes FILE"
        )
    return read_ids(source), source
