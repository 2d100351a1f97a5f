"""An experimenter is asked until he answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segtf.questions import NAME_RULE, ask_name, ask_yes_no, is_name
from voc_builder.base.errors import UserError


def typed(*lines: str) -> Callable[[str], str]:
    """Somebody who types these lines, and then Ctrl-D."""
    left = iter(lines)

    def answer(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return answer


@pytest.mark.parametrize("name", ["Anna", "o", "Jean-Luc Picard", "Anna-Maria O'Neil", "a" * 60])
def test_names_are_latin_letters_with_one_sign_between_them(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "Анна", "Zoë", "Anna2", "-Anna", "Anna-", "An  na", "An- na", "Anna\n", "a" * 61],
)
def test_anything_else_is_no_name(name: str) -> None:
    assert not is_name(name)


def test_a_name_is_asked_for_again_with_the_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_name(typed("Анна", "", "  Anna Petrova ")) == "Anna Petrova"
    assert capsys.readouterr().out.splitlines() == [NAME_RULE, NAME_RULE]


def test_no_name_at_all_is_one_line() -> None:
    with pytest.raises(UserError, match="no name was given, nothing was trained"):
        ask_name(typed("1"))


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (("yes",), True),
        (("Y",), True),
        (("no",), False),
        (("perhaps", "", " n "), False),
        (("perhaps",), None),
    ],
)
def test_yes_or_no_is_asked_for_until_it_is_one(
    lines: tuple[str, ...], answer: bool | None, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []
    answered = typed(*lines)
    assert ask_yes_no("Keep it?", lambda text: asked.append(text) or answered(text)) is answer
    assert set(asked) == {"Keep it? [yes/no] "}
    assert capsys.readouterr().out.count("answer yes or no") == len(asked) - 1
