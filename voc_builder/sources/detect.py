"""Find out what kind of annotations lies at a place, and read them as samples."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from voc_builder.base.classes import FILES
from voc_builder.base.errors import UserError
from voc_builder.base.problems import AnnotationError
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.coco_json import find_coco_set, find_images, read_coco
from voc_builder.sources.config import Source, SourceConfig, base_of, flag_of
from voc_builder.sources.labelme import read_annotation
from voc_builder.sources.labelme_folder import find_labelme, find_labelme_set
from voc_builder.sources.listing import bad_name, seen_from, visible_files, well_named
from voc_builder.sources.mask_folders import find_mask_set
from voc_builder.sources.merge import merge_classes
from voc_builder.sources.pairs_csv import COLUMNS, find_pair_set, place_of, read_rows
from voc_builder.sources.places import BOXES, LABELS, MASKS, Annotations, Part, find_parts, holds
from voc_builder.sources.sample import Found, Sample
from voc_builder.sources.voc_boxes import find_box_set
from voc_builder.sources.yolo import find_yolo_set, named_parts, read_about
from voc_builder.tree.split import join_groups, match_keys
from voc_builder.tree.voc import ABOUT, is_tree

# the flags beside --classes, --merge and --group-by that mean something to each source
TAKES: dict[Source, tuple[str, ...]] = {
    "labelme": (),
    "masks": ("images", "masks", "mask_pattern", "mask_values", "colors"),
    "boxes": ("images", "masks"),
    "yolo": ("images", "masks"),
    "pairs": ("mask_values", "colors"),
    "coco": ("images",),
}
FILES_OF: dict[Source, str] = {"pairs": ".csv", "coco": ".json"}  # a source that is one file
KINDS: dict[Source, Annotations] = {"masks": MASKS, "boxes": BOXES, "yolo": LABELS}
FIND: dict[Source, Callable[..., Found]] = {
    "labelme": find_labelme_set,
    "masks": find_mask_set,
    "boxes": find_box_set,
    "yolo": find_yolo_set,
    "pairs": find_pair_set,
    "coco": find_coco_set,
}


def find_samples(folder: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """All that is annotated at the place; with `empty` an image without annotation is a sample too.
    A file that is not well named is an error and no sample. Raises `UserError` for a place that
    holds nothing of its kind.
    """
    found = _refuse_names(FIND[choose_source(folder, settings)](folder, settings, empty=empty))
    return found if settings.merge is None else merge_classes(found, settings.merge)


def _refuse_names(found: Found) -> Found:
    """What was found, with an error for each file that is not well named in place of its sample or
    of the warning that it lacks an annotation.
    """
    named = [
        *((one.path, Path(one.id)) for one in found.samples),
        *((p.file,) for p in found.unlabelled),
    ]
    bad = dict.fromkeys(path for paths in named for path in well_named(paths)[1][:1])
    return replace(
        found,
        samples=tuple(one for one in found.samples if not bad.keys() & {one.path, Path(one.id)}),
        problems=(*found.problems, *map(bad_name, bad)),
        unlabelled=tuple(p for p in found.unlabelled if p.file not in bad),
    )


def find_groups(
    samples: Sequence[Sample], digests: Sequence[str], settings: SourceConfig
) -> dict[str, str]:
    """The group of every sample that must not part from another: they share an annotation, match
    `group_by` alike, or their images, whose `digests` these are, are the same.
    """
    ids = [sample.id for sample in samples]
    return join_groups(
        {sample.id: sample.group for sample in samples if sample.group is not None},
        dict(zip(ids, digests, strict=True)),
        match_keys(ids, settings.group_by),
    )


def files_of(folder: Path, settings: SourceConfig) -> list[Path]:
    """Every file that decides what `find_samples` finds, sorted."""
    source = choose_source(folder, settings)
    found = [base_of(folder) / name for name in FILES if (base_of(folder) / name).is_file()]
    if source == "pairs":
        rows = read_rows(folder)
        named = {place_of(folder, row[column]) for _, row in rows for column in COLUMNS[:2]}
        found += [folder, *(path for path in named if path.is_file())]
    elif source == "coco":
        photos, _ = find_images(folder, settings, read_coco(folder)["images"])
        found += [folder, *photos.values()]
    elif source == "labelme":
        found += _with_suffix(folder, (".json", *SUFFIXES))
        found += [one.image for one in find_labelme(folder).annotations if one.image]
    else:
        for part in _parts(folder, settings, source):
            for place in (part.images, part.files):
                if place is not None:
                    found += _with_suffix(place, (*SUFFIXES, *KINDS[source].suffixes))
        found += _with_suffix(folder, (".txt", ".yaml", ".yml"))  # lists of splits
        found += [folder / ABOUT] if is_tree(folder) else []  # for its groups
    return sorted(set(found))


def choose_source(folder: Path, settings: SourceConfig) -> Source:
    """The source that is named, else the one of what lies at the place. Raises `UserError` where
    that is none or several, and for settings that are not of the source.
    """
    if not folder.exists():
        raise UserError(f"{folder}: no such folder: name the folder of annotated images")
    _refuse_patterns(settings)
    given = [
        name
        for name in dict.fromkeys(name for names in TAKES.values() for name in names)
        if getattr(settings, name) is not None
    ]
    if settings.source != "auto":
        idle = [flag_of(name) for name in given if name not in TAKES[settings.source]]
        if idle:
            raise UserError(
                f"{', '.join(idle)}: not for --source {settings.source}: leave it out, or name "
                "another source"
            )
        return _fitting(folder, settings.source)
    if folder.is_file():
        kinds = {suffix: source for source, suffix in FILES_OF.items()}
        if folder.suffix.lower() not in kinds:
            raise UserError(f"{folder}: neither a folder, nor a CSV of pairs, nor COCO JSON")
        return choose_source(folder, replace(settings, source=kinds[folder.suffix.lower()]))
    fits = [source for source, takes in TAKES.items() if {*given} <= {*takes}]
    return _detect(folder, settings, fits)


def _fitting(folder: Path, source: Source) -> Source:
    """The source, if the place is of the kind that it reads. Raises `UserError`."""
    wanted = FILES_OF.get(source)
    if folder.is_dir() and wanted:
        raise UserError(f"{folder}: --source {source} reads a {wanted} file: name that file")
    if folder.is_file() and not wanted:
        raise UserError(f"{folder}: --source {source} reads a folder: name the folder")
    return source


def _detect(folder: Path, settings: SourceConfig, fits: Sequence[Source]) -> Source:
    """The one of these sources that the folder holds."""
    found: dict[Source, str] = {}  # what shows that it does
    unclear: list[UserError] = []
    for source, kind in KINDS.items():
        try:
            parts = _parts(folder, settings, source) if source in fits else []
        except UserError as error:
            unclear.append(error)
        else:
            places = [part.files for part in parts if part.files]
            if shown := next((place for place in places if holds(place, kind.suffixes)), None):
                found[source] = f"{kind.what}s ({seen_from(shown, folder)})"
    json = sorted(path for path in visible_files(folder) if path.suffix.lower() == ".json")
    if "labelme" in fits and found and (one := next(filter(_is_labelme, json), None)):
        found["labelme"] = f"labelme JSON ({one.relative_to(folder)})"
    if len(found) > 1:
        raise UserError(
            f"{folder}: both {' and '.join(found.values())} in it: choose with --source"
        )
    if not found and unclear:
        raise unclear[0]
    if not found and not (json and "labelme" in fits):
        raise UserError(
            f"{folder}: neither labelme JSON nor folders of images and masks, boxes or YOLO files "
            "in it, called images and masks for example: name another folder, or those two with "
            "--images and --masks"
        )
    return next(iter(found), "labelme")


def _parts(folder: Path, settings: SourceConfig, source: Source) -> list[Part]:
    """The folders of images and of what annotates them, [] where the source finds none."""
    parts = named_parts(folder, settings, read_about(folder))[0] if source == "yolo" else []
    return parts or find_parts(folder, settings, KINDS[source])


def _with_suffix(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return [path for path in visible_files(folder) if path.suffix.lower() in suffixes]


def _is_labelme(path: Path) -> bool:
    try:
        read_annotation(path)
    except AnnotationError:
        return False
    return True


def _refuse_patterns(settings: SourceConfig) -> None:
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
                f"--mask-pattern has no bracket to find the mask's stem, as '(.*)_\\d+' has. "
                f"Received: {pattern}"
            )
