"""Build a data set once and use it again while nothing in it changes."""

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
from voc_builder.build import BuildConfig, build, read_before
from voc_builder.sources.config import base_of, name_of
from voc_builder.sources.detect import files_of
from voc_builder.tree.voc import FORMAT, Dataset, is_tree, read_dataset

# settings that change nothing in a data set; of files the contents count
NO_PART = ("folder", "out", "classes", "colors", "split_from", "workers", "overwrite")
NO_FLAGS: Mapping[str, str] = MappingProxyType({})


def build_cached(config: BuildConfig, flags: Mapping[str, str] = NO_FLAGS) -> Dataset:
    """The data set of `config.folder`: a VOC tree itself, unless the source is named as its masks;
    else one built into a folder of `config.out` and used again while no file of the folder and no
    setting changes; none is ever replaced. Raises `UserError`, also for settings of a build that
    come with a tree that is taken as it is; `folds` may be as many as it has. `flags` are the
    caller's names of settings, where they are others than those of the build.
    """
    if is_tree(config.folder) and config.source != "masks":
        dataset = read_dataset(config.folder)
        _refuse_unused(config, dataset, flags)
        return _with_records(dataset)
    out = config.out / f"{name_of(config.folder)}-{_digest(config)[:10]}"
    if is_tree(out):
        return read_dataset(out)
    # a data set that another process builds meanwhile may be in use
    return build(replace(config, out=out, overwrite=True), keep=True)


def _refuse_unused(config: BuildConfig, dataset: Dataset, called: Mapping[str, str]) -> None:
    """Raise `UserError` naming the settings of a build that are not its defaults."""
    usual = BuildConfig(config.folder, config.out, folds=dataset.folds if config.folds else 0)
    names = [
        field.name
        for field in fields(config)
        if getattr(config, field.name) != getattr(usual, field.name)
    ]
    if names:
        flags = ", ".join(f"--{called.get(name, name).replace('_', '-')}" for name in names)
        have, them = ("has", "it") if len(names) == 1 else ("have", "them")
        raise UserError(
            f"{config.folder} is a built data set: {flags} {have} no effect on it: build it again "
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
    """SHA-256 of all that decides the data set: names and contents of its files, and settings."""
    named = [path for path in (config.classes, config.colors) if path]
    files = [*files_of(config.folder, config), *named]
    settings = {key: str(value) for key, value in asdict(config).items() if key not in NO_PART}
    if config.split_from is not None:  # what it holds, wherever it lies
        before = read_before(config.split_from)
        settings["split_from"] = json.dumps([before.sha256, before.splits])

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
