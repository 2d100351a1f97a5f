"""Merge classes into new ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from voc_builder.base.classes import checked_classes, is_background, is_void
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.sources.mask_meaning import background_first, nearest_names
from voc_builder.sources.sample import Found

REST = "*"  # all classes that are not named


def merge_classes(found: Found, text: str) -> Found:
    """The same samples with the classes of text like `background=clutter+ground,object=*`. Raises
    `UserError` unless it names each original class once.
    """
    new_name = parse_merge(text, found.classes)
    classes = checked_classes(background_first(new_name.values()), "--merge")
    if not classes:
        raise UserError(f"--merge leaves no class but void. Received: {text}")
    ids = {name: VOID if is_void(new) else classes.index(new) for name, new in new_name.items()}
    return replace(found, classes=classes, merged={name: ids[name] for name in found.classes})


def parse_merge(text: str, classes: Sequence[str]) -> Mapping[str, str]:
    """The new name of each of `classes`, in the order of the new names in the text. Raises
    `UserError` with everything that is wrong.
    """
    new_names: list[str] = []
    merged: dict[str, str] = {}  # new name by original name or REST
    wrong, unknown = [], []
    for part in text.split(","):
        new, equals, originals = (word.strip() for word in part.partition("="))
        if not new or not equals or not originals:
            usage = "NEW=OLD+OLD,NEW=*, as background=clutter+ground,object=*"
            raise UserError(f"--merge takes {usage}. Received: {text}")
        new_names.append(new)
        for original in (name.strip() for name in originals.split("+")):
            name = REST if original == REST else _find_class(original, classes)
            if name is None:
                unknown.append(original)
            elif name in merged:
                wrong.append(f"{name if name == REST else repr(name)} comes twice")
            else:
                merged[name] = new
    if unknown:
        wrong.append(nearest_names(unknown, classes))
    left = [name for name in classes if name not in merged]
    if left and REST not in merged and not unknown:
        wrong.append(f"{', '.join(left)} not named: name each class, or all others as {REST}")
    if wrong:
        raise UserError(f"--merge {text}: {'; '.join(wrong)}")
    filled = {name: merged.get(name) or merged[REST] for name in classes}
    return dict(sorted(filled.items(), key=lambda pair: new_names.index(pair[1])))


def _find_class(name: str, classes: Sequence[str]) -> str | None:
    """The class of that name; all spellings of the background are one."""
    if name in classes:
        return name
    same = [one for one in classes if is_background(one) and is_background(name)]
    return same[0] if same else None
