"""Which images a network was trained on: scores on those say nothing about other images.

An image is identified by the hash of the JPEG that a VOC tree holds of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
from collections.abc import Sequence
from pathlib import Path

from segtf.run.config import TrainConfig
from segtf.run.folder import CONFIG, DATA, read_config, read_data, read_run_dataset
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.pixels.image_rows import LARGE, count_pixels
from voc_builder.pixels.images import as_stored, read_header
from voc_builder.tree.voc import Dataset, digest_images

TRAINED_ON = "trained_on"  # key of the hashes in data.json
DIGITS = 16  # of a SHA-256 in hex that are kept: 64 bits
NAMED = 3  # images that a message names


def trained_on(config: TrainConfig, dataset: Dataset) -> list[str] | None:
    """Sorted hashes of the train images and of all images that the networks which give the initial
    weights were trained on; None if one of those is unknown.
    """
    hashes = _with_parent_runs(config, dataset)
    return None if hashes is None else sorted(hashes)


def find_trained_on(
    runs: Sequence[Path], dataset: Dataset, split: str
) -> dict[Path, tuple[str, ...]]:
    """The ids of the images of a split that runs were trained on, by run. Runs that were trained on
    none of them, and runs of unknown provenance, are left out. Images that are also in train do not
    count: building the data set has reported those. Raises `UserError` if images cannot be read.
    """
    known = {run: _trained_on_by(run) or () for run in dict.fromkeys(runs)}
    digests = _digests(dataset, split) if any(known.values()) else {}
    found = {run: {i for i in digests if digests[i] in hashes} for run, hashes in known.items()}
    if any(found.values()):
        twins = set(_digests(dataset, "train").values())
        found = {run: {i for i in ids if digests[i] not in twins} for run, ids in found.items()}
    return {run: tuple(sorted(ids)) for run, ids in found.items() if ids}


def refuse_trained_on(config: TrainConfig, dataset: Dataset) -> None:
    """Raises `UserError` if the network that gives the initial weights was trained on images that
    this run is evaluated on.
    """
    parents = {"--init-from": config.init_from, **_parent_runs(config)}
    note_unknown_provenance([path for path in parents.values() if path is not None])
    for flag, run in _parent_runs(config).items():
        for split in ("val", "test"):
            if ids := find_trained_on([run], dataset, split).get(run):
                about = read_data(run)
                tree = shlex.quote(about["path"])
                cure = f"Keep the split of its data set with --split-from {tree}"
                if "fold" in about:
                    cure = f"Train on {about['path']} with --fold {about['fold']}"
                images = describe_images(ids, dataset, split)
                raise UserError(
                    f"{flag} {run}: its network was trained on {images}: their scores would be "
                    f"optimistically biased. {cure}, or begin with other weights"
                )


def trained_on_by_models(models: Sequence[Path]) -> frozenset[str]:
    """Hashes of all images that networks (run folders or files in them) were trained on; a note on
    stderr names networks of unknown provenance.
    """
    note_unknown_provenance(models)
    runs = [run for run in map(_run_of, models) if run]
    return frozenset[str]().union(*(_trained_on_by(run) or () for run in runs))


def note_unknown_provenance(models: Sequence[Path]) -> None:
    """Name the networks of which the training images are unknown: their run folder is missing, or
    they began with the weights of a file without one.
    """
    for model in dict.fromkeys(models):
        run = _run_of(model)
        if run is None or _trained_on_by(run) is None:
            note(
                f"{model}: its run folder, which tells what it was trained on, "
                f"{'is not at hand' if run is None else 'does not know'}: score it only on images "
                "that you know it was not trained on"
            )


def digest_image(path: Path) -> str:
    """The hash that identifies an image, whatever its path and format: see `stored_image`."""
    return hashlib.sha256(stored_image(path)).hexdigest()[:DIGITS]


def stored_image(path: Path) -> bytes:
    """The JPEG that a VOC tree would hold of an image; one of more than 64 megapixels that is no
    upright JPEG is not recognised and stays as it is. Raises `UserError` if it cannot be read.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): put it back") from None
    if count_pixels(path) <= LARGE:
        # an image that cannot be stored is in no data set
        with contextlib.suppress(UserError):
            encoded = as_stored(encoded, read_header(encoded, str(path)))
    return encoded


def describe_images(ids: Sequence[str], dataset: Dataset, split: str) -> str:
    """How many images of a split these are, and the first of them."""
    names = ", ".join([*ids[:NAMED], *(["..."] if len(ids) > NAMED else [])])
    return (
        f"{len(ids)} of the {len(dataset.splits[split])} {split} images of {dataset.path} ({names})"
    )


def _parent_runs(config: TrainConfig) -> dict[str, Path]:
    """The runs whose networks give the initial weights, by the flag that names them."""
    named = {"--init-from": config.init_from, "--encoder-weights": Path(config.encoder_weights)}
    runs = {flag: _run_of(path) for flag, path in named.items() if path and path.exists()}
    return {flag: run for flag, run in runs.items() if run}


def _run_of(model: Path) -> Path | None:
    """The run folder that a network is, or lies in."""
    folder = model if (model / CONFIG).is_file() else model.parent
    return folder if (folder / CONFIG).is_file() and (folder / DATA).is_file() else None


def _trained_on_by(run: Path, children: frozenset[Path] = frozenset()) -> frozenset[str] | None:
    """Hashes of the images that the network of a run was trained on; None if unknown. A run of an
    older version does not store them: they come from its data set, if that still exists, and its
    parent runs. `children` are the runs that began with it.
    """
    about = read_data(run)
    if TRAINED_ON in about:
        return None if about[TRAINED_ON] is None else frozenset(about[TRAINED_ON])
    if run in children:  # it has replaced the run that it began with
        return None
    try:
        return _with_parent_runs(read_config(run), read_run_dataset(run), children | {run})
    except UserError:
        return None


def _with_parent_runs(
    config: TrainConfig, dataset: Dataset, children: frozenset[Path] = frozenset()
) -> frozenset[str] | None:
    """Hashes of the train images and of those of the parent runs; None if one is unknown."""
    parents = _parent_runs(config)
    hashes = [_trained_on_by(run, children) for run in parents.values()]
    if None in hashes or (config.init_from is not None and "--init-from" not in parents):
        return None
    known = [images for images in hashes if images is not None]
    return frozenset(_digests(dataset, "train").values()).union(*known)


def _digests(dataset: Dataset, split: str) -> dict[str, str]:
    """The hashes of the images of a split, by id."""
    found = digest_images(dataset, dataset.splits[split])
    return {image: digest[:DIGITS] for image, digest in found.items()}
