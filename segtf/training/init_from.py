"""Initialise a run with the weights of a parent run's best network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segtf.run.architectures import has_encoder
from segtf.run.config import TrainConfig
from segtf.run.folder import BEST, CONFIG, DATA, read_config, read_data
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    import keras


def check_weights(config: TrainConfig) -> None:
    """Raises `UserError` if the file of --encoder-weights or the network of --init-from is missing,
    or if the parent run has another architecture or encoder. Needs no framework.
    """
    source = config.encoder_weights
    if source not in ("auto", "imagenet", "none") and not Path(source).is_file():
        raise UserError(
            f"--encoder-weights {source}: no such file: name one, or auto, imagenet or none"
        )
    if config.init_from is None:
        return
    path = _network_file(config.init_from)
    if not (path.parent / CONFIG).is_file():
        return  # a file by itself: its layers are compared when it is read
    theirs = read_config(path.parent)
    if _kind(theirs) != _kind(config):
        raise UserError(
            f"--init-from {config.init_from}: its network is {_kind(theirs)}, that of this run "
            f"{_kind(config)}: give this run its --arch and --encoder, or leave --init-from out"
        )


def load_init_from(model: keras.Model, config: TrainConfig, classes: Sequence[str]) -> str:
    """Loads the weights of the network of --init-from into `model`, which predicts `classes`;
    returns a line about it. The last layer keeps its random weights if the classes differ. Raises
    `UserError` if architecture or encoder differ.
    """
    from segtf.networks.model import load_model

    assert config.init_from is not None
    path = _network_file(config.init_from)
    donor = load_model(path)
    own, theirs = _weighted(model), _weighted(donor)
    fits = [_stem(layer) for layer in own] == [_stem(layer) for layer in theirs] and all(
        _shapes(mine) == _shapes(other) for mine, other in zip(own[:-1], theirs[:-1], strict=True)
    )
    if not own or not fits:
        raise UserError(
            f"--init-from {config.init_from}: its layers are not those of {_kind(config)}: give "
            "this run its --arch and --encoder, or leave --init-from out"
        )
    before = _classes(path)
    same = _shapes(own[-1]) == _shapes(theirs[-1]) and before in (None, tuple(classes))
    for mine, other in zip(own[: None if same else -1], theirs, strict=False):
        mine.set_weights(other.get_weights())
    if same:
        return f"weights: all of {path}"
    its = f"{donor.output.shape[-1]} classes" if before is None else ", ".join(before)
    return (
        f"weights: all of {path} but the last layer, which starts from random weights: its "
        f"classes are {its}, those of this run {', '.join(classes)}"
    )


def _network_file(source: Path) -> Path:
    """The `.keras` file of a run, or the file itself."""
    if source.is_dir():
        if not (source / BEST).is_file():
            raise UserError(
                f"--init-from {source}: no {BEST} in it: name a run with a completed epoch, "
                "or a .keras file"
            )
        return source / BEST
    if not source.is_file() or source.suffix != ".keras":
        raise UserError(
            f"--init-from {source}: no such run folder or .keras file: name one of artifacts/runs"
        )
    return source


def _kind(config: TrainConfig) -> str:
    """Architecture and encoder, which must be the same for weights to fit."""
    return f"{config.arch} {config.encoder}" if has_encoder(config.arch) else config.arch


def _classes(path: Path) -> tuple[str, ...] | None:
    """The classes of the run that a network lies in, if any."""
    return tuple(read_data(path.parent)["classes"]) if (path.parent / DATA).is_file() else None


def _weighted(model: keras.Model) -> list[keras.Layer]:
    """The layers with weights, from input to output, of a network of `segtf.networks.model`."""
    networks = [layer for layer in model.layers if layer.name == "network"]
    return [layer for network in networks for layer in network.layers if layer.weights]


def _stem(layer: keras.Layer) -> str:
    """The name without the number that Keras adds to it."""
    return re.sub(r"(_\d+)?$", "", layer.name)


def _shapes(layer: keras.Layer) -> list[tuple[int, ...]]:
    return [tuple(weight.shape) for weight in layer.weights]
