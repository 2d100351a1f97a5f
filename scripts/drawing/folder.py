"""Write a set of drawn images into a folder that holds nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing


def check_ranges(*ranges: tuple[str, int, int, int | None]) -> None:
    """Raise `UserError` for each flag whose value is out of range: (flag, value, lowest, highest),
    where a highest value of None is no limit.
    """
    wrong = [
        f"{flag} {value}: must be at least {low}{'' if high is None else f', at most {high}'}"
        for flag, value, low, high in ranges
        if value < low or (high is not None and value > high)
    ]
    if wrong:
        raise UserError("; ".join(wrong))


@contextmanager
def new_folder(out: Path, own: re.Pattern[str], *, overwrite: bool) -> Iterator[Path]:
    """An empty folder that becomes `out` when the block ends. Raises `UserError` if `out` exists;
    with `overwrite` only if a file or folder in it has a relative path that does not match `own`.
    """
    if out.exists():
        if not overwrite:
            raise UserError(f"{out} exists: choose another folder or add --overwrite")
        if not out.is_dir():
            raise UserError(f"{out} is not a folder and is not overwritten: choose another place")
        inside = (path.relative_to(out).as_posix() for path in out.rglob("*"))
        foreign = sorted(name for name in inside if not own.fullmatch(name))
        if foreign:
            raise UserError(
                f"{out} holds files that this command does not write and is not overwritten: "
                f"choose another folder or move them. Received: {foreign[:3]}"
                f"{f' and {len(foreign) - 3} more' if len(foreign) > 3 else ''}"
            )
    with replacing(out) as folder:
        folder.mkdir(parents=True)
        yield folder


def write(path: Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, and create the folder it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
