"""Build a data set once and use it again while nothing in it changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from voc_builder.build import BuildConfig, build
from voc_builder.errors import UserError
from voc_builder.progress import in_threads, progress
from voc_builder.sources import Place, Source, files_of
from voc_builder.voc import FORMAT, Dataset, is_tree, read_dataset


def build_cached(
    folder: Path,
    datasets: Path,
    *,
    source: Source = "auto",
    images: Path | None = None,
    masks: Path | None = None,
    mask_pattern: str | None = None,
    classes: Path | None = None,
    split: str = "80/10/10",
    seed: int = 42,
    folds: int = 0,
    group_by: str | None = None,
    record_size: int | None = None,
    unlabelled: Literal["report", "background"] = "report",
    skip_bad: bool = False,
) -> Dataset:
    """The data set of `folder`: itself if it is a VOC tree, else one built into `datasets` and
    used again while no file of the folder and no setting changes. Raises `UserError`, also for
    settings of a build that come with a tree; `folds` may be as many as it has.
    """
    if is_tree(folder):
        dataset = read_dataset(folder)
        _refuse_unused(
            folder,
            source=source,
            images=images,
            masks=masks,
            mask_pattern=mask_pattern,
            classes=classes,
            split=split,
            folds=0 if folds == dataset.folds else folds,
            group_by=group_by,
            unlabelled=unlabelled,
            skip_bad=skip_bad,
        )
        return _with_records(dataset)
    place = Place(folder, source, images, masks, mask_pattern)
    form = [source, str(images), str(masks), mask_pattern]
    settings = [FORMAT, split, seed, folds, group_by, record_size, unlabelled, skip_bad, *form]
    out = datasets / f"{folder.resolve().name}-{_digest_folder(place, classes, settings)[:10]}"
    if is_tree(out):
        return read_dataset(out)
    return build(
        BuildConfig(
            folder,
            out,
            source=source,
            images=images,
            masks=masks,
            mask_pattern=mask_pattern,
            classes=classes,
            split=split,
            seed=seed,
            folds=folds,
            group_by=group_by,
            record_size=record_size,
            unlabelled=unlabelled,
            skip_bad=skip_bad,
            overwrite=True,
        )
    )


def _refuse_unused(folder: Path, **settings: object) -> None:
    """Raise `UserError` naming the settings of a build that are not its defaults."""
    names = [name for name, value in settings.items() if value != getattr(BuildConfig, name)]
    if names:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in names)
        have, them = ("has", "it") if len(names) == 1 else ("have", "them")
        raise UserError(
            f"{folder} is a built data set: {flags} {have} no effect on it: build it again with "
            f"{them}"
        )


def _with_records(dataset: Dataset) -> Dataset:
    if not any(dataset.records.values()):
        raise UserError(
            f"{dataset.path}: built without TFRecords: build it again with "
            f"python -m voc_builder build SRC {dataset.path} --records --overwrite"
        )
    return dataset


def _digest_folder(place: Place, classes: Path | None, settings: Sequence[object]) -> str:
    """SHA-256 of all that decides the data set: names and contents of its files, and settings."""
    files = [*files_of(place), *([classes] if classes else [])]

    def digest_file(path: Path) -> bytes:
        return hashlib.sha256(path.read_bytes()).digest()

    digest = hashlib.sha256(json.dumps(settings).encode())
    try:
        digests = in_threads(digest_file, files, os.cpu_count() or 1)
        contents = list(progress(digests, len(files), "files compared", patience=3))
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from None
    for path, content in zip(files, contents, strict=True):
        digest.update(os.fsencode(os.path.relpath(path, place.folder)) + b"\0" + content)
    return digest.hexdigest()
