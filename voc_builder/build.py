"""Build a VOC tree, and its TFRecords, from a folder of annotated photos."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from voc_builder.checks import examine
from voc_builder.classes import classes_of_labels, find_class_file, read_classes
from voc_builder.colours import VOID, voc_colours
from voc_builder.command import UserError
from voc_builder.files import replacing
from voc_builder.images import decode_image, encode_jpeg
from voc_builder.png import encode_mask
from voc_builder.problems import Problem, errors
from voc_builder.progress import in_threads, note, progress
from voc_builder.sample import Sample
from voc_builder.sources import find_labelme, labelme_samples
from voc_builder.split import SPLITS, Kind, draw_split, parse_split, too_few
from voc_builder.voc import (
    MASKS,
    PHOTOS,
    PICTURES,
    RECORDS,
    Dataset,
    is_tree,
    read_dataset,
    write_about,
    write_lists,
)


@dataclass(frozen=True)
class BuildConfig:
    """Build a VOC tree and TFRecords from a folder of photos annotated in labelme."""

    folder: Path
    """folder of photos and labelme JSON, searched with its subfolders"""
    out: Path
    """folder to write the data set to"""
    classes: Path | None = None
    """file of class names, one a line (default: obj.names, labels.txt, classes.txt or
    class_names.txt in the folder, else the labels used)"""
    split: str = "80/10/10"
    """percentages of train, val and test"""
    seed: int = 42
    """of the draw of the split"""
    group_by: str | None = None
    """regular expression; photos whose ids match with the same text stay in one split"""
    records: bool = True
    """write TFRecords too"""
    record_size: int | None = None
    """side of the photos and masks inside the TFRecords, pixels (default: as they are)"""
    shards: int = 4
    """TFRecord files a split"""
    workers: int = os.cpu_count() or 1
    """threads; the result is the same with any number"""
    visualize: bool = False
    """draw every mask over its photo, into Visualization"""
    overwrite: bool = False
    """replace a data set that stands at the place"""
    skip_bad: bool = False
    """leave out files with errors and list them, instead of stopping"""
    unlabelled: Literal["report", "background"] = "report"
    """photos without JSON: name them and leave them out, or take them as empty"""


@dataclass(frozen=True)
class Converted:
    """What was written for one photo."""

    id: str
    annotation: str  # digests
    source: str
    photo: str
    mask: str
    counts: tuple[int, ...]  # pixels by class id, 256 of them


def build(config: BuildConfig) -> Dataset:
    """The data set of `config`, written beside its place and renamed. Raises `UserError`."""
    _refuse_wrong_use(config)
    with replacing(config.out) as tree:
        for name in (PHOTOS, MASKS):
            (tree / name).mkdir(parents=True)
        write_about(tree, _fill(tree, config))
    return read_dataset(config.out)


def _fill(tree: Path, config: BuildConfig) -> dict[str, Any]:
    """Write everything of the tree but dataset.json, and return what that is to say."""
    found = find_labelme(config.folder)
    samples = labelme_samples(found, config.folder, empty=config.unlabelled == "background")
    if not samples and not found.problems:
        raise UserError(f"{config.folder}: no labelme JSON in it: annotate photos, or name another")
    class_file = config.classes or find_class_file(config.folder)
    classes = read_classes(class_file) if class_file else classes_of_labels(found.labels)
    convert = partial(_convert, tree, classes)
    results = progress(in_threads(convert, samples, config.workers), len(samples), "photos")
    problems = list(found.problems)
    done: list[Converted] = []
    for bad, converted in results:
        problems += bad
        done += [converted] if converted else []
    _stop_or_note(problems, config)
    groups = _groups(done, config.group_by)
    kinds = {one.id: _kind(one, classes) for one in done}
    splits = draw_split(kinds, groups, parse_split(config.split), config.seed)
    for name, lacking in too_few(splits, kinds).items():
        note(f"warning: class {name!r} has too few photos, none in {' and '.join(lacking)}")
    write_lists(tree, classes, splits)
    records = _write_records(tree, splits, config)
    if config.visualize:
        _draw_overlays(tree, [one.id for one in done], classes, config.workers)
    return {
        **_counts(done, splits, classes),
        "classes": list(classes),
        "annotations": {one.id: one.annotation for one in done},
        "groups": groups,
        "split": config.split,
        "seed": config.seed,
        "group_by": config.group_by,
        "records": records,
        "record_size": config.record_size,
        "sha256": _digest(done, splits, classes),
    }


def _convert(
    tree: Path, classes: Sequence[str], sample: Sample
) -> tuple[tuple[Problem, ...], Converted | None]:
    """Write the photo and the mask of a sample, unless something is wrong with it."""
    examined = examine(sample, classes)
    if examined.header is None or errors(examined.problems):
        return examined.problems, None
    header, photo = examined.header, examined.photo
    source = hashlib.sha256(photo).hexdigest()
    digest = source
    if not header.ready:
        photo = encode_jpeg(decode_image(photo, str(sample.path)))
        digest = hashlib.sha256(photo).hexdigest()
    mask = sample.draw_mask(classes, header.height, header.width)
    (tree / PHOTOS / f"{sample.id}.jpg").write_bytes(photo)
    (tree / MASKS / f"{sample.id}.png").write_bytes(encode_mask(mask))
    mask_digest = hashlib.sha256(b"%d %d " % mask.shape + mask.data).hexdigest()
    counts = tuple(Image.fromarray(mask).histogram())
    converted = Converted(sample.id, sample.sha256, source, digest, mask_digest, counts)
    return examined.problems, converted


def _stop_or_note(problems: Sequence[Problem], config: BuildConfig) -> None:
    wrong = errors(problems)
    listing = "\n".join(f"  {problem.file}: {problem}" for problem in wrong)
    if wrong and not config.skip_bad:
        raise UserError(
            f"{len(wrong)} errors in {config.folder}; mend them, or leave these files out with "
            f"--skip-bad:\n{listing}"
        )


def _groups(done: Sequence[Converted], group_by: str | None) -> dict[str, str]:
    """The group of every photo that has one: what `group_by` finds in its id, or the same bytes."""
    return {}


def _kind(one: Converted, classes: Sequence[str]) -> Kind:
    return frozenset(
        name for class_id, name in enumerate(classes) if class_id and one.counts[class_id]
    )


def _counts(
    done: Sequence[Converted], splits: dict[str, tuple[str, ...]], classes: Sequence[str]
) -> dict[str, Any]:
    """Pixels and photos by split and class, as dataset.json has them."""
    by_id = {one.id: one for one in done}
    named = [*enumerate(classes), (VOID, "void")]
    pixels, images = {}, {}
    for split in SPLITS:
        mine = [by_id[photo].counts for photo in splits[split]]
        pixels[split] = {name: sum(counts[i] for counts in mine) for i, name in named}
        images[split] = {name: sum(counts[i] > 0 for counts in mine) for i, name in named}
        images[split]["total"] = len(mine)
    return {"pixels": pixels, "images": images}


def _digest(
    done: Sequence[Converted], splits: dict[str, tuple[str, ...]], classes: Sequence[str]
) -> str:
    content = [list(classes), splits, sorted([one.id, one.photo, one.mask] for one in done)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _write_records(
    tree: Path, splits: dict[str, tuple[str, ...]], config: BuildConfig
) -> dict[str, list[str]]:
    """The shards of every split; shard k of n holds every n-th photo from the k-th on."""
    if not config.records:
        return {name: [] for name in SPLITS}
    from voc_builder.tfrecord import shard_names, write_shard

    (tree / RECORDS).mkdir()
    names = {split: shard_names(split, len(splits[split]), config.shards) for split in SPLITS}
    work = [
        (name, splits[split][number :: len(names[split])])
        for split in SPLITS
        for number, name in enumerate(names[split])
    ]

    def write(item: tuple[str, tuple[str, ...]]) -> str:
        return write_shard(tree, *item, config.record_size)

    for _ in progress(in_threads(write, work, config.workers), len(work), "TFRecords"):
        pass
    return names


def _draw_overlays(tree: Path, ids: Sequence[str], classes: Sequence[str], workers: int) -> None:
    import numpy as np

    from voc_builder.overlay import draw_overlay

    (tree / PICTURES).mkdir()
    colours = voc_colours()

    def draw(photo_id: str) -> None:
        path = tree / PHOTOS / f"{photo_id}.jpg"
        image = decode_image(path.read_bytes(), str(path))
        mask = np.array(Image.open(tree / MASKS / f"{photo_id}.png"))
        picture = encode_jpeg(draw_overlay(image, mask, classes, colours))
        (tree / PICTURES / f"{photo_id}.jpg").write_bytes(picture)

    for _ in progress(in_threads(draw, ids, workers), len(ids), "overlays"):
        pass


def _refuse_wrong_use(config: BuildConfig) -> None:
    parse_split(config.split)
    if not config.folder.is_dir():
        raise UserError(
            f"{config.folder}: no such folder: name the folder of photos and JSON files"
        )
    out, folder = config.out.resolve(), config.folder.resolve()
    if out == folder or out in folder.parents or folder in out.parents:
        raise UserError(
            f"{config.out}: lies inside {config.folder} or holds it: choose another OUT"
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
    print(f"{dataset.path}: {counts} photos; classes {', '.join(dataset.classes)}")
