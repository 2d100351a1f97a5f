"""List the files of a folder and give each a unique id."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.base.problems import CONTROL, Problem, escaped
from voc_builder.pixels.images import SUFFIXES


def visible_files(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Every file under the folder except hidden ones; links are followed, but not in circles.
    Raises `UserError` for a folder that cannot be read.
    """
    real = folder.resolve()
    if real in above:
        return
    for path, is_folder in visible_entries(folder):
        if is_folder:
            yield from visible_files(path, (*above, real))
        else:
            yield path


def visible_entries(folder: Path) -> list[tuple[Path, bool]]:
    """The entries of a folder except hidden ones, each with whether it is a folder. Raises
    `UserError` for a folder that cannot be read.
    """
    try:
        return [(path, path.is_dir()) for path in folder.iterdir() if path.name[0] != "."]
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be read ({error.strerror}): check its permissions"
        ) from None


def files_with(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The sorted visible files under the folder with one of the suffixes, in any case."""
    return sorted(path for path in visible_files(folder) if path.suffix.lower() in suffixes)


def unique_ids(paths: Sequence[Path]) -> list[str]:
    """An id for each path: its stem, or if several have that stem, its folders and stem joined by
    `_`. The stem of `a.jpg.json` is `a`. Names that differ only in case or in how accents are
    composed count as equal, because some file systems do not distinguish them.
    """
    plain = [bare(path) for path in paths]
    stems = Counter(folded(path.name) for path in plain)
    ids: list[str] = []
    taken: set[str] = set()
    for path in plain:
        name = path.name
        if stems[folded(name)] > 1:
            name = "_".join(path.parts)
        unique, number = name, 1
        while folded(unique) in taken or (unique != name and folded(unique) in stems):
            number += 1
            unique = f"{name}_{number}"
        taken.add(folded(unique))
        ids.append(unique)
    return ids


def relative_path(path: Path, folder: Path) -> Path:
    """The path relative to the folder, without leading `..`."""
    parts = Path(os.path.relpath(path, folder)).parts
    return Path(*(part for part in parts if part != os.pardir))


def bare(path: Path) -> Path:
    """The path without its suffix, nor the suffix of an image before it."""
    path = path.with_suffix("")
    while path.suffix.lower() in SUFFIXES:
        path = path.with_suffix("")
    return path


def folded(name: str) -> str:
    """The name in the form in which names are compared: composed accents, case folded."""
    return unicodedata.normalize("NFC", name).casefold()


def well_named(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The paths whose names are UTF-8 without control characters, and the others, which could not
    be written to lists, tables and records.
    """
    good = [path for path in paths if escaped(str(path)) == str(path)]
    return good, [path for path in paths if escaped(str(path)) != str(path)]


def bad_name(path: Path) -> Problem:
    """An error for a file that is not well named."""
    part = next(part for part in path.parts if escaped(part) != part)
    value = "holds a control character" if CONTROL.search(part) else "is not UTF-8"
    file = Path(escaped(str(path)))
    return Problem(file, "error", "file-name", f"the name {part!r} {value}", "rename it")
