"""Read the objects of a COCO file: polygons and run lengths."""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voc_builder.base.classes import read_classes
from voc_builder.base.colours import IGNORE
from voc_builder.base.errors import UserError
from voc_builder.base.problems import Problem
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.checks import check_labels
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.labelme import FARTHEST
from voc_builder.sources.listing import files_with, folded, unique_ids
from voc_builder.sources.mask_meaning import with_background
from voc_builder.sources.outlines import ObjectSample, Outline, polygon_of
from voc_builder.sources.sample import Found

Json = dict[str, Any]
REDRAW = "correct it, or delete the annotation"


@dataclass(frozen=True)
class CocoObject:
    """An object; `segmentation` is a list of polygons, or run lengths with their size."""

    label: str
    place: int
    segmentation: Any

    def area(self, height: int, width: int) -> float:
        from pycocotools import mask

        return float(mask.area(self._runs(height, width)))

    def paint(self, mask: NDArray[np.uint8], class_id: int) -> None:
        mask[self._pixels(*mask.shape)] = class_id

    def problems(self, file: Path, height: int, width: int) -> list[Problem]:
        if isinstance(self.segmentation, list):
            outlines = [
                Outline(self.label, polygon_of(polygon), self.place, what="polygon")
                for polygon in self.segmentation
            ]
            return [one for outline in outlines for one in outline.problems(file, height, width)]
        try:
            if self.segmentation["size"] != [height, width]:
                size = tuple(self.segmentation["size"])
                raise ValueError(f"run lengths of size {size}, the image is {(height, width)}")
            self._pixels(height, width)
        except ValueError as error:
            return [Problem(file, "error", "shape", str(error), REDRAW, self.place, self.label)]
        return []

    def _runs(self, height: int, width: int) -> Json:
        """The run lengths in the form of pycocotools."""
        from pycocotools import mask

        runs: Json = self.segmentation
        if isinstance(runs, list):
            runs = mask.merge(mask.frPyObjects(runs, height, width))
        elif isinstance(runs["counts"], list):
            runs = mask.frPyObjects(runs, height, width)
        return runs

    def _pixels(self, height: int, width: int) -> NDArray[np.bool_]:
        """Its pixels, shape (height, width). Raises `ValueError` for invalid run lengths."""
        from pycocotools import mask

        try:
            return np.asarray(mask.decode(self._runs(height, width)), np.bool_)
        except ValueError as error:
            raise ValueError(f"run lengths that cannot be decoded ({error})") from None


def find_coco_set(file: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The images of a COCO file, with the names of its categories or of `classes`. An image without
    annotations is empty, a crowd is ignored. Raises `UserError` if it is not a COCO file.
    """
    content = read_coco(file)
    names = category_names(file, content["categories"])
    entries: dict[object, list[tuple[int, Json]]] = defaultdict(list)  # by image id
    images = {image["id"]: image for image in content["images"]}
    paths, problems = find_images(file, settings, content["images"])
    for place, entry in enumerate(content["annotations"]):
        known = isinstance(entry, dict) and _hashable(entry.get("image_id"))
        if known and entry["image_id"] in images:
            entries[entry["image_id"]].append((place, entry))
        else:
            value = f"annotation {place} is of no image of the file"
            problems.append(Problem(file, "error", "coco-image", value, "correct its image_id"))
    ids = unique_ids([Path(images[image]["file_name"]) for image in paths])
    samples = [
        _sample(image_id, path, images[image], entries[image], names)
        for image_id, (image, path) in zip(ids, paths.items(), strict=True)
    ]
    labels = {one.label for sample in samples for one in sample.objects}
    if settings.classes:
        classes, source = read_classes(settings.classes), settings.classes
    else:
        classes, source = with_background(names.values(), file), file
    problems += check_labels(labels, classes, source)
    return Found(classes, tuple(samples), tuple(problems), (), len(content["annotations"]))


def read_coco(file: Path) -> Json:
    """The content of a COCO file; images have a unique id and a file name. Raises `UserError`."""
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error})") from None
    lists = ("images", "annotations", "categories")
    lacking = [
        name
        for name in lists
        if not isinstance(content, dict) or not isinstance(content.get(name), list)
    ]
    if lacking:
        raise UserError(f"{file}: no list of {' and of '.join(lacking)}, so not COCO instances")
    wrong = [
        place
        for place, image in enumerate(content["images"])
        if not isinstance(image, dict)
        or not _hashable(image.get("id"))
        or not isinstance(image.get("file_name"), str)
        or not image["file_name"]
    ]
    if wrong:
        listed = ", ".join(map(str, wrong))
        raise UserError(f"{file}: images {listed}, counted from 0, have no id or no file_name")
    if len({image["id"] for image in content["images"]}) < len(content["images"]):
        raise UserError(f"{file}: two images have the same id: number them anew")
    return content


def category_names(file: Path, categories: Sequence[Any]) -> dict[object, str]:
    """The names of the categories by id, sorted by id. Raises `UserError`."""
    if not all(
        isinstance(one, dict)
        and isinstance(one.get("id"), int)
        and isinstance(one.get("name"), str)
        for one in categories
    ):
        raise UserError(f"{file}: every category must have a whole number as id and a name")
    names: dict[object, str] = {
        one["id"]: one["name"].strip() for one in sorted(categories, key=lambda one: one["id"])
    }
    if (
        len(names) < len(categories)
        or len(set(names.values())) < len(names)
        or "" in names.values()
    ):
        raise UserError(f"{file}: every category must have an id and a name of its own")
    return names


def find_images(
    file: Path, settings: SourceConfig, images: Sequence[Json]
) -> tuple[dict[object, Path], list[Problem]]:
    """The path of each image by its id, sorted by file name, and the problems of missing and
    repeated ones. A file name is relative to the folder `images` of the settings, else to the
    folder of the COCO file or to a folder `images` in or beside it; else it is searched in the
    first of these, where it must be unique.
    """
    base = file.parent
    places = [base, base / "images", base.parent / "images"]
    if settings.images is not None:
        places = [base / settings.images]
        if not places[0].is_dir():
            raise UserError(f"{places[0]}: no such folder: --images is relative to {base}")
    by_name: dict[str, list[Path]] = defaultdict(list)
    for path in files_with(places[0], SUFFIXES):
        by_name[folded(path.name)].append(path)
    paths: dict[object, Path] = {}
    problems = []
    first: dict[Path, object] = {}  # image id by path
    for image in sorted(images, key=lambda image: image["file_name"]):
        name = image["file_name"].replace("\\", "/")
        found = [path for place in places if (path := place / name).is_file()]
        alike = by_name[folded(Path(name).name)]
        chosen = found[0] if found else alike[0] if len(alike) == 1 else None
        if chosen is None:
            value = f"image {image['id']}, {name!r}, is not in {places[0]}"
            cure = "put it there, or name the folder with --images"
            problems.append(Problem(file, "error", "photo-missing", value, cure))
        elif chosen in first:
            value = f"images {first[chosen]} and {image['id']} of {file.name} are both this image"
            problems.append(Problem(chosen, "error", "two-masks", value, "delete one of them"))
        else:
            paths[image["id"]] = chosen
            first[chosen] = image["id"]
    repeated = {problem.file for problem in problems if problem.rule == "two-masks"}
    return {image: path for image, path in paths.items() if path not in repeated}, problems


def _sample(
    image_id: str,
    path: Path,
    image: Json,
    entries: Sequence[tuple[int, Json]],
    names: Mapping[object, str],
) -> ObjectSample:
    """The sample of an image. Problems have the index in the list of annotations."""
    objects, problems = [], []
    for place, entry in entries:
        category = entry.get("category_id")
        label = names.get(category) if _hashable(category) else None
        try:
            if label is None:
                raise ValueError(f"category_id {category!r} is no category")
            segmentation = parse_segmentation(entry.get("segmentation"))
        except ValueError as error:
            problems.append(Problem(path, "error", "shape", str(error), REDRAW, place, label))
        else:
            drawn = IGNORE if entry.get("iscrowd") else label
            objects.append(CocoObject(drawn, place, segmentation))
    content = json.dumps([image, [entry for _, entry in entries]], sort_keys=True)
    height, width = image.get("height"), image.get("width")
    return ObjectSample(
        image_id,
        path,
        hashlib.sha256(content.encode()).hexdigest(),
        file=path,
        objects=tuple(objects),
        size=(height, width) if isinstance(height, int) and isinstance(width, int) else None,
        unread=tuple(problems),
    )


def parse_segmentation(segmentation: Any) -> Any:
    """A segmentation that is safe for pycocotools, which ends the process for an invalid one.
    Raises `ValueError`.
    """
    if isinstance(segmentation, list) and segmentation:
        for polygon in segmentation:
            if not isinstance(polygon, list) or not all(map(_is_number, polygon)):
                raise ValueError("segmentation is not a list of polygons")
            polygon_of(polygon)
            if not all(abs(value) <= FARTHEST for value in polygon):
                raise ValueError(f"a point lies over {FARTHEST} pixels away")
        return segmentation
    if not isinstance(segmentation, dict) or not {"size", "counts"} <= segmentation.keys():
        raise ValueError("no segmentation, neither polygons nor run lengths")
    size, counts = segmentation["size"], segmentation["counts"]
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        raise ValueError(f"run lengths of size {size!r}, which must be [height, width]")
    if isinstance(counts, str):
        if not all("0" <= letter <= "o" for letter in counts):
            raise ValueError("run lengths with letters that COCO does not use")
    elif not isinstance(counts, list) or not all(map(_is_count, counts)):
        raise ValueError("run lengths whose counts are neither text nor whole numbers from 0 on")
    elif sum(counts) != math.prod(size):
        raise ValueError(f"run lengths of {sum(counts)} pixels for a size of {math.prod(size)}")
    return {"size": size, "counts": counts}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _hashable(value: object) -> bool:
    return isinstance(value, int | str)
