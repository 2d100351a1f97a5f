"""List the files of a folder and give each a name of its own."""

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
    """Every file under the folder but hidden ones; links are followed, not in circles. Raises
    `UserError` for a folder that cannot be read.
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
    """What lies in the folder but hidden things, each with whether it is a folder. Raises
    `UserError` for a folder that cannot be read.
    """
    try:
        return [(path, path.is_dir()) for path in folder.iterdir() if path.name[0] != "."]
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}): check its rights") from None


def unique_ids(paths: Sequence[Path]) -> list[str]:
    """An id for each path: its stem, or for a stem that several have, its folders and stem joined
    by `_`. The stem of `a.jpg.json` is `a`. Names that a disk may take for one (case, composed
    accents) count as the same.
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


def seen_from(path: Path, folder: Path) -> Path:
    """The path as seen from the folder, without the steps up that may need."""
    parts = Path(os.path.relpath(path, folder)).parts
    return Path(*(part for part in parts if part != os.pardir))


def bare(path: Path) -> Path:
    """The path without its suffix, and without that of an image in front of it."""
    path = path.with_suffix("")
    while path.suffix.lower() in SUFFIXES:
        path = path.with_suffix("")
    return path


def folded(name: str) -> str:
    """The name as a disk may see it that tells neither case nor composed accents apart."""
    return unicodedata.normalize("NFC", name).casefold()


def well_named(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The paths whose names are UTF-8 without control characters, and the others: no list, table or
    record could name these.
    """
    good = [path for path in paths if escaped(str(path)) == str(path)]
    return good, [path for path in paths if escaped(str(path)) != str(path)]


def bad_name(path: Path) -> Problem:
    """An error for a file that is not well named, as an archive from another system may leave."""
    part = next(part for part in path.parts if escaped(part) != part)
    value = "holds a control character" if CONTROL.search(part) else "is not UTF-8"
    file = Path(escaped(str(path)))
    return Problem(file, "error", "file-name", f"the name {part!r} {value}", "rename it")
