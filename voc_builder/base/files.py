"""Write files and folders beside their place and rename them, so that none is ever half there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Returns when a file or folder has reached the disk, so that a power cut cannot undo it."""
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Lets an `OSError` name `path`: a write, unlike an opening, does not say what it wrote to."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def making(folder: Path) -> Iterator[None]:
    """Makes a folder; removes it and its parents again where the block fails and it made them, as
    far as they are empty.
    """
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
    """A path beside `path` to write a file or fill a folder at; takes the place of `path`, whatever
    stood there, when the block ends, and vanishes when it fails. With `keep` a folder that stands
    there by then stays, and the new one vanishes. An `OSError` names `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last, writers choose their format by it; the stem may be as long as is legal
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
        with suppress(OSError):  # a folder that cannot be written cannot be tidied up either
            remove(beside)
        raise
    finally:
        if os.path.lexists(beside):
            remove(beside)


def _place(beside: Path, path: Path) -> None:
    """Put the folder `beside` at `path`, in one step, unless a folder with files is there."""
    try:
        beside.rename(path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _swap(beside: Path, path: Path) -> None:
    """Put `beside` at `path`, which the system does not do in one step where a folder is involved;
    what stood there comes back if that fails.
    """
    aside = beside.with_name(beside.name + ".old")
    try:
        path.rename(aside)
        beside.rename(path)
    except BaseException:  # Ctrl-C may come after either
        if os.path.lexists(aside):
            if os.path.lexists(path):
                path.rename(beside)
            aside.rename(path)
        raise
    remove(aside)


def remove(path: Path) -> None:
    """Removes a file, a link or a folder with all in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
