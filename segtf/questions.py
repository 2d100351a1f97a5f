"""Ask an experimenter on the terminal who he is, and for a yes or a no."""

from __future__ import annotations

import re
from collections.abc import Callable

from voc_builder.base.errors import UserError

NAME = re.compile(r"[A-Za-z]+(?:[-' ][A-Za-z]+)*")
LONGEST_NAME = 60  # characters
NAME_RULE = (
    f"a name has at most {LONGEST_NAME} Latin letters, A to Z, with one hyphen, apostrophe or "
    "space between them, such as Anna-Maria O'Neil"
)
ANSWERS = {"yes": True, "y": True, "no": False, "n": False}
Ask = Callable[[str], str]  # like the built-in `input`


def is_name(text: str) -> bool:
    """Whether a name keeps `NAME_RULE`."""
    return len(text) <= LONGEST_NAME and NAME.fullmatch(text) is not None


def ask_name(ask: Ask = input) -> str:
    """The experimenter's name, asked for until it is one. Raises `UserError` where the input ends
    before.
    """
    while True:
        try:
            text = ask("Your name, in Latin letters: ").strip()
        except EOFError:
            raise UserError("no name was given, nothing was trained") from None
        if is_name(text):
            return text
        print(NAME_RULE)


def ask_yes_no(question: str, ask: Ask = input) -> bool | None:
    """The answer to `question`, asked for until it is one; None where the input ends before."""
    while True:
        try:
            text = ask(f"{question} [yes/no] ").strip().lower()
        except EOFError:
            print()  # the prompt has no end of line
            return None
        if text in ANSWERS:
            return ANSWERS[text]
        print("answer yes or no")
