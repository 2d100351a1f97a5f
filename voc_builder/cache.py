"""Build a data set once and use it again as long as its files and settings do not change."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType

from voc_builder.base.errors import UserError
from voc_builder.base.progress import in_threads, progress
from voc_builder.build import BuildConfig, build
from voc_builder.choose_split import read_earlier
from voc_builder.sources.config import base_of, name_of
from voc_builder.sources.detect import files_of
from voc_builder.tree.voc import FORMAT, Dataset, is_tree, read_dataset

# settings that do not change the data set, or that name files whose contents count
IRRELEVANT = ("folder", "out", "classes", "colors", "split_from", "workers", "overwrite")
SAME_FLAGS: Mapping[str, str] = MappingProxyType({})


def build_cached(config: BuildConfig, flags: Mapping[str, str] = SAME_FLAGS) -> Dataset:
    """The data set of `config.folder`. A VOC tree is the data set itself, unless the source is
    `masks`; anything else is built into a folder in `config.out` named after the digest of files
    and settings, and reused while these do not change. Raises `UserError`, also for settings that
    have no effect on a tree. `flags` are the caller's names of settings, if they differ.
    """
    if is_tree(config.folder) and config.source != "masks":
        dataset = read_dataset(config.folder)
        _refuse_unused(config, dataset, flags)
        return _with_records(dataset)
    out = config.out / f"{name_of(config.folder)}-{_digest(config)[:10]}"
    if is_tree(out):
        return read_dataset(out)
    # another process may build the same data set and use it already
    return build(replace(config, out=out, overwrite=True), keep=True)


def _refuse_unused(config: BuildConfig, dataset: Dataset, flags: Mapping[str, str]) -> None:
    """Raises `UserError` with the settings of a build that differ from the defaults."""
    usual = BuildConfig(config.folder, config.out, folds=dataset.folds if config.folds else 0)
    names = [
        field.name
        for field in fields(config)
        if getattr(config, field.name) != getattr(usual, field.name)
    ]
    if names:
        listed = ", ".join(f"--{flags.get(name, name).replace('_', '-')}" for name in names)
        have, them = ("has", "it") if len(names) == 1 else ("have", "them")
        raise UserError(
            f"{config.folder} is a built data set: {listed} {have} no effect on it: build it again "
            f"with {them}, or have its masks read anew with --source masks, where --split draws "
            "another split"
        )


def _with_records(dataset: Dataset) -> Dataset:
    if not any(dataset.records.values()):
        tree = shlex.quote(str(dataset.path))
        raise UserError(
            f"{dataset.path}: built without TFRecords: build it again with "
            f"python -m voc_builder build SRC {tree} --records --overwrite"
        )
    return dataset


def _digest(config: BuildConfig) -> str:
    """SHA-256 of the names and contents of all files of the data set, and of the settings."""
    named = [path for path in (config.classes, config.colors) if path]
    files = [*files_of(config.folder, config), *named]
    settings = {key: str(value) for key, value in asdict(config).items() if key not in IRRELEVANT}
    if config.split_from is not None:  # its content, wherever it is
        earlier = read_earlier(config.split_from)
        settings["split_from"] = json.dumps([earlier.sha256, earlier.splits])

    def digest_file(path: Path) -> bytes:
        return hashlib.sha256(path.read_bytes()).digest()

    digest = hashlib.sha256(json.dumps([FORMAT, settings]).encode())
    try:
        digests = in_threads(digest_file, files, os.cpu_count() or 1)
        contents = list(progress(digests, len(files), "files compared", patience=3))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    for path, content in zip(files, contents, strict=True):
        digest.update(os.fsencode(os.path.relpath(path, base_of(config.folder))) + b"\0" + content)
    return digest.hexdigest()
