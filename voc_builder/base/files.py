"""Write files and folders under a temporary name and rename them: no one sees a partial file."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voc_builder.base.errors import UserError


def read_lines(path: Path, what: str) -> list[str]:
    """The lines of a UTF-8 text file. Raises `UserError` that calls the file a list of `what`."""
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a list of {what} ({error})") from None


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that it survives a power failure."""
    if os.name != "posix":  # only there can a folder be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Adds `path` to an `OSError` without a file name: a failed write does not name its file."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Makes a folder and its parents. If the block fails, new ones that are empty are removed."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in new:
            with suppress(OSError):  # not empty, or not made
                path.rmdir()
        raise


@contextmanager
def replacing(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yields a temporary path in the same folder, for a file or a folder. It replaces `path` when
    the block ends and is deleted when the block fails. With `keep` a non-empty folder that exists
    by then stays, and the new one is deleted. An `OSError` names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # writers choose the format by the suffix; a long stem would exceed the limit of a name
    beside = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")
    try:
        yield beside
        if keep:
            _place(beside, path)
        elif os.path.lexists(path) and (beside.is_dir() or path.is_dir()):
            _swap(beside, path)
        else:
            beside.replace(path)
    except OSError as error:
        name = str(error.filename or beside)
        ours = beside.stem in Path(name).name
        error.filename = str(path) if ours else name.replace(str(beside), str(path))
        with suppress(OSError):  # nothing can be deleted in a read-only folder
            remove(beside)
        raise
    finally:
        if os.path.lexists(beside):
            remove(beside)


def _place(beside: Path, path: Path) -> None:
    """Rename the folder `beside` to `path` in one step, unless a non-empty folder exists there."""
    try:
        beside.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _swap(beside: Path, path: Path) -> None:
    """Replace `path` by `beside` where one of them is a folder: two renames, undone on failure."""
    aside = beside.with_name(beside.name + ".old")
    try:
        path.rename(aside)
        beside.rename(path)
    except BaseException:  # also Ctrl-C, after either rename
        if os.path.lexists(aside):
            if os.path.lexists(path):
                path.rename(beside)
            aside.rename(path)
        raise
    remove(aside)


def remove(path: Path) -> None:
    """Delete a file, a link or a folder with its contents, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
