"""Errors that the user can fix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """An error that the user can fix; its text names the file, the rule, the value and the fix."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received, which a scheduler sends before it kills a process."""


def refuse_below_one(**numbers: int | None) -> None:
    """Raises `UserError` that names the flag of the first number below 1; None is not checked."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} takes a number from 1 on. Received: {number}")


@contextmanager
def add_cure(cure: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Turns errors of some kinds into a `UserError` that ends with `cure`: how to continue."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the output has gone
    except kinds as error:
        text = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"{text}; {cure}") from error


def explain_os_error(error: OSError) -> str:
    """One line: the file, the reason that the system gives, and the fix."""
    reason = error.strerror or str(error) or type(error).__name__
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{reason}: check that the folder exists, its permissions and the free space"
