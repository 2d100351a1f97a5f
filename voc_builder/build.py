"""Build a VOC tree, and its TFRecords, from annotated images."""

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
from voc_builder.convert import (
    Converted,
    convert_sample,
    count_images,
    count_pixels,
    digest_set,
    draw_picture,
    kind_of,
)
from voc_builder.sources.checks import check_groups, check_images
from voc_builder.sources.config import SourceConfig, base_of, flag_of, source_settings
from voc_builder.sources.detect import choose_source, find_groups, find_samples
from voc_builder.sources.sample import Found
from voc_builder.tree.folds import draw_folds, name_folds
from voc_builder.tree.split import (
    READY_MADE,
    SPLITS,
    USUAL,
    Kind,
    complete_split,
    draw_split,
    parse_split,
    splits_of_groups,
    too_few,
)
from voc_builder.tree.voc import (
    IMAGES,
    MASKS,
    PICTURES,
    RECORDS,
    Dataset,
    digest_images,
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
    """Folder of annotated images, or a CSV of pairs, or COCO JSON."""
    out: Path
    """Folder to write the data set to."""
    split: str | None = None
    """Percentages of train, val and test; null: the split that the images came with, else
    80/10/10."""
    split_from: Path | None = None
    """A built data set: images that it holds stay in its train, val or test; new ones are dealt, as
    far as they reach, so that the percentages of every kind come out."""
    seed: int = 42
    """Of the draw of the split and of the folds."""
    folds: int = 0
    """Folds of cross-validation over train and val together; 0: none."""
    records: bool = True
    """Write TFRecords too."""
    record_size: int | None = None
    """Side of the images and masks inside the TFRecords, pixels; null: as they are."""
    shards: int = 4
    """TFRecord files a split."""
    workers: int = os.cpu_count() or 1
    """Threads; the result is the same with any number."""
    visualize: bool = False
    """Draw every mask over its image, into Visualization."""
    overwrite: bool = False
    """Replace a data set that stands at the place."""
    skip_bad: bool = False
    """Leave out files with errors and list them, instead of stopping."""
    unlabelled: Literal["report", "background"] = "report"
    """Images without annotation: name them and leave them out, or take them as empty."""


def build(config: BuildConfig, *, keep: bool = False) -> Dataset:
    """The data set of `config`, written beside its place and renamed; with `keep` the one that
    another process has put there by then. Raises `UserError`.
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
        reason = error.strerror or error
        raise UserError(
            f"{config.out}: cannot be written ({reason}): check its rights and the free space, "
            f"or choose another place"
        ) from None
    return read_dataset(config.out)


def _fill(tree: Path, found: Found, config: BuildConfig) -> dict[str, Any]:
    """Write everything of the tree but dataset.json, and return what that is to say."""
    classes = found.classes
    done, problems = _convert(tree, found, config)
    groups = find_groups([one.sample for one in done], [one.source for one in done], config)
    if config.split is None and config.split_from is None:
        problems += check_groups(groups, found)
    _stop_or_note(problems, config)
    if not done or len(classes) == 1:
        raise UserError(f"{config.folder}: nothing to learn in it: no sound file shows a class")
    kinds = {one.id: kind_of(one, classes) for one in done}
    splits, split = _splits(done, kinds, groups, found, config)
    folds = _folds(kinds, groups, splits, config)
    _note_lacking(kinds, splits, folds)
    write_lists(tree, classes, {**splits, **folds})
    records = _write_records(tree, splits, config)
    if config.visualize:
        (tree / PICTURES).mkdir()
        _each(draw_picture, (tree, classes), [one.id for one in done], config, "overlays")
    placed = splits_of_groups(groups, splits)
    counts = {one.id: one.counts for one in done}
    return {
        "classes": list(classes),
        "images": count_images(counts, splits, classes),
        "pixels": count_pixels(counts, splits, classes),
        "annotations": {one.id: one.sample.sha256 for one in done},
        "groups": placed,
        "groups_in_two_splits": [name for name, where in placed.items() if len(where) > 1],
        "folds": _about_folds(folds, counts, groups, classes) if folds else None,
        "split": split,
        "seed": config.seed,
        "group_by": config.group_by,
        "source": config.source,
        "mask_pattern": config.mask_pattern,
        "mask_values": config.mask_values,
        "merge": config.merge,
        "records": records,
        "record_size": config.record_size,
        "left_out": _texts(errors(problems), base_of(config.folder)),
        "warnings": _texts(
            [p for p in problems if p.severity == "warning"], base_of(config.folder)
        ),
        "sha256": digest_set(done, {**splits, **folds}, classes),
    }


def _splits(
    done: Sequence[Converted],
    kinds: Mapping[str, Kind],
    groups: Mapping[str, str],
    found: Found,
    config: BuildConfig,
) -> tuple[dict[str, tuple[str, ...]], str]:
    """The ids of train, val and test, and what dataset.json calls the split."""
    if config.split_from is not None:
        ready = found.splits if config.split is None else {}
        return _extended(done, kinds, groups, ready, read_before(config.split_from), config)
    if config.split is not None or not found.splits:
        split = config.split or USUAL
        return draw_split(kinds, groups, parse_split(split), config.seed), split
    splits = complete_split(found.splits, kinds, groups, config.seed)
    drawn = " (drawn from train)" if "val" not in found.splits.values() and splits["val"] else ""
    counts = f"train {len(splits['train'])}, val {len(splits['val'])}{drawn}, "
    note(
        f"{config.folder}: the split that it came with is kept: {counts}test "
        f"{len(splits['test'])}; --split {USUAL} draws another"
    )
    return splits, READY_MADE


def _extended(
    done: Sequence[Converted],
    kinds: Mapping[str, Kind],
    groups: Mapping[str, str],
    ready: Mapping[str, str],
    before: Dataset,
    config: BuildConfig,
) -> tuple[dict[str, tuple[str, ...]], str]:
    """The split of the earlier data set `before` for the images that it holds, that which they came
    with for others, and the rest dealt.
    """
    shares = config.split or USUAL
    named: dict[tuple[str, str], str] = {}
    known: dict[str, str] = {}
    for split in reversed(SPLITS):  # where several hold an image, it has been trained on
        for image, digest in digest_images(before, before.splits[split]).items():
            named[digest, image] = known[digest] = split
    kept = {
        one.id: named.get((one.image, one.id), known[one.image])
        for one in done
        if one.image in known
    }
    if not kept:
        raise UserError(
            f"--split-from {before.path}: it holds none of these images: name the data set that "
            "they were built into"
        )
    splits = draw_split(kinds, groups, parse_split(shares), config.seed, kept={**ready, **kept})
    counts = ", ".join(f"{name} {len(ids)}" for name, ids in splits.items())
    new = len(kinds) - len(kept)
    note(f"{config.folder}: {len(kept)} images stay as in {before.path}, {new} are new: {counts}")
    cut = [name for name, where in splits_of_groups(groups, splits).items() if len(where) > 1]
    if cut:
        note(
            f"warning: {len(cut)} groups, such as that of {cut[0]}, lie in several splits, as "
            f"{before.path} has them: leave --split-from out to have them kept together"
        )
    return splits, f"{shares}, as in {before.sha256[:10]} before"


def read_before(tree: Path) -> Dataset:
    """The data set whose split is to be kept. Raises `UserError` if it cannot be read."""
    try:
        return read_dataset(tree, records=False)
    except UserError:
        # the cures of others would draw the split anew
        raise UserError(
            f"--split-from {tree}: no built data set that can be read (dataset.json and the lists "
            "in ImageSets): name another, or put back what it lacks"
        ) from None


def _folds(
    kinds: Mapping[str, Kind],
    groups: Mapping[str, str],
    splits: Mapping[str, Sequence[str]],
    config: BuildConfig,
) -> dict[str, tuple[str, ...]]:
    """The ids of train and val of every fold by the names of their lists."""
    if not config.folds:
        return {}
    dealt = {image: kinds[image] for name in ("train", "val") for image in splits[name]}
    return name_folds(draw_folds(dealt, groups, config.folds, config.seed))


def _note_lacking(
    kinds: Mapping[str, Kind],
    splits: Mapping[str, Sequence[str]],
    folds: Mapping[str, Sequence[str]],
) -> None:
    """Say which classes have too few images for every split and fold."""
    vals = {name.removesuffix("_val"): ids for name, ids in folds.items() if name.endswith("_val")}
    for name, lacking in [*too_few(splits, kinds).items(), *too_few(vals, kinds).items()]:
        note(f"warning: class {name!r} has too few images: none in {' and '.join(lacking)}")


def _about_folds(
    folds: Mapping[str, Sequence[str]],
    counts: Mapping[str, Sequence[int]],
    groups: Mapping[str, str],
    classes: Sequence[str],
) -> dict[str, Any]:
    """What dataset.json says of the folds: counts by list and class, and where the groups are."""
    vals = {name: ids for name, ids in folds.items() if name.endswith("_val")}
    placed = splits_of_groups(groups, vals)
    return {
        "count": len(vals),
        "images": count_images(counts, folds, classes),
        "pixels": count_pixels(counts, folds, classes),
        "groups": placed,
        "groups_in_two_folds": [name for name, where in placed.items() if len(where) > 1],
    }


def _convert(
    tree: Path, found: Found, config: BuildConfig
) -> tuple[list[Converted], list[Problem]]:
    """What was written of the images and masks, and all that is wrong in the folder."""
    drawn = found.before_merge or found.classes
    if config.unlabelled == "background" and found.unlabelled and not has_background(drawn):
        raise UserError(
            f"--unlabelled background: class 0 is {drawn[0]!r}, no background: annotate "
            f"{found.unlabelled[0].file}, or leave the flag out"
        )
    results = _each(convert_sample, (tree, found.classes), found.samples, config, "photos")
    done = [one for one in results if one.counts]
    problems = [*found.problems, *(problem for one in results for problem in one.problems)]
    if config.unlabelled == "report":
        problems += found.unlabelled
    problems += check_images({one.sample.path: one.source for one in done})
    return done, list(dict.fromkeys(problems))  # images that share a mask share its problems


def _each(
    function: Callable[..., Result],
    first: tuple[object, ...],
    items: Sequence[object],
    config: BuildConfig,
    what: str,
) -> list[Result]:
    """`function` of the arguments `first` and each item, in threads and with a progress bar."""
    results = in_threads(partial(function, *first), items, config.workers)
    return list(progress(results, len(items), what))


def _stop_or_note(problems: Sequence[Problem], config: BuildConfig) -> None:
    """Raise `UserError` with every error, or say which files they leave out."""
    wrong = errors(problems)
    listing = "".join(f"\n  {problem.file}: {problem}" for problem in wrong)
    if wrong and not config.skip_bad:
        raise UserError(
            f"{config.folder}: {len(wrong)} errors; mend them, or leave out the files with "
            f"--skip-bad:{listing}"
        )
    if wrong:
        note(f"left out {len({problem.file for problem in wrong})} files with errors:{listing}")
    if len(problems) > len(wrong):
        note(f"{len(problems) - len(wrong)} warnings, which {_check_command(config)} lists")


def _check_command(config: BuildConfig) -> str:
    """The command that lists what is wrong with the same images and annotations."""
    words = ["python", "-m", "voc_builder", "check", str(config.folder)]
    for name, value in source_settings(config).items():
        if value != getattr(SourceConfig, name):
            words += [flag_of(name), str(value)]
    return shlex.join(words)


def _texts(problems: Sequence[Problem], folder: Path) -> dict[str, list[str]]:
    """What is wrong by file, seen from the folder: the same wherever it lies."""
    texts: dict[str, list[str]] = {}
    for problem in problems:
        inside = problem.file.is_relative_to(folder)
        name = str(problem.file.relative_to(folder) if inside else problem.file.name)
        texts.setdefault(name, []).append(str(problem).replace(f"{folder}{os.sep}", ""))
    return texts


def _write_records(
    tree: Path, splits: Mapping[str, Sequence[str]], config: BuildConfig
) -> dict[str, list[str]]:
    """The names of the shards of every split; shard k of n holds every n-th image from the k-th."""
    if not config.records:
        return {split: [] for split in splits}
    from voc_builder.base.tensorflow import import_tensorflow
    from voc_builder.tree.tfrecord import shard_names, write_shard

    import_tensorflow()  # before the threads: it turns the stderr of all of them away
    (tree / RECORDS).mkdir()
    names = {split: shard_names(split, len(ids), config.shards) for split, ids in splits.items()}
    work = [
        (name, splits[split][number :: len(names[split])])
        for split in splits
        for number, name in enumerate(names[split])
    ]
    _each(write_shard, (tree, config.record_size), work, config, "TFRecords")
    return names


def _refuse_wrong_use(config: BuildConfig) -> None:
    parse_split(config.split or USUAL)
    if config.split_from is not None:
        read_before(config.split_from)
    if config.folds < 0 or config.folds == 1:
        raise UserError(f"--folds takes 0 or a number from 2 on. Received: {config.folds}")
    refuse_below_one(workers=config.workers, shards=config.shards, record_size=config.record_size)
    if not config.folder.exists():
        raise UserError(f"{config.folder}: no such folder: name the folder of annotated images")
    out, folder = config.out.resolve(), config.folder.resolve()
    if out == folder or out in folder.parents or folder in out.parents:
        raise UserError(
            f"{config.out}: the data set would lie inside the images' folder {config.folder}, or "
            f"hold it: choose a place outside it"
        )
    if config.out.exists():
        if not config.overwrite:
            raise UserError(f"{config.out}: exists already: choose another, or give --overwrite")
        if not is_tree(config.out) and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{config.out}: no data set, so it is not overwritten: choose another")


def build_command(config: BuildConfig) -> None:
    """Build and say what came of it."""
    dataset = build(config)
    counts = ", ".join(f"{name} {len(ids)}" for name, ids in dataset.splits.items())
    folds = f"; {dataset.folds} folds of train and val" if dataset.folds else ""
    print(f"{dataset.path}: {counts} images{folds}; classes {', '.join(dataset.classes)}")
