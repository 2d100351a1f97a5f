"""Combine the probabilities of several networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segtf.inference.decision import most_probable
from voc_builder.base.classes import has_background
from voc_builder.base.errors import UserError

Ensemble = Literal["mean", "vote", "per-class"]
Known = tuple[str, tuple[str, ...]]  # path of a network, and its classes

TIE = 0.5  # of a vote: the most that the mean of the probabilities counts, to break ties


def model_paths(named: Path) -> list[Path]:
    """The models of a command line, separated by commas; an existing file may have a comma in its
    name. Raises `UserError` if there are none.
    """
    if named.exists():
        return [named]
    paths = [Path(part) for part in str(named).split(",") if part]
    if not paths:
        raise UserError(f"{named}: no model: name a run folder or an ONNX file")
    return paths


def classes_together(networks: Sequence[Known], how: Ensemble) -> tuple[str, ...]:
    """The classes of an ensemble. Raises `UserError` for networks that cannot be combined."""
    return _united(networks) if how == "per-class" else _common(networks)


def together(
    answers: Sequence[NDArray[np.float32]], networks: Sequence[Known], how: Ensemble
) -> NDArray[np.float32]:
    """The probabilities of `classes_together`, shape (..., C), from those of each network.

    mean: of the probabilities. vote: the fraction of the networks for which the class is the most
    probable. per-class: for networks of different classes beside the background.
    """
    if how == "mean":
        return np.mean(answers, axis=0, dtype=np.float32)
    return _voted(answers) if how == "vote" else _joined(answers, networks)


def _voted(answers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The fraction of networks that vote for each class; the mean breaks ties."""
    votes = np.array(np.mean(answers, axis=0) * TIE, np.float32)
    for answer in answers:
        chosen = most_probable(answer)[..., None]
        votes += np.arange(answer.shape[-1]) == chosen
    votes /= len(answers) + TIE
    return votes


def _joined(
    answers: Sequence[NDArray[np.float32]], networks: Sequence[Known]
) -> NDArray[np.float32]:
    """The mean of each class over the networks that know it, and the least probability of the
    background, since all must agree on it; scaled to a sum of 1.
    """
    united = _united(networks)
    result = np.zeros((*answers[0].shape[:-1], len(united)), np.float32)
    known = np.zeros(len(united), np.float32)
    for (_, classes), answer in zip(networks, answers, strict=True):
        for class_id, name in enumerate(classes[1:], start=1):
            result[..., united.index(name)] += answer[..., class_id]
            known[united.index(name)] += 1
    result[..., 1:] /= known[1:]
    result[..., 0] = np.min([answer[..., 0] for answer in answers], axis=0)
    return result / np.maximum(result.sum(-1, keepdims=True), np.finfo(np.float32).tiny)


def _common(networks: Sequence[Known]) -> tuple[str, ...]:
    """The classes of all networks. Raises `UserError` if they differ."""
    first, classes = networks[0]
    for path, others in networks[1:]:
        if others != classes:
            raise UserError(
                f"{path} knows the classes {', '.join(others)}, {first} {', '.join(classes)}: take "
                "networks of the same classes, or --ensemble per-class"
            )
    return classes


def _united(networks: Sequence[Known]) -> tuple[str, ...]:
    """The background, then all other classes of the networks in order."""
    for path, classes in networks:
        if not has_background(classes):
            raise UserError(
                f"--ensemble per-class: {path} has no background, its first class is "
                f"{classes[0]}: take --ensemble mean for networks of the same classes"
            )
    names = dict.fromkeys(name for _, classes in networks for name in classes[1:])
    return (networks[0][1][0], *names)
