"""Choose the split of a data set: ready-made, drawn, or that of an earlier data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.tree.folds import draw_folds, name_folds
from voc_builder.tree.split import (
    DEFAULT,
    READY_MADE,
    SPLITS,
    Kind,
    complete_split,
    draw_split,
    lacking_splits,
    parse_split,
    splits_of_groups,
)
from voc_builder.tree.voc import Dataset, digest_images, read_dataset

Splits = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Images:
    """The images of a data set, as far as the split depends on them; all by id."""

    folder: Path  # that notes name
    kinds: Mapping[str, Kind]
    groups: Mapping[str, str]
    digests: Mapping[str, str]  # of the images as stored
    ready: Mapping[str, str]  # ready-made split, or {}


def choose_split(
    images: Images, split: str | None, split_from: Path | None, seed: int
) -> tuple[Splits, str]:
    """The ids of train, val and test, and the name of the split in dataset.json. `split` are
    percentages, None keeps a ready-made split; `split_from` is an earlier data set.
    """
    if split_from is not None:
        return _extend(images, split, read_earlier(split_from), seed)
    if split is not None or not images.ready:
        split = split or DEFAULT
        return draw_split(images.kinds, images.groups, parse_split(split), seed), split
    splits = complete_split(images.ready, images.kinds, images.groups, seed)
    drawn = " (drawn from train)" if "val" not in images.ready.values() and splits["val"] else ""
    note(
        f"{images.folder}: the ready-made split is kept: train {len(splits['train'])}, val "
        f"{len(splits['val'])}{drawn}, test {len(splits['test'])}; --split {DEFAULT} draws another"
    )
    return splits, READY_MADE


def _extend(images: Images, split: str | None, earlier: Dataset, seed: int) -> tuple[Splits, str]:
    """The split of the earlier data set for its images, the ready-made split for others, and a
    drawn one for the rest.
    """
    by_name: dict[tuple[str, str], str] = {}
    by_digest: dict[str, str] = {}
    for name in reversed(SPLITS):  # an image in several splits counts as trained on
        for image, digest in digest_images(earlier, earlier.splits[name]).items():
            by_name[digest, image] = by_digest[digest] = name
    kept = {
        image: by_name.get((digest, image), by_digest[digest])
        for image, digest in images.digests.items()
        if digest in by_digest
    }
    if not kept:
        raise UserError(
            f"--split-from {earlier.path}: it has none of these images: name the data set that "
            "they were built into"
        )
    ready = images.ready if split is None else {}
    percent = split or DEFAULT
    fractions = parse_split(percent)
    splits = draw_split(images.kinds, images.groups, fractions, seed, kept={**ready, **kept})
    counts = ", ".join(f"{name} {len(ids)}" for name, ids in splits.items())
    note(
        f"{images.folder}: {len(kept)} images stay as in {earlier.path}, "
        f"{len(images.kinds) - len(kept)} are new: {counts}"
    )
    cut = [
        name for name, where in splits_of_groups(images.groups, splits).items() if len(where) > 1
    ]
    if cut:
        note(
            f"warning: {len(cut)} groups, such as that of {cut[0]}, are in several splits, as in "
            f"{earlier.path}: leave out --split-from to keep them together"
        )
    return splits, f"{percent}, as in {earlier.sha256[:10]} before"


def read_earlier(tree: Path) -> Dataset:
    """The data set whose split is to be kept. Raises `UserError` if it cannot be read."""
    try:
        return read_dataset(tree, records=False)
    except UserError:
        # its own text says to build it again, which would draw another split
        raise UserError(
            f"--split-from {tree}: no built data set that can be read (dataset.json and the lists "
            "in ImageSets): name another, or restore the missing files"
        ) from None


def choose_folds(images: Images, splits: Splits, count: int, seed: int) -> Splits:
    """The ids of train and val of every fold by the names of their lists; {} for 0 folds."""
    if not count:
        return {}
    kinds = {image: images.kinds[image] for name in ("train", "val") for image in splits[name]}
    return name_folds(draw_folds(kinds, images.groups, count, seed))


def note_lacking(kinds: Mapping[str, Kind], splits: Splits, folds: Splits) -> None:
    """Write a warning for each class that a split or fold lacks."""
    for lists in (splits, {name.removesuffix("_val"): ids for name, ids in vals(folds).items()}):
        for name, lacking in lacking_splits(lists, kinds).items():
            note(f"warning: class {name!r} has too few images: none in {' and '.join(lacking)}")


def vals(folds: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """The val lists of the folds, which hold every image once."""
    return {name: ids for name, ids in folds.items() if name.endswith("_val")}
