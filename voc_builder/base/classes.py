"""Read or derive the class names of a data set; class 0 is the background if its name says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from voc_builder.base.colours import IGNORE, VOID
from voc_builder.base.errors import UserError
from voc_builder.base.files import read_lines
from voc_builder.base.problems import CONTROL
from voc_builder.base.progress import note

FILES = ("obj.names", "labels.txt", "classes.txt", "class_names.txt")
BACKGROUND = "__background__"


def is_background(name: str) -> bool:
    """Whether a class name means the background, as labelme and Pascal VOC write it."""
    return name.strip("_").lower() == "background"


def is_void(name: str) -> bool:
    """Whether a name means ignored pixels."""
    return name.strip("_").lower() in ("void", "ignore")


def has_background(classes: Sequence[str]) -> bool:
    """Whether class 0 is the background, by its name."""
    return is_background(classes[0])


def class_file(folder: Path, file: Path | None) -> Path | None:
    """The file with the class names of a folder: `file`, else the first of `FILES` that exists."""
    return file or next((folder / name for name in FILES if (folder / name).is_file()), None)


def folder_classes(
    folder: Path, file: Path | None, labels: Iterable[str]
) -> tuple[tuple[str, ...], Path]:
    """The classes of a folder and their source: the class file, or without one the folder, whose
    labels become the classes.
    """
    file = class_file(folder, file)
    if file is None:
        return classes_of_labels(labels), folder
    return read_classes(file), file


def read_classes(path: Path) -> tuple[str, ...]:
    """The class names of a file, one per line, id = line number. A first line `__ignore__` is
    dropped; if line 1 is not the background, `__background__` is added before it, with a note.
    """
    names = _checked([name for line in _lines(path) if (name := line.strip())], path)
    if misplaced := [name for name in names[1:] if is_background(name)]:
        raise UserError(f"{path}: {misplaced[0]} must be the first line: background is class 0")
    if not is_background(names[0]):
        note(f"{path}: line 1 is {names[0]!r}, so {BACKGROUND} was added before it as class 0")
        names = [BACKGROUND, *names]
    return checked_classes(names, str(path))


def read_ids(path: Path) -> tuple[str, ...]:
    """The class names of the ids in masks, one per line. No line is added or skipped, because that
    would rename ids. Raises `UserError` for an empty line.
    """
    names = [line.strip() for line in "\n".join(_lines(path)).rstrip().split("\n")]
    if "" in names and any(names):
        raise UserError(f"{path}: line {names.index('') + 1} is empty: name the class of that id")
    return checked_classes(_checked([name for name in names if name], path), str(path))


def _lines(path: Path) -> list[str]:
    return read_lines(path, "class names")


def _checked(names: list[str], path: Path) -> list[str]:
    """The names without a leading `__ignore__`. Raises `UserError` for an invalid list."""
    names = names[names[:1] == [IGNORE] :]
    if IGNORE in names:
        raise UserError(
            f"{path}: {IGNORE} marks ignored pixels, it is not a class: delete the line"
        )
    if not names:
        raise UserError(f"{path}: no class names: write one per line")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UserError(f"{path}: {', '.join(repeated)} more than once: delete the repeated lines")
    return names


def classes_of_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The background and the sorted labels. A label with a control character makes no class: each
    shape with it is an error.
    """
    used = sorted(label for label in {*labels} - {IGNORE} if not CONTROL.search(label))
    background = [name for name in used if is_background(name)]
    if len(background) > 1:
        raise UserError(f"labels {background} all mean the background: rename all but one")
    names = [*(background or [BACKGROUND]), *(name for name in used if name not in background)]
    return checked_classes(names, "the labels")


def checked_classes(names: Iterable[str], source: str) -> tuple[str, ...]:
    """The names as a tuple. Raises `UserError` for too many, and for control characters in them."""
    classes = tuple(names)
    if odd := [name for name in classes if CONTROL.search(name)]:
        raise UserError(f"{source}: class names with control characters {odd}: rename them")
    if len(classes) > VOID:
        raise UserError(f"{source}: {len(classes)} classes, masks can hold {VOID}")
    return classes
