"""Write files and folders beside their place and rename them, so that none is ever half there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or fill a folder at; takes the place of `path`, whatever
    stood there, when the block ends, and vanishes when it fails.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last: writers choose their format by it
    beside = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield beside
        if beside.is_dir() and path.exists():
            aside = beside.with_name(beside.name + ".old")
            path.rename(aside)
            beside.rename(path)
            shutil.rmtree(aside)
        else:
            beside.replace(path)
    finally:
        if beside.is_dir():
            shutil.rmtree(beside)
        else:
            beside.unlink(missing_ok=True)
