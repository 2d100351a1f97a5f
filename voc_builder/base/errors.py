"""What is raised for a mistake of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A mistake that the user can mend: the text names the file, the rule, the value, the cure."""


class Terminated(KeyboardInterrupt):
    """The system asked the process to end (SIGTERM), as a scheduler does before it kills."""


def refuse_below_one(**numbers: int | None) -> None:
    """Raise `UserError` naming the flag of the first of `numbers` that is below 1."""
    for name, number in numbers.items():
        if number is not None and number < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} takes a number from 1 on. Received: {number}")


@contextmanager
def going_on(cure: str, kinds: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Adds to errors of some kinds how to go on after them. Raises `UserError`."""
    try:
        yield
    except BrokenPipeError:
        raise  # nobody reads any more
    except kinds as error:
        text = explain_os_error(error) if isinstance(error, OSError) else str(error)
        raise UserError(f"{text}; {cure}") from error


def explain_os_error(error: OSError) -> str:
    """What the system refused and what to do about it, in one line."""
    reason = error.strerror or str(error) or type(error).__name__
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{reason}: check that the place exists, its rights and the free space"
