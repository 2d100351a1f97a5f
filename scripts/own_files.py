"""Let a command that draws a set of photos replace nothing but its own files."""

from __future__ import annotations

import re
from pathlib import Path

from voc_builder.base.errors import UserError


def refuse_taken_folder(out: Path, own: re.Pattern[str], *, overwrite: bool) -> None:
    """Raise `UserError` if something stands at `out`; with `overwrite` only if that is no folder,
    or has files or folders in it whose path, seen from `out`, `own` does not match as a whole.
    """
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out} exists: choose another folder or add --overwrite")
    if not out.is_dir():
        raise UserError(f"{out} is no folder, so it is not overwritten: choose another place")
    inside = (path.relative_to(out).as_posix() for path in out.rglob("*"))
    foreign = sorted(name for name in inside if not own.fullmatch(name))
    if foreign:
        raise UserError(
            f"{out} holds files that this command does not write, so it is not overwritten: "
            f"choose another folder or move them. Received: {foreign[:3]}"
            f"{f' and {len(foreign) - 3} more' if len(foreign) > 3 else ''}"
        )
