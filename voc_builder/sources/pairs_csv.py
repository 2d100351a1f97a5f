"""Read a CSV of images and their masks."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.base.problems import Problem
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.mask_folders import mask_samples
from voc_builder.sources.pairing import Pairs, keep_split
from voc_builder.sources.ready_splits import Ready, in_two_splits, is_split, split_named
from voc_builder.sources.sample import Found

COLUMNS = ("image", "mask", "group", "split")  # the first two are required
Row = tuple[int, Mapping[str, str]]  # line number, and the cells by column


def find_pair_set(file: Path, settings: SourceConfig, *, empty: bool) -> Found:
    """The images of a CSV with the columns `image`, `mask` and optionally `group` and `split`, with
    paths relative to its folder. A row without a mask is an image without annotation. Raises
    `UserError` for a table that cannot be read or has no mask.
    """
    rows = read_rows(file)
    pairs, groups = pair_rows(file, rows)
    if not pairs.files and not pairs.problems:
        raise UserError(f"{file}: no row has a mask: fill in the column mask")
    return mask_samples(pairs, groups, file.parent, file.parent, settings, empty=empty)


def place_of(file: Path, name: str) -> Path:
    """The path of a cell of the table."""
    return Path(os.path.normpath(file.parent / name.replace("\\", "/")))


def read_rows(file: Path) -> list[Row]:
    """The non-empty rows of the table. Raises `UserError`."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            reader = csv.DictReader(opened, restkey="", restval="")
            names = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = names
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: cannot be read as CSV ({error})") from None
    missing = [name for name in COLUMNS[:2] if name not in names]
    if missing:
        raise UserError(
            f"{file}: no column {' and no '.join(missing)}: the first line must be "
            f"image,mask or image,mask,group,split. Received: {','.join(names)}"
        )
    kept = [
        (number, {name: (row[name] or "").strip() for name in COLUMNS if name in names})
        for number, row in rows
    ]
    return [(number, row) for number, row in kept if any(row.values())]


def pair_rows(file: Path, rows: list[Row]) -> tuple[Pairs, dict[Path, str]]:
    """The images and masks of the rows with their ready-made split, and the groups by image.
    Problems name the line.
    """
    problems: list[Problem] = []
    rows_of: dict[Path, list[Row]] = defaultdict(list)  # by image
    for number, row in rows:
        missing = [
            f"{column} {row[column]!r}"
            for column in COLUMNS[:2]
            if row[column] and not place_of(file, row[column]).is_file()
        ]
        if not row["image"]:
            problems.append(_wrong(file, number, "no image is named", "name it"))
        if missing:
            value = f"{' and '.join(missing)} not found"
            cure = "correct the path, which is relative to the folder of the table"
            problems.append(_wrong(file, number, value, cure))
        if row["image"] and not missing:
            rows_of[place_of(file, row["image"])].append((number, row))
    problems += [_repeated(image, mine) for image, mine in rows_of.items() if len(mine) > 1]
    once = {image: mine[0] for image, mine in rows_of.items() if len(mine) == 1}
    files = {image: place_of(file, row["mask"]) for image, (_, row) in once.items() if row["mask"]}
    pairs = Pairs(
        files,
        tuple(image for image in once if image not in files),
        tuple(problems),
        len(set(files.values())),
        tuple(rows_of),
    )
    groups = {image: row["group"] for image, (_, row) in once.items() if row.get("group")}
    ready = _ready(file, once)
    return (keep_split(pairs, ready, "mask") if ready else pairs), groups


def _ready(file: Path, once: Mapping[Path, Row]) -> Ready | None:
    """The split of the images by the table; None if it gives none."""
    if not any(row.get("split") for _, row in once.values()):
        return None
    splits, problems = {}, []
    for image, (number, row) in once.items():
        split = split_named(row["split"])
        if split is None:
            value = f"split {row['split']!r}" if row["split"] else "no split, other rows have one"
            problems.append(_wrong(file, number, value, "name train, val or test"))
        else:
            splits[image] = split
    if not problems and not is_split(splits.values()):
        return None
    return Ready(splits, tuple(problems), frozenset(once.keys() - splits.keys()))


def _repeated(image: Path, rows: list[Row]) -> Problem:
    """An error for an image in several rows: with several splits, with several masks, or equal."""
    lines = [f"line {number}" for number, _ in rows]
    splits = [split_named(row.get("split", "")) for _, row in rows]
    if len(set(splits)) > 1:
        places = [f"{split or 'none'} in {line}" for split, line in zip(splits, lines, strict=True)]
        return in_two_splits(image, places)
    masks = {row["mask"] for _, row in rows}
    value = f"it has {len(masks)} masks" if len(masks) > 1 else "it is repeated"
    value += f": {', '.join(lines)}"
    return Problem(image, "error", "two-masks", value, "delete all rows but one")


def _wrong(file: Path, number: int, value: str, cure: str) -> Problem:
    return Problem(file, "error", "row", f"line {number}: {value}", cure)
