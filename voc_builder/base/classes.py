"""Find the class names of a data set; class 0 is the background where its name says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from voc_builder.base.colours import IGNORE, VOID
from voc_builder.base.errors import UserError
from voc_builder.base.problems import CONTROL
from voc_builder.base.progress import note

FILES = ("obj.names", "labels.txt", "classes.txt", "class_names.txt")
BACKGROUND = "__background__"


def is_background(name: str) -> bool:
    """Whether a class name means the background, as labelme and VOC write it."""
    return name.strip("_").lower() == "background"


def is_void(name: str) -> bool:
    """Whether a name means pixels that are neither learned nor scored."""
    return name.strip("_").lower() in ("void", "ignore")


def has_background(classes: Sequence[str]) -> bool:
    """Whether class 0 is the background: by its name, else it is a class like any other."""
    return is_background(classes[0])


def class_file(folder: Path, file: Path | None) -> Path | None:
    """The file that names the classes of a folder: `file`, else the first of `FILES` in it."""
    return file or next((folder / name for name in FILES if (folder / name).is_file()), None)


def folder_classes(
    folder: Path, file: Path | None, labels: Iterable[str]
) -> tuple[tuple[str, ...], Path]:
    """The classes of a folder, and what names them: `file`, else one of `FILES` in the folder, else
    the folder itself, whose labels they are.
    """
    file = class_file(folder, file)
    if file is None:
        return classes_of_labels(labels), folder
    return read_classes(file), file


def read_classes(path: Path) -> tuple[str, ...]:
    """The names in a file, one a line, id = line number. labelme's `__ignore__` in front is
    dropped; where line 1 is not the background, `__background__` is put in front, which a note
    says.
    """
    names = [name for line in _lines(path) if (name := line.strip())]
    names = _refuse_odd(names, path)
    if misplaced := [name for name in names[1:] if is_background(name)]:
        raise UserError(f"{path}: {misplaced[0]} must be the first line: background is class 0")
    if not is_background(names[0]):
        note(f"{path}: line 1 is {names[0]!r}, so {BACKGROUND} was put in front as class 0")
        names = [BACKGROUND, *names]
    return counted(names, str(path))


def read_ids(path: Path) -> tuple[str, ...]:
    """The names in a file that are those of the ids in masks: as `read_classes`, but nothing is put
    in front, and no line is left out, as either would give the ids other names.
    """
    names = [line.strip() for line in "\n".join(_lines(path)).rstrip().split("\n")]
    if "" in names and any(names):
        raise UserError(f"{path}: line {names.index('') + 1} is empty: name the class of that id")
    return counted(_refuse_odd([name for name in names if name], path), str(path))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of class names ({error})") from None


def _refuse_odd(names: list[str], path: Path) -> list[str]:
    """The names without `__ignore__` in front. Raises `UserError` for what no list may hold."""
    if names[:1] == [IGNORE]:
        names = names[1:]
    if IGNORE in names:
        raise UserError(f"{path}: {IGNORE} is void, not a class: delete the line")
    if not names:
        raise UserError(f"{path}: no class names: write one a line")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: {', '.join(twice)} more than once: delete the repeated lines")
    return names


def classes_of_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """The background and the sorted labels: the classes of a folder without a class file. A label
    that no list of names can hold makes no class: each shape that has it is an error.
    """
    used = sorted(label for label in {*labels} - {IGNORE} if not CONTROL.search(label))
    background = [name for name in used if is_background(name)]
    if len(background) > 1:
        raise UserError(f"labels {background} all mean the background: rename all but one")
    names = [*(background or [BACKGROUND]), *(name for name in used if name not in background)]
    return counted(names, "the labels")


def counted(names: list[str], source: str) -> tuple[str, ...]:
    """The names, if masks have room for them and lists can hold them. Raises `UserError`."""
    if odd := [name for name in names if CONTROL.search(name)]:
        raise UserError(f"{source}: class names with control characters {odd}: rename them")
    if len(names) > VOID:
        raise UserError(f"{source}: {len(names)} classes, the masks have room for {VOID}")
    return tuple(names)
