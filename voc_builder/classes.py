"""Find the class names of a data set; class 0 is always the background."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from voc_builder.colours import VOID
from voc_builder.errors import UserError
from voc_builder.labelme import IGNORE
from voc_builder.progress import note

FILES = ("obj.names", "labels.txt", "classes.txt", "class_names.txt")
BACKGROUND = "__background__"


def is_background(name: str) -> bool:
    """Whether a class name means the background, as labelme and VOC write it."""
    return name.strip("_").lower() == "background"


def folder_classes(
    folder: Path, file: Path | None, labels: Iterable[str]
) -> tuple[tuple[str, ...], Path]:
    """The classes of a folder, and what names them: `file`, else one of `FILES` in the folder, else
    the folder itself, whose labels they are.
    """
    file = file or next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        return classes_of_labels(labels), folder
    return read_classes(file), file


def read_classes(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line, id = line number. labelme's `__ignore__` in front is
    dropped; where line 1 is not the background, `__background__` is put in front, which a note
    says.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of class names ({error})") from None
    names = [name for line in lines if (name := line.strip())]
    if names[:1] == [IGNORE]:
        names = names[1:]
    if IGNORE in names:
        raise UserError(f"{path}: {IGNORE} is void, not a class: delete the line")
    if not names:
        raise UserError(f"{path}: no class names: write one a line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: {', '.join(twice)} more than once: delete the repeated lines")
    if misplaced := [name for name in names[1:] if is_background(name)]:
        raise UserError(f"{path}: {misplaced[0]} must be the first line: background is class 0")
    if not is_background(names[0]):
        note(f"{path}: line 1 is {names[0]!r}, so {BACKGROUND} was put in front as class 0")
        names = [BACKGROUND, *names]
    return _counted(names, str(path))


def classes_of_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The background and the sorted labels: the classes of a folder without a class file."""
    used = sorted(set(labels) - {IGNORE})
    background = [name for name in used if is_background(name)]
    if len(background) > 1:
        raise UserError(f"labels {background} all mean the background: rename all but one")
    names = [*(background or [BACKGROUND]), *(name for name in used if name not in background)]
    return _counted(names, "the labels")


def _counted(names: list[str], source: str) -> tuple[str, ...]:
    if len(names) > VOID:
        raise UserError(f"{source}: {len(names)} classes, the masks have room for {VOID}")
    return tuple(names)
