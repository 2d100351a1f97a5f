"""Build a VOC tree and TFRecords from annotated images."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.base.files import making, replacing
from voc_builder.base.problems import Problem, errors
from voc_builder.base.progress import in_threads, note, progress
from voc_builder.choose_split import (
    Images,
    Splits,
    choose_folds,
    choose_split,
    note_lacking,
    read_earlier,
    vals,
)
from voc_builder.convert import (
    Converted,
    convert_sample,
    count_images,
    count_pixels,
    digest_set,
    kind_of,
    write_overlay,
)
from voc_builder.sources.checks import check_groups, check_images
from voc_builder.sources.config import SourceConfig, base_of, flag_of, source_settings
from voc_builder.sources.detect import choose_source, find_groups, find_samples
from voc_builder.sources.sample import Found
from voc_builder.tree.split import DEFAULT, parse_split, splits_of_groups
from voc_builder.tree.voc import (
    IMAGES,
    MASKS,
    OVERLAYS,
    RECORDS,
    Dataset,
    is_tree,
    read_dataset,
    write_about,
    write_lists,
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class BuildConfig(SourceConfig):
    """Build a VOC tree and TFRecords from annotated images."""

    folder: Path
    """Folder of annotated images, CSV of pairs, or COCO JSON."""
    out: Path
    """Folder of the data set to write."""
    split: str | None = None
    """Percentages of train, val and test; null: a ready-made split of the images, else 80/10/10."""
    split_from: Path | None = None
    """Earlier data set: its images stay in their train, val or test; new ones are drawn such that
    the percentages are met as closely as possible."""
    seed: int = 42
    """Seed for drawing the split and the folds."""
    folds: int = 0
    """Number of cross-validation folds over train and val together; 0: none."""
    records: bool = True
    """Write TFRecords."""
    record_size: int | None = None
    """Side of images and masks in the TFRecords, pixels; null: unchanged."""
    shards: int = 4
    """Number of TFRecord files per split."""
    workers: int = os.cpu_count() or 1
    """Number of threads; the result does not depend on it."""
    visualize: bool = False
    """Write every image with its mask drawn over it, to Visualization."""
    overwrite: bool = False
    """Replace a data set in the output folder."""
    skip_bad: bool = False
    """Leave out files with errors and list them, instead of stopping."""
    unlabelled: Literal["report", "background"] = "report"
    """Images without annotation: leave them out with a warning, or take them as empty."""


def build(config: BuildConfig, *, keep: bool = False) -> Dataset:
    """Build the data set of `config` and move it to its place when it is complete; with `keep` a
    data set that another process has put there meanwhile stays. Raises `UserError`.
    """
    _refuse_wrong_use(config)
    config = replace(config, source=choose_source(config.folder, config))
    found = find_samples(config.folder, config, empty=config.unlabelled == "background")
    try:
        out = config.out.absolute()
        with making(out.parent), replacing(out, keep=keep) as tree:
            for name in (IMAGES, MASKS):
                (tree / name).mkdir(parents=True)
            write_about(tree, _fill(tree, found, config))
    except OSError as error:
        raise UserError(
            f"{config.out}: cannot be written ({error.strerror or error}): check its permissions "
            "and the free space, or choose another folder"
        ) from None
    return read_dataset(config.out)


def _refuse_wrong_use(config: BuildConfig) -> None:
    parse_split(config.split or DEFAULT)
    if config.split_from is not None:
        read_earlier(config.split_from)
    if config.folds < 0 or config.folds == 1:
        raise UserError(f"--folds takes 0 or a number from 2 on. Received: {config.folds}")
    refuse_below_one(workers=config.workers, shards=config.shards, record_size=config.record_size)
    if not config.folder.exists():
        raise UserError(f"{config.folder}: no such folder: name the folder of annotated images")
    out, folder = config.out.resolve(), config.folder.resolve()
    if out == folder or out in folder.parents or folder in out.parents:
        raise UserError(
            f"{config.out}: inside the folder of the images, {config.folder}, or around it: choose "
            "a folder outside it"
        )
    if config.out.exists():
        if not config.overwrite:
            raise UserError(f"{config.out}: exists already: choose another, or give --overwrite")
        if not is_tree(config.out) and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{config.out}: no data set, so it is not overwritten: choose another")


def _fill(tree: Path, found: Found, config: BuildConfig) -> dict[str, Any]:
    """Write all files of the tree but dataset.json, and return the content of that."""
    classes = found.classes
    done, problems = _convert(tree, found, config)
    groups = find_groups([one.sample for one in done], [one.source for one in done], config)
    if config.split is None and config.split_from is None:
        problems += check_groups(groups, found)
    _stop_or_note(problems, config)
    if not done or len(classes) == 1:
        raise UserError(f"{config.folder}: nothing to learn: no file without errors shows a class")
    kinds = {one.id: kind_of(one, classes) for one in done}
    digests = {one.id: one.image for one in done}
    images = Images(config.folder, kinds, groups, digests, found.splits)
    splits, split_name = choose_split(images, config.split, config.split_from, config.seed)
    folds = choose_folds(images, splits, config.folds, config.seed)
    note_lacking(kinds, splits, folds)
    write_lists(tree, classes, {**splits, **folds})
    records = _write_records(tree, splits, config)
    if config.visualize:
        (tree / OVERLAYS).mkdir()
        _each(partial(write_overlay, tree, classes), list(kinds), config, "overlays")
    return {
        **_about_images(done, splits, folds, groups, classes),
        "split": split_name,
        "records": records,
        **_about_settings(config),
        **_about_problems(problems, base_of(config.folder)),
    }


def _convert(
    tree: Path, found: Found, config: BuildConfig
) -> tuple[list[Converted], list[Problem]]:
    """Write images and masks; the samples that were written, and all problems of the folder."""
    class_0 = found.original_classes[0]
    empty = config.unlabelled == "background"
    if empty and found.unlabelled and not has_background(found.original_classes):
        raise UserError(
            f"--unlabelled background: class 0 is {class_0!r}, no background: annotate "
            f"{found.unlabelled[0].file}, or leave out the flag"
        )
    results = _each(partial(convert_sample, tree, found), found.samples, config, "images")
    done = [one for one in results if one.counts]
    problems = [*found.problems, *(problem for one in results for problem in one.problems)]
    if not empty:
        problems += found.unlabelled
    problems += check_images({one.sample.path: one.source for one in done})
    return done, list(dict.fromkeys(problems))  # images that share a mask share its problems


def _each(
    function: Callable[[Any], Result], items: Sequence[object], config: BuildConfig, what: str
) -> list[Result]:
    """The results of `function` for the items, computed in threads with a progress bar."""
    return list(progress(in_threads(function, items, config.workers), len(items), what))


def _stop_or_note(problems: Sequence[Problem], config: BuildConfig) -> None:
    """Raise `UserError` with every error, or with --skip-bad write what they leave out."""
    wrong = errors(problems)
    listing = "".join(f"\n  {problem.file}: {problem}" for problem in wrong)
    if wrong and not config.skip_bad:
        raise UserError(
            f"{config.folder}: {len(wrong)} errors; fix them, or leave out the files with "
            f"--skip-bad:{listing}"
        )
    if wrong:
        note(f"left out {len({problem.file for problem in wrong})} files with errors:{listing}")
    if len(problems) > len(wrong):
        note(f"{len(problems) - len(wrong)} warnings, which {_check_command(config)} lists")


def _check_command(config: BuildConfig) -> str:
    """The command that lists the problems of the same images and annotations."""
    words = ["python", "-m", "voc_builder", "check", str(config.folder)]
    for name, value in source_settings(config).items():
        if value != getattr(SourceConfig, name):
            words += [flag_of(name), str(value)]
    return shlex.join(words)


def _write_records(tree: Path, splits: Splits, config: BuildConfig) -> dict[str, list[str]]:
    """Write the TFRecords and return the names of the shards by split; shard k of n holds every
    n-th image from the k-th.
    """
    if not config.records:
        return {split: [] for split in splits}
    from voc_builder.base.tensorflow import import_tensorflow
    from voc_builder.tree.tfrecord import shard_names, write_shard

    import_tensorflow()  # before the threads start, because it redirects the stderr of all
    (tree / RECORDS).mkdir()
    names = {split: shard_names(split, len(ids), config.shards) for split, ids in splits.items()}
    work = [
        (name, splits[split][number :: len(names[split])])
        for split in splits
        for number, name in enumerate(names[split])
    ]
    _each(partial(write_shard, tree, config.record_size), work, config, "TFRecords")
    return names


def _about_images(
    done: Sequence[Converted],
    splits: Splits,
    folds: Splits,
    groups: Mapping[str, str],
    classes: Sequence[str],
) -> dict[str, Any]:
    """The part of dataset.json about images, splits and folds."""
    counts = {one.id: one.counts for one in done}

    def about(lists: Splits, held_out: Mapping[str, Sequence[str]], what: str) -> dict[str, Any]:
        placed = splits_of_groups(groups, held_out)
        return {
            "images": count_images(counts, lists, classes),
            "pixels": count_pixels(counts, lists, classes),
            "groups": placed,
            f"groups_in_two_{what}": [name for name, where in placed.items() if len(where) > 1],
        }

    of_folds = vals(folds)
    return {
        "classes": list(classes),
        "annotations": {one.id: one.sample.sha256 for one in done},
        **about(splits, splits, "splits"),
        "folds": {"count": len(of_folds), **about(folds, of_folds, "folds")} if folds else None,
        "sha256": digest_set(done, {**splits, **folds}, classes),
    }


def _about_settings(config: BuildConfig) -> dict[str, Any]:
    """The part of dataset.json that repeats settings."""
    names = ("seed", "group_by", "source", "mask_pattern", "mask_values", "merge", "record_size")
    return {name: getattr(config, name) for name in names}


def _about_problems(problems: Sequence[Problem], folder: Path) -> dict[str, Any]:
    """The part of dataset.json about problems: texts by file, with paths relative to the folder."""
    texts: dict[str, dict[str, list[str]]] = {"left_out": {}, "warnings": {}}
    for problem in problems:
        inside = problem.file.is_relative_to(folder)
        name = str(problem.file.relative_to(folder) if inside else problem.file.name)
        part = texts["left_out" if problem.severity == "error" else "warnings"]
        part.setdefault(name, []).append(str(problem).replace(f"{folder}{os.sep}", ""))
    return texts


def build_command(config: BuildConfig) -> None:
    """Build and print a summary."""
    dataset = build(config)
    counts = ", ".join(f"{name} {len(ids)}" for name, ids in dataset.splits.items())
    folds = f"; {dataset.folds} folds of train and val" if dataset.folds else ""
    print(f"{dataset.path}: {counts} images{folds}; classes {', '.join(dataset.classes)}")
