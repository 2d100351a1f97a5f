"""Write and read a data set as a Pascal VOC tree."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from voc_builder.base.errors import UserError
from voc_builder.base.progress import in_threads, progress
from voc_builder.tree.split import SPLITS

FORMAT = 1  # of dataset.json; a tree with another number must be built again
IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", "ImageSets/Segmentation"
OVERLAYS, RECORDS, ABOUT = "Visualization", "tfrecords", "dataset.json"


@dataclass(frozen=True)
class Dataset:
    """A built data set."""

    path: Path
    classes: tuple[str, ...]  # index = class id
    splits: dict[str, tuple[str, ...]]  # ids by train, val, test
    records: dict[str, tuple[Path, ...]]  # TFRecord shards by split; () if built without
    record_size: int | None  # side of the images in the records, pixels; None: unchanged
    pixels: dict[str, dict[str, int]]  # by split and class; ignored ones are "__ignore__"
    images: dict[str, dict[str, int]]  # number of images with the class, by split and class
    sha256: str  # of classes, ids, splits, folds, images and masks, but not of their place
    folds: int = 0  # of cross-validation over train and val; 0 if built without

    def image(self, image_id: str) -> Path:
        """The image of that id, an upright JPEG."""
        return self.path / IMAGES / f"{image_id}.jpg"

    def mask(self, image_id: str) -> Path:
        """The mask of that id, a palette PNG of class ids."""
        return self.path / MASKS / f"{image_id}.png"

    def in_fold(self, number: int) -> Dataset:
        """This data set with fold `number`, from 1, as val and the other folds as train; test is
        unchanged. The records of train and val are those of both. Raises `UserError` for a fold
        that does not exist.
        """
        build = f"{_build_command(self.path)} --folds K --overwrite"
        if not self.folds:
            raise UserError(f"{self.path}: built without folds: build it again with {build}")
        if not 1 <= number <= self.folds:
            raise UserError(
                f"{self.path}: fold {number} is not one of 1 to {self.folds}: choose one of them, "
                f"or build it again with {build}"
            )
        lists = {name: f"fold_{number}_{name}" for name in ("train", "val")}
        shards = (*self.records["train"], *self.records["val"])
        with _reading(self.path, build):
            folds = _read_about(self.path)["folds"]
            return replace(
                self,
                splits=self.splits | {name: _read_list(self.path, lists[name]) for name in lists},
                records=self.records | dict.fromkeys(lists, shards),
                pixels=self.pixels | {name: folds["pixels"][lists[name]] for name in lists},
                images=self.images | {name: folds["images"][lists[name]] for name in lists},
            )


def is_tree(path: Path) -> bool:
    """Whether a folder is a data set of this package, by its dataset.json."""
    return (path / ABOUT).is_file() and (path / LISTS).is_dir()


def read_dataset(path: Path, *, records: bool = True) -> Dataset:
    """The data set at `path`. Raises `UserError` if there is none or if a part of it is missing;
    missing TFRecords are an error with `records` only.
    """
    build = f"build it with {_build_command(path)}"
    if not path.is_dir():
        raise UserError(f"{path}: no such folder: {build}")
    if not is_tree(path):
        raise UserError(
            f"{path}: not a data set of voc_builder (no {ABOUT} or {LISTS}): name the OUT of a "
            "python -m voc_builder build SRC OUT"
        )
    with _reading(path, f"{build} --overwrite"):
        about = _read_about(path)
        if about["format"] != FORMAT:
            raise UserError(f"{path / ABOUT}: format {about['format']}, not {FORMAT}: {build}")
        dataset = Dataset(
            path=path,
            classes=tuple(about["classes"]),
            splits={name: _read_list(path, name) for name in SPLITS},
            records={
                name: tuple((path / RECORDS / shard).absolute() for shard in about["records"][name])
                for name in SPLITS
            },
            record_size=about["record_size"],
            pixels=about["pixels"],
            images=about["images"],
            sha256=about["sha256"],
            folds=(about.get("folds") or {"count": 0})["count"],
        )
    shards = (shard for of_split in dataset.records.values() for shard in of_split)
    if records and (missing := [shard for shard in shards if not shard.is_file()]):
        raise UserError(f"{missing[0]}: missing, {len(missing)} in all: {build} --overwrite")
    return dataset


def digest_images(dataset: Dataset, ids: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the stored images by id. Raises `UserError` if one cannot be read."""

    def digest(image_id: str) -> str:
        return hashlib.sha256(dataset.image(image_id).read_bytes()).hexdigest()

    done = in_threads(digest, ids, os.cpu_count() or 1)
    try:
        return dict(zip(ids, progress(done, len(ids), "images compared", patience=3), strict=True))
    except OSError as error:
        raise UserError(
            f"{error.filename}: cannot be read ({error.strerror}), but must be compared with other "
            "images: restore it"
        ) from None


def read_groups(path: Path) -> dict[str, str]:
    """The group of every id of the tree that has one; empty for a tree of another program. Raises
    `UserError` for a damaged tree.
    """
    with _reading(path, f"build it with {_build_command(path)} --overwrite"):
        about = _read_about(path)
        own = isinstance(about, dict) and about.get("format") == FORMAT
        groups = about["groups"] if own else {}
        return {
            image: group
            for group, placed in groups.items()
            for ids in placed.values()
            for image in ids
        }


def write_lists(path: Path, classes: Sequence[str], splits: Mapping[str, Sequence[str]]) -> None:
    """Write the text files of a tree: ids and CSV of every split, and the class names."""
    (path / LISTS).mkdir(parents=True)
    named = {**splits, "trainval": sorted([*splits["train"], *splits["val"]])}
    for name, ids in named.items():
        _write_lines(path / LISTS / f"{name}.txt", ids)
    for name in SPLITS:
        with (path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["image", "mask"])
            writer.writerows([f"{IMAGES}/{i}.jpg", f"{MASKS}/{i}.png"] for i in splits[name])
    _write_lines(path / "class_names.txt", classes)


def write_about(path: Path, about: Mapping[str, Any]) -> None:
    """Write dataset.json, with sorted keys: equal data sets are equal bytes."""
    text = json.dumps({"format": FORMAT, **about}, ensure_ascii=False, indent=1, sort_keys=True)
    (path / ABOUT).write_text(text + "\n", encoding="utf-8")


def _build_command(path: Path) -> str:
    return f"python -m voc_builder build SRC {shlex.quote(str(path))}"


@contextmanager
def _reading(path: Path, build: str) -> Iterator[None]:
    """Raises `UserError` for the errors that a damaged data set causes."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / ABOUT}: damaged ({error!r}): {build}") from None


def _read_about(path: Path) -> Any:
    return json.loads((path / ABOUT).read_text(encoding="utf-8"))


def _read_list(path: Path, name: str) -> tuple[str, ...]:
    # an id may hold a character that splitlines() takes for the end of a line
    return tuple((path / LISTS / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
