"""Which images a network has seen in training: what it scores on those says nothing about others.

An image is known by the bytes of the JPEG that a VOC tree holds of it.
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

TRAINED_ON = "trained_on"  # what data.json calls them
DIGITS = 16  # of a SHA-256 in hex that is kept: 64 bits
NAMED = 3  # images that a message names


def trained_on(config: TrainConfig, dataset: Dataset) -> list[str] | None:
    """The images of train, and all that the network which gives the first weights was trained on,
    sorted; None where that network does not say.
    """
    seen = _with_givers(config, dataset)
    return None if seen is None else sorted(seen)


def find_seen(runs: Sequence[Path], dataset: Dataset, split: str) -> dict[Path, tuple[str, ...]]:
    """The ids of those images of a split that runs were trained on, by run; runs that were trained
    on none, or do not say it, are left out. Images that lie in train too, which was said when the
    data set was built, do not count. Raises `UserError` if images cannot be read.
    """
    known = {run: _seen_by(run) or () for run in dict.fromkeys(runs)}
    digests = _digests(dataset, split) if any(known.values()) else {}
    found = {run: {i for i in digests if digests[i] in seen} for run, seen in known.items()}
    if any(found.values()):
        twins = set(_digests(dataset, "train").values())
        found = {run: {i for i in ids if digests[i] not in twins} for run, ids in found.items()}
    return {run: tuple(sorted(ids)) for run, ids in found.items() if ids}


def refuse_seen(config: TrainConfig, dataset: Dataset) -> None:
    """Raises `UserError` if the network that gives the first weights was trained on images that
    this run is to be measured on.
    """
    givers = {"--init-from": config.init_from, **_givers(config)}
    note_silent([path for path in givers.values() if path is not None])
    for flag, run in _givers(config).items():
        for split in ("val", "test"):
            if ids := find_seen([run], dataset, split).get(run):
                about = read_data(run)
                tree = shlex.quote(about["path"])
                cure = f"Keep the split of its data set with --split-from {tree}"
                if "fold" in about:
                    cure = f"Train on {about['path']} with --fold {about['fold']}"
                raise UserError(
                    f"{flag} {run}: its network was trained on {tell(ids, dataset, split)}: their "
                    f"scores would flatter. {cure}, or begin with other weights"
                )


def seen_by_models(models: Sequence[Path]) -> frozenset[str]:
    """What images that networks were trained on are known by; a note names files of which that
    cannot be known.
    """
    note_silent(models)
    return frozenset[str]().union(*(_seen_by(run) or () for run in map(_run_of, models) if run))


def note_silent(models: Sequence[Path]) -> None:
    """Say which networks it is not known of what they were trained on: their run folder is not at
    hand, or they began with the weights of a file by itself.
    """
    for model in dict.fromkeys(models):
        run = _run_of(model)
        if run is None or _seen_by(run) is None:
            note(
                f"{model}: its run folder, which tells what it was trained on, "
                f"{'is not at hand' if run is None else 'does not know'}: score it only on images "
                "that you know it has not seen"
            )


def digest_image(path: Path) -> str:
    """The hash that identifies an image, whatever its path and format: see `stored_image`."""
    return hashlib.sha256(stored_image(path)).hexdigest()[:DIGITS]


def stored_image(path: Path) -> bytes:
    """The JPEG that a VOC tree would hold of an image; one of more than 64 megapixels that is no
    upright JPEG is not recognised, and stays as it is. Raises `UserError` if it cannot be read.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): put it back") from None
    if count_pixels(path) <= LARGE:
        # what cannot be stored is in no data set
        with contextlib.suppress(UserError):
            encoded = as_stored(encoded, read_header(encoded, str(path)))
    return encoded


def tell(ids: Sequence[str], dataset: Dataset, split: str) -> str:
    """How many images of a split these are, and the first of them."""
    names = ", ".join([*ids[:NAMED], *(["..."] if len(ids) > NAMED else [])])
    return (
        f"{len(ids)} of the {len(dataset.splits[split])} {split} images of {dataset.path} ({names})"
    )


def _givers(config: TrainConfig) -> dict[str, Path]:
    """The runs whose networks give the first weights, by the flag that names them."""
    named = {"--init-from": config.init_from, "--encoder-weights": Path(config.encoder_weights)}
    runs = {flag: _run_of(path) for flag, path in named.items() if path and path.exists()}
    return {flag: run for flag, run in runs.items() if run}


def _run_of(model: Path) -> Path | None:
    """The run folder that a network is, or lies in."""
    folder = model if (model / CONFIG).is_file() else model.parent
    return folder if (folder / CONFIG).is_file() and (folder / DATA).is_file() else None


def _seen_by(run: Path, asked: frozenset[Path] = frozenset()) -> frozenset[str] | None:
    """The images that the network of a run was trained on; None where the run does not say. Of a
    run of an older version its data set tells, if it is still there, and the runs that it began
    with; `asked` are those that began with it.
    """
    about = read_data(run)
    if TRAINED_ON in about:
        return None if about[TRAINED_ON] is None else frozenset(about[TRAINED_ON])
    if run in asked:  # it has taken the place of what it began with
        return None
    try:
        return _with_givers(read_config(run), read_run_dataset(run), asked | {run})
    except UserError:
        return None


def _with_givers(
    config: TrainConfig, dataset: Dataset, asked: frozenset[Path] = frozenset()
) -> frozenset[str] | None:
    """The images of train and those that the networks which give the first weights have seen; None
    where one does not say.
    """
    givers = _givers(config)
    seen = [_seen_by(run, asked) for run in givers.values()]
    if None in seen or (config.init_from is not None and "--init-from" not in givers):
        return None
    known = [images for images in seen if images is not None]
    return frozenset(_digests(dataset, "train").values()).union(*known)


def _digests(dataset: Dataset, split: str) -> dict[str, str]:
    """What the images of a split are known by, by id."""
    found = digest_images(dataset, dataset.splits[split])
    return {image: digest[:DIGITS] for image, digest in found.items()}
