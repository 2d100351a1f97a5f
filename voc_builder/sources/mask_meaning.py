"""Map the values or colours of masks to classes."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.classes import (
    BACKGROUND,
    FILES,
    checked_classes,
    class_file,
    is_background,
    is_void,
    read_ids,
)
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.base.files import read_lines
from voc_builder.base.problems import AnnotationError
from voc_builder.base.progress import note
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.mask_files import MaskFile

PLAIN = frozenset({0, 1, VOID})  # values of masks with at most two classes
TWO = ("background", "object")  # default names of these classes
COLOUR = re.compile(
    r"(?P<name>.+?)\s*[\s,;]\s*"
    r"(?:#(?P<hex>[0-9a-fA-F]{6})|(?P<rgb>\d{1,3}\s*[\s,;]\s*\d{1,3}\s*[\s,;]\s*\d{1,3}))"
)

NO_COLOUR = re.compile(r"\s*(#.*|name\W+r\W+g\W+b\s*)?")  # a comment, a heading, an empty line


@dataclass(frozen=True)
class Meaning:
    """The class of each value in the masks of a data set; the value of a colour is 0xRRGGBB."""

    classes: tuple[str, ...]
    ids: Mapping[int, int]  # class id by value, 255 for ignored
    source: Path  # file or folder of the class names
    cure: str  # for other values
    plain: bool = False  # values are class ids, or 255 is id 1
    coloured: bool = False

    def name(self, value: int) -> str:
        """A value in a message: a number, or `#RRGGBB`."""
        return f"#{value:06X}" if self.coloured else str(value)


def find_meaning(folder: Path, settings: SourceConfig, files: Sequence[MaskFile]) -> Meaning:
    """The meaning of values by the settings `colors` or `mask_values`, else as class ids. Raises
    `UserError` if it is unknown.
    """
    if settings.colors is not None:
        return read_colours(settings.colors)
    source = class_file(folder, settings.classes)
    names = None if source is None else read_ids(source)
    if settings.mask_values is not None:
        return name_values(settings.mask_values, names, source or folder)
    seen = sorted(set().union(*(file.counts for file in files)))
    if names is None:
        if not seen:
            raise AnnotationError([problem for file in files for problem in file.problems])
        if not PLAIN.issuperset(seen) or len(seen) < 2:
            raise UserError(_no_names(folder, seen))
        names = TWO
        note(
            f"{folder}: no class names, so they are {' and '.join(TWO)}; "
            "--mask-values 0=background,255=NAME sets others"
        )
    ids = {number: number for number in range(len(names))} | {VOID: VOID}
    if white_is_one(files, names):
        ids[VOID] = 1
    cure = (
        f"the classes are 0 to {len(names) - 1}, {VOID} is ignored: correct it, or add the missing "
    )
    return Meaning(names, ids, source or folder, f"{cure}class names", plain=True)


def white_is_one(files: Sequence[MaskFile], classes: Sequence[str]) -> bool:
    """Whether 255 is class 1 and not ignored: with two classes, if no mask that only holds values
    of 0, 1 and 255 holds a 1. A single mask of 0 and 255 could be of either kind.
    """
    plain = [set(file.counts) for file in files if set(file.counts) <= PLAIN]
    seen = set().union(*plain)
    return len(classes) == 2 and VOID in seen and 1 not in seen


def name_values(text: str, names: Sequence[str] | None, source: Path) -> Meaning:
    """The meaning of text like `2=background,1=pet,3=void`; 255 is ignored unless it is named. The
    classes are `names` from the file `source`, else those of the text in its order, the background
    first.
    """
    named: dict[int, str] = {}
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*=\s*(.*\S)\s*", part)
        if match is None or int(match[1]) in named:
            raise UserError(
                "--mask-values takes each value once with the name of its class, as "
                f"2=background,1=pet,3=void. Received: {text}"
            )
        named[int(match[1])] = match[2]
    classes = background_first(named.values()) if names is None else tuple(names)
    unknown = sorted({name for name in named.values() if not is_void(name)} - {*classes})
    if unknown:
        raise UserError(f"--mask-values: {nearest_names(unknown, classes)} of {source}")
    if not classes:
        raise UserError(f"--mask-values names no class but void. Received: {text}")
    ids = {value: VOID if is_void(n) else classes.index(n) for value, n in named.items()}
    cure = (
        f"--mask-values names {', '.join(map(str, sorted(named)))}: name these too, or correct it"
    )
    return Meaning(checked_classes(classes, "--mask-values"), {VOID: VOID, **ids}, source, cure)


def read_colours(path: Path) -> Meaning:
    """The meaning of a file of colours: a line `NAME R G B`, `NAME,R,G,B` or `NAME #RRGGBB` each,
    classes in the order of the lines, `void` or `__ignore__` for ignored pixels. A class may have
    several colours. Raises `UserError` with all wrong lines.
    """
    lines = read_lines(path, "colours")
    named: dict[int, str] = {}
    wrong = []
    for number, line in enumerate(lines, 1):
        colour = _parse_colour(line)
        if colour is None and NO_COLOUR.fullmatch(line.lower()):
            continue
        if colour is None:
            wrong.append(f"line {number} is no NAME R G B or NAME #RRGGBB: {line.strip()!r}")
        elif colour[1] in named:
            value = f"line {number} names #{colour[1]:06X} again"
            wrong.append(f"{value}, which is {named[colour[1]]!r}")
        else:
            named[colour[1]] = colour[0]
    classes = list(dict.fromkeys(name for name in named.values() if not is_void(name)))
    wrong += [
        f"{name!r} must be the first line: background is class 0"
        for name in classes[1:]
        if is_background(name)
    ]
    if wrong or not classes:
        reasons = "".join(f"\n  {reason}" for reason in wrong) or " no colours in it"
        raise UserError(f"{path}:{reasons}")
    ids = {value: VOID if is_void(n) else classes.index(n) for value, n in named.items()}
    cure = f"{path.name} names {len(named)} colours: add these there, or correct it"
    return Meaning(checked_classes(classes, str(path)), ids, path, cure, coloured=True)


def background_first(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, without those of ignored pixels, the background first."""
    classes = [name for name in dict.fromkeys(names) if not is_void(name)]
    return tuple(sorted(classes, key=lambda name: not is_background(name)))


def with_background(names: Iterable[str], source: Path) -> tuple[str, ...]:
    """The class names of objects, with the background as class 0. Raises `UserError`."""
    classes = background_first(names)
    if not classes or not is_background(classes[0]):
        classes = (BACKGROUND, *classes)
    return checked_classes(classes, str(source))


def nearest_names(unknown: Sequence[str], classes: Sequence[str]) -> str:
    """`'pit' (rather 'pet'?) is none of the classes background, pet`."""
    near = {name: difflib.get_close_matches(name, classes, n=1) for name in unknown}
    named = [f"{n!r} (rather {near[n][0]!r}?)" if near[n] else repr(n) for n in unknown]
    verb = "is" if len(unknown) == 1 else "are"
    return f"{', '.join(named)} {verb} none of the classes {', '.join(classes)}"


def _parse_colour(line: str) -> tuple[str, int] | None:
    match = COLOUR.fullmatch(line.strip())
    if match is None:
        return None
    if match["hex"]:
        return match["name"].strip(" ,;"), int(match["hex"], 16)
    red, green, blue = map(int, re.findall(r"\d+", match["rgb"]))
    if max(red, green, blue) > 255:
        return None
    return match["name"].strip(" ,;"), red << 16 | green << 8 | blue


def _no_names(folder: Path, values: Sequence[int]) -> str:
    return (
        f"{folder}: no class names, and masks hold none: give --classes FILE, class 0 first, "
        f"or put it into the folder as {FILES[0]}, or name the values as --mask-values "
        f"0=background,1=NAME. The masks hold the values "
        f"{', '.join(map(str, values[:10]))}{', ...' if len(values) > 10 else ''}"
    )
