"""Parse `0.7*ce + 0.3*focal(gamma=2)` and class weights; needs no framework."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from voc_builder.base.errors import UserError


@dataclass(frozen=True)
class Parameter:
    """A parameter of a term: its default and its range, inclusive."""

    default: float
    least: float
    most: float


ALPHA = Parameter(0.3, 0, 10)
BETA = Parameter(0.7, 0.01, 10)  # above 0, or a class that is never predicted would give 0 / 0
PARAMETERS: dict[str, dict[str, Parameter]] = {
    "ce": {},
    "dice": {},
    "jaccard": {},
    "focal": {"gamma": Parameter(2, 0, 10)},
    "tversky": {"alpha": ALPHA, "beta": BETA},
    # an exponent below 0.1 is nearly a step: every error costs 1
    "focal_tversky": {"alpha": ALPHA, "beta": BETA, "gamma": Parameter(0.75, 0.1, 10)},
    "lovasz": {},
}
"""The parameters of each term; its function in `segtf.networks.losses` explains them."""

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
TERM = re.compile(rf"(?:({NUMBER})\s*\*)?\s*([A-Za-z]\w*)\s*(?:\(([^()]*)\))?")
PLUS = re.compile(r"(?<![\d.][eE])\+(?![^()]*\))")  # not in 1e+2 nor within brackets


@dataclass(frozen=True)
class Term:
    """A summand of a loss, with all its parameters."""

    weight: float
    name: str
    arguments: dict[str, float]


def parse_loss(expression: str) -> list[Term]:
    """The terms of a sum such as `0.7*ce + tversky(alpha=0.3, beta=0.7)`, defaults filled in.

    Raises `UserError` naming the first wrong term and its fix.
    """
    try:
        return [_read_term(text.strip()) for text in PLUS.split(expression)]
    except UserError as error:
        raise UserError(f"--loss {expression!r}: {error}") from None


def _read_term(text: str) -> Term:
    match = TERM.fullmatch(text)
    if not match:
        raise UserError(
            f"{text!r} is no term: write a sum of terms with weights and parameters, such as "
            "'0.7*ce + 0.3*dice + focal(gamma=2)'"
        )
    weight, name = float(match[1] or 1), match[2]
    if name not in PARAMETERS:
        raise UserError(f"{text!r} is no term: {_unknown('loss', name, PARAMETERS)}")
    if not 0 < weight < math.inf:
        raise UserError(
            f"{text!r} has a weight of {weight:g}: give it one above 0, or leave the term out"
        )
    arguments = _read_arguments(text, name, match[3] or "")
    defaults = {key: float(known.default) for key, known in PARAMETERS[name].items()}
    return Term(weight, name, defaults | arguments)


def _read_arguments(text: str, name: str, inside: str) -> dict[str, float]:
    known = PARAMETERS[name]
    arguments: dict[str, float] = {}
    for pair in inside.split(",") if inside.strip() else ():
        match = re.fullmatch(rf"(\w+)\s*=\s*({NUMBER})", pair.strip())
        if not known:
            raise UserError(f"{text!r}: {name} takes no parameters: write {name} alone")
        if not match:
            example = ", ".join(f"{key}={of.default:g}" for key, of in known.items())
            raise UserError(
                f"{text!r}: {pair.strip()!r} is no parameter: write a name and a number, such as "
                f"'{name}({example})'"
            )
        key, value = match[1], float(match[2])
        if key not in known:
            raise UserError(f"{text!r}: {_unknown(f'parameter of {name}', key, known)}")
        if key in arguments:
            raise UserError(f"{text!r}: {key} is given twice: keep one of them")
        limits = known[key]
        if not limits.least <= value <= limits.most:
            raise UserError(
                f"{text!r}: {key} must be from {limits.least:g} to {limits.most:g}. "
                f"Received: {match[2]}"
            )
        arguments[key] = value
    return arguments


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1)
    meant = f"did you mean {near[0]}? Known:" if near else "take one of"
    return f"no {what} is called {name}: {meant} {', '.join(names)}"


def check_class_weights(text: str) -> None:
    """Raise `UserError` if `text` is neither none nor balanced nor a list of positive numbers."""
    _read_class_weights(text)


def parse_class_weights(
    text: str, classes: Sequence[str], pixels: Sequence[int]
) -> tuple[float, ...] | None:
    """One weight for each of `classes`, or None for none; `pixels` of the training split, a class.

    `balanced` is n / (k n_c) for n pixels, n_c of them of class c, and k classes, as scikit-learn
    has it (`compute_class_weight`, after King and Zeng 2001,
    https://scikit-learn.org/stable/modules/generated/sklearn.utils.class_weight.compute_class_weight.html),
    over the classes that occur, scaled to a mean of 1 over them, so that a loss keeps its size. A
    class that never occurs gets 1, the mean: its own formula has no value, training never meets
    it, and in another split it should count as much as any. Raises `UserError`.
    """
    numbers = _read_class_weights(text)
    if numbers is not None:
        if len(numbers) != len(classes):
            raise UserError(
                f"--class-weights {text}: one number is needed for each of the {len(classes)} "
                f"classes, in this order: {', '.join(classes)}. Received: {len(numbers)}"
            )
        return numbers
    return None if text.strip() == "none" else _balanced(classes, pixels)


def _balanced(classes: Sequence[str], pixels: Sequence[int]) -> tuple[float, ...]:
    counts = [int(count) for _, count in zip(classes, pixels, strict=True)]
    occurring = [count for count in counts if count > 0]
    if not occurring:
        raise UserError(
            "--class-weights balanced: no pixel of the training split has a class: annotate its "
            "images, or use --class-weights none"
        )
    # n / k is common to all: scaling takes it out again
    mean = sum(1 / count for count in occurring) / len(occurring)
    return tuple(1 / count / mean if count > 0 else 1.0 for count in counts)


def _read_class_weights(text: str) -> tuple[float, ...] | None:
    """The numbers of a list; None for none and balanced."""
    words = ("none", "balanced")
    if text.strip() in words:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(NUMBER, part) for part in parts):
        near = difflib.get_close_matches(text.strip().lower(), words, n=1)
        meant = f"did you mean {near[0]}? It takes" if near else "write"
        raise UserError(
            f"--class-weights {text!r}: {meant} none, balanced, or one positive number for each "
            "class, such as 1,1,5"
        )
    numbers = tuple(map(float, parts))
    for part, number in zip(parts, numbers, strict=True):
        if not 0 < number < math.inf:
            raise UserError(
                f"--class-weights {text}: each number must be above 0 and finite; a class that "
                f"shall not count is painted void. Received: {part}"
            )
    return numbers
