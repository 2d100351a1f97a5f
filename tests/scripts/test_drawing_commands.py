"""The commands that draw photos refuse what they cannot draw."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

USUAL = ["--size 10", "--seed -1"]
WRONG = {
    "make_fishki": [*USUAL, "--count 0", "--quality 101"],
    "make_aerial": [*USUAL, "--count 0", "--count 10000", "--quality 0"],
    "make_pets": [*USUAL, "--count 1"],
    "make_pipes": ["--seed -1", "--count 29", "--size 47x64", "--size wide"],
}


@pytest.mark.parametrize(
    ("command", "wrong"), [(name, wrong) for name, flags in WRONG.items() for wrong in flags]
)
def test_a_number_out_of_range_is_refused_in_one_line(
    command: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = import_module(f"scripts.{command}").main
    assert main([str(tmp_path / "out"), *wrong.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert wrong.split()[1] in re.split(r"[\s,.:]+", error)
    assert not (tmp_path / "out").exists()
