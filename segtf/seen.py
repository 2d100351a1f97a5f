"""Which photos a network has seen in training: what it scores on those says nothing about others.

A photo is known by the bytes of its JPEG in a VOC tree, in whichever tree and split it lies.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from segtf.config import TrainConfig
from segtf.run_folder import DATA, read_data
from voc_builder.errors import UserError
from voc_builder.progress import in_threads, note, progress
from voc_builder.voc import Dataset

TRAINED_ON = "trained_on"  # what data.json calls them
DIGITS = 16  # of a SHA-256 in hex that is kept: 64 bits
NAMED = 3  # photos that a message names


def trained_on(config: TrainConfig, dataset: Dataset) -> list[str]:
    """The photos of train, and all that the network which gives the first weights was trained on,
    sorted.
    """
    own = _digests(dataset, dataset.splits["train"]).values()
    return sorted(set(own).union(*(_seen_by(run) or () for run in _givers(config).values())))


def find_seen(runs: Sequence[Path], dataset: Dataset, split: str) -> dict[Path, tuple[str, ...]]:
    """The ids of those photos of a split that runs were trained on, by run; runs that were trained
    on none, or do not say it, are left out. Photos that lie in train too, which was said when the
    data set was built, do not count.
    """
    known = {run: _seen_by(run) or () for run in dict.fromkeys(runs)}
    digests = _digests(dataset, dataset.splits[split]) if any(known.values()) else {}
    found = {run: {i for i in digests if digests[i] in seen} for run, seen in known.items()}
    if any(found.values()):
        twins = set(_digests(dataset, dataset.splits["train"]).values())
        found = {run: {i for i in ids if digests[i] not in twins} for run, ids in found.items()}
    return {run: tuple(sorted(ids)) for run, ids in found.items() if ids}


def refuse_seen(config: TrainConfig, dataset: Dataset) -> None:
    """Raises `UserError` if the network that gives the first weights was trained on photos that
    this run is to be measured on.
    """
    note_silent(list(_givers(config).values()))
    for flag, run in _givers(config).items():
        for split in ("val", "test"):
            if ids := find_seen([run], dataset, split).get(run):
                raise UserError(
                    f"{flag} {run}: its network was trained on {tell(ids, dataset, split)}: their "
                    "scores would flatter. Train on a data set of the same split, or begin with "
                    "other weights"
                )


def seen_by_any(folders: Sequence[Path]) -> frozenset[str]:
    """The digests of all photos that networks were trained on, of those folders that are runs."""
    runs = [folder for folder in dict.fromkeys(folders) if (folder / DATA).is_file()]
    return frozenset[str]().union(*(_seen_by(run) or () for run in runs))


def digest_photo(path: Path) -> str:
    """What a photo is known by. A photo that is no upright JPEG lies in a VOC tree as another file
    than it came.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def note_silent(runs: Sequence[Path]) -> None:
    """Say which runs do not tell what they were trained on, as those of older versions."""
    for run in (run for run in dict.fromkeys(runs) if _seen_by(run) is None):
        note(
            f"{run} does not say which photos it was trained on: it may have seen those that count"
        )


def tell(ids: Sequence[str], dataset: Dataset, split: str) -> str:
    """How many photos of a split these are, and the first of them."""
    names = ", ".join([*ids[:NAMED], *(["..."] if len(ids) > NAMED else [])])
    return (
        f"{len(ids)} of the {len(dataset.splits[split])} {split} photos of {dataset.path} ({names})"
    )


def _givers(config: TrainConfig) -> dict[str, Path]:
    """The runs whose networks give the first weights, by the flag that names them."""
    named = {"--init-from": config.init_from, "--encoder-weights": Path(config.encoder_weights)}
    runs = {
        flag: path if path.is_dir() else path.parent
        for flag, path in named.items()
        if path is not None and path.exists()
    }
    return {flag: run for flag, run in runs.items() if (run / DATA).is_file()}


def _seen_by(run: Path) -> frozenset[str] | None:
    """The photos that the network of a run was trained on; None where the run does not say."""
    seen = read_data(run).get(TRAINED_ON)
    return None if seen is None else frozenset(seen)


def _digests(dataset: Dataset, ids: Sequence[str]) -> dict[str, str]:
    """What photos are known by, by id."""

    def digest(photo_id: str) -> str:
        return hashlib.sha256(dataset.photo(photo_id).read_bytes()).hexdigest()[:DIGITS]

    done = progress(
        in_threads(digest, ids, os.cpu_count() or 1), len(ids), "photos compared", patience=3
    )
    return dict(zip(ids, done, strict=True))
