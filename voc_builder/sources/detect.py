"""Detect the format of the annotations at a place, and read them as samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voc_builder.base.classes import FILES
from voc_builder.base.errors import UserError
from voc_builder.base.problems import AnnotationError
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.coco_json import find_coco_set, find_images, read_coco
from voc_builder.sources.config import Source, SourceConfig, base_of, flag_of
from voc_builder.sources.labelme import read_annotation
from voc_builder.sources.labelme_folder import find_labelme, find_labelme_set
from voc_builder.sources.listing import bad_name, files_with, relative_path, well_named
from voc_builder.sources.mask_folders import find_mask_set
from voc_builder.sources.merge import merge_classes
from voc_builder.sources.pairs_csv import COLUMNS, find_pair_set, place_of, read_rows
from voc_builder.sources.places import BOXES, LABELS, MASKS, Annotations, Part, find_parts
from voc_builder.sources.sample import Found, Sample
from voc_builder.sources.voc_boxes import find_box_set
from voc_builder.sources.yolo import find_yolo_set, named_parts, read_about
from voc_builder.tree.split import join_groups, match_keys
from voc_builder.tree.voc import ABOUT, is_tree


@dataclass(frozen=True)
class Format:
    """A format of annotations."""

    find: Callable[..., Found]
    settings: tuple[str, ...] = ()  # that it uses, beside classes, merge and group_by
    suffix: str | None = None  # of the file that it reads; None: it reads a folder
    files: Annotations | None = None  # that annotate one image each, in folders of usual names


FORMATS: dict[Source, Format] = {
    "labelme": Format(find_labelme_set),
    "masks": Format(
        find_mask_set, ("images", "masks", "mask_pattern", "mask_values", "colors"), files=MASKS
    ),
    "boxes": Format(find_box_set, ("images", "masks"), files=BOXES),
    "yolo": Format(find_yolo_set, ("images", "masks"), files=LABELS),
    "pairs": Format(find_pair_set, ("mask_values", "colors"), ".csv"),
    "coco": Format(find_coco_set, ("images",), ".json"),
}


def find_samples(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """All samples and problems of the place; with `empty` an image without annotation is a sample
    too. Raises `UserError` for a place without annotations of the format.
    """
    source = choose_source(folder, settings)
    found = _without_bad_names(FORMATS[source].find(folder, settings, empty=empty))
    return found if settings.merge is None else merge_classes(found, settings.merge)


def _without_bad_names(found: Found) -> Found:
    """`found` with an error for each file with a bad name in place of its sample or warning."""
    named = [
        *((one.path, Path(one.id)) for one in found.samples),
        *((problem.file,) for problem in found.unlabelled),
    ]
    bad = dict.fromkeys(path for paths in named for path in well_named(paths)[1][:1])
    return replace(
        found,
        samples=tuple(one for one in found.samples if not bad.keys() & {one.path, Path(one.id)}),
        problems=(*found.problems, *map(bad_name, bad)),
        unlabelled=tuple(problem for problem in found.unlabelled if problem.file not in bad),
    )


def find_groups(
    samples: Sequence[Sample], digests: Sequence[str], settings: SourceConfig
) -> dict[str, str]:
    """The group of every sample that must stay with another in one split: they share an annotation,
    match `group_by` alike, or their images, given by their `digests`, are equal.
    """
    ids = [sample.id for sample in samples]
    return join_groups(
        {sample.id: sample.group for sample in samples if sample.group is not None},
        dict(zip(ids, digests, strict=True)),
        match_keys(ids, settings.group_by),
    )


def files_of(folder: Path, settings: SourceConfig) -> list[Path]:
    """Every file that the result of `find_samples` depends on, sorted."""
    source = choose_source(folder, settings)
    found = [base_of(folder) / name for name in FILES if (base_of(folder) / name).is_file()]
    if source == "pairs":
        rows = read_rows(folder)
        named = {place_of(folder, row[column]) for _, row in rows for column in COLUMNS[:2]}
        found += [folder, *(path for path in named if path.is_file())]
    elif source == "coco":
        images, _ = find_images(folder, settings, read_coco(folder)["images"])
        found += [folder, *images.values()]
    elif source == "labelme":
        found += files_with(folder, (".json", *SUFFIXES))
        found += [one.image for one in find_labelme(folder).annotations if one.image]
    elif kind := FORMATS[source].files:
        for part in _parts(folder, settings, source, kind):
            for place in filter(None, (part.images, part.files)):
                found += files_with(place, (*SUFFIXES, *kind.suffixes))
        found += files_with(folder, (".txt", ".yaml", ".yml"))  # lists of splits
        found += [folder / ABOUT] if is_tree(folder) else []  # its groups
    return sorted(set(found))


def choose_source(folder: Path, settings: SourceConfig) -> Source:
    """The source of the settings, else the detected one. Raises `UserError` if none or several are
    detected, and for settings that the source does not use.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder: name the folder of annotated images")
    _check_patterns(settings)
    optional = dict.fromkeys(name for one in FORMATS.values() for name in one.settings)
    given = [name for name in optional if getattr(settings, name) is not None]
    source = settings.source
    if source == "auto" and folder.is_file():
        of_suffix = {one.suffix: name for name, one in FORMATS.items() if one.suffix}
        if folder.suffix.lower() not in of_suffix:
            raise UserError(f"{folder}: neither a folder, nor a CSV of pairs, nor COCO JSON")
        source = of_suffix[folder.suffix.lower()]
    if source == "auto":
        candidates = [name for name, one in FORMATS.items() if {*given} <= {*one.settings}]
        return _detect(folder, settings, candidates)
    unused = [flag_of(name) for name in given if name not in FORMATS[source].settings]
    if unused:
        raise UserError(
            f"{', '.join(unused)}: not for --source {source}: leave it out, or name another source"
        )
    suffix = FORMATS[source].suffix
    if folder.is_dir() and suffix:
        raise UserError(f"{folder}: --source {source} reads a {suffix} file: name that file")
    if folder.is_file() and not suffix:
        raise UserError(f"{folder}: --source {source} reads a folder: name the folder")
    return source


def _detect(folder: Path, settings: SourceConfig, candidates: Sequence[Source]) -> Source:
    """The one of the candidates whose annotations the folder holds."""
    found: dict[Source, str] = {}  # source and evidence
    unclear: list[UserError] = []
    for source, one in FORMATS.items():
        if one.files is None or source not in candidates:
            continue
        try:
            parts = _parts(folder, settings, source, one.files)
        except UserError as error:
            unclear.append(error)
            continue
        places = [part.files for part in parts if part.files]
        if shown := next((path for path in places if files_with(path, one.files.suffixes)), None):
            found[source] = f"{one.files.what}s ({relative_path(shown, folder)})"
    json = files_with(folder, (".json",)) if "labelme" in candidates else []
    if found and (labelme := next(filter(_is_labelme, json), None)):
        found["labelme"] = f"labelme JSON ({labelme.relative_to(folder)})"
    if len(found) > 1:
        raise UserError(
            f"{folder}: both {' and '.join(found.values())} in it: choose with --source"
        )
    if not found and unclear:
        raise unclear[0]
    if not found and not json:
        raise UserError(
            f"{folder}: neither labelme JSON nor folders of images and masks, boxes or YOLO files "
            "in it, called images and masks for example: name another folder, or those two with "
            "--images and --masks"
        )
    return next(iter(found), "labelme")


def _parts(folder: Path, settings: SourceConfig, source: Source, kind: Annotations) -> list[Part]:
    """The folders of images and of annotation files, [] if the source finds none."""
    parts = named_parts(folder, settings, read_about(folder))[0] if source == "yolo" else []
    return parts or find_parts(folder, settings, kind)


def _is_labelme(path: Path) -> bool:
    try:
        read_annotation(path)
    except AnnotationError:
        return False
    return True


def _check_patterns(settings: SourceConfig) -> None:
    for name in ("mask_pattern", "group_by"):
        pattern = getattr(settings, name)
        try:
            groups = re.compile(pattern or "").groups
        except re.error as error:
            raise UserError(
                f"{flag_of(name)} is no regular expression ({error}): {pattern}"
            ) from None
        if name == "mask_pattern" and pattern is not None and not groups:
            raise UserError(
                f"--mask-pattern has no group for the mask's stem, as '(.*)_\\d+' has. "
                f"Received: {pattern}"
            )
