"""The command line says in one line what is wrong, and its help imports no TensorFlow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.voc_builder.folders import chips
from voc_builder.__main__ import main


@pytest.mark.parametrize("argv", [[], ["biuld"], ["--help"]])
def test_without_a_subcommand_there_is_one_line(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == (0 if argv == ["--help"] else 2)
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert "check SRC" in said and "build SRC OUT" in said
    assert said.count("\n") == 1 or argv == ["--help"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["build", "none", "out"], "none: no such folder"),
        (["build", "chips", "out", "--split", "1/2"], "--split"),
        (["check", "none"], "none: no such folder"),
    ],
)
def test_wrong_use_is_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    chips(tmp_path / "chips")
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"python -m voc_builder {argv[0]}: error: {message}")
    assert said.count("\n") == 1


def test_a_build_says_what_came_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    chips(tmp_path / "chips", empty=10, clean=10, defective=10)
    assert main(["build", "chips", "out", "--no-records", "--visualize", "--seed", "3"]) == 0
    assert capsys.readouterr().out == (
        "out: train 24, val 3, test 3 images; classes __background__, chip, defect\n"
    )
    assert len(list(Path("out/Visualization").iterdir())) == 30


@pytest.mark.parametrize("argv", [["check", "--help"], ["build", "--help"]])
def test_help_imports_no_tensorflow(argv: list[str]) -> None:
    code = (
        "import sys; from voc_builder.__main__ import main\n"
        f"try: main({argv})\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("False\n"), done.stderr
    assert "--classes" in done.stdout
