"""Command lines from dataclasses: every kind of field, YAML, help, one-line errors."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from voc_builder.base.command import parse, run, type_name
from voc_builder.base.errors import UserError


@dataclass(frozen=True)
class Config:
    """Trains on 100 % of the images."""

    model: Path
    """Network to start from."""
    images: tuple[Path, ...]
    """Images."""
    rate: float = 0.1
    """Learning rate."""
    size: int = 512
    """Pixels: 50 % of an image."""
    arch: Literal["unet", "fpn"] = "unet"
    batch: int | None = None
    resume: bool = False
    train_records: bool = True
    labels: tuple[str, ...] = ("a",)
    out: Path = Path("runs")


MINIMAL = ["net.onnx", "a.jpg"]


def parsed(*argv: str) -> Config:
    return parse(Config, "prog", [*MINIMAL, *argv])


def error_of(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a wrong command line gets."""
    with pytest.raises(SystemExit) as stopped:
        parse(Config, "prog", argv)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("prog: error: ")
    assert err.count("\n") == 1
    return err


def test_fields_without_a_default_are_positional_and_the_others_keep_theirs() -> None:
    expected = Config(Path("net.onnx"), (Path("a.jpg"), Path("b c.jpg")))
    assert parse(Config, "prog", ["net.onnx", "a.jpg", "b c.jpg"]) == expected


def test_every_kind_of_field_is_a_flag() -> None:
    flags = "--rate 1e-3 --size 64 --arch fpn --batch 4 --resume --no-train-records --out x/y"
    assert parsed(*flags.split(), "--labels", "chip", "дефект") == Config(
        Path("net.onnx"),
        (Path("a.jpg"),),
        rate=0.001,
        size=64,
        arch="fpn",
        batch=4,
        resume=True,
        train_records=False,
        labels=("chip", "дефект"),
        out=Path("x/y"),
    )


def test_null_is_a_value_of_an_optional_field() -> None:
    assert parsed("--batch", "4", "--batch", "null").batch is None


def test_yaml_fills_fields_and_a_later_flag_wins(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "model: m.onnx\nimages: [a.jpg, b.jpg]\nrate: 1e-3\nbatch: null\nresume: true\n"
        "labels: [x, y]\nout: z\n"
    )
    assert parse(Config, "prog", ["--config", str(file), "--out", "w"]) == Config(
        Path("m.onnx"),
        (Path("a.jpg"), Path("b.jpg")),
        rate=0.001,
        resume=True,
        labels=("x", "y"),
        out=Path("w"),
    )


def test_print_config_prints_yaml_that_gives_the_same_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parsed("--rate", "1e-5", "--no-train-records", "--print_config")
    assert stopped.value.code == 0
    file = tmp_path / "c.yaml"
    file.write_text(capsys.readouterr().out)
    assert parse(Config, "prog", ["--config", str(file)]) == parsed(
        "--rate", "1e-5", "--no-train-records"
    )


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        ([], "required: model, images"),
        (["m"], "required: images"),
        ([*MINIMAL, "--size", "x"], "--size takes a whole number. Received: x"),
        ([*MINIMAL, "--size", "1.5"], "--size takes a whole number. Received: 1.5"),
        ([*MINIMAL, "--rate", "fast"], "--rate takes a number. Received: fast"),
        ([*MINIMAL, "--batch", "x"], "--batch takes a whole number or null. Received: x"),
        ([*MINIMAL, "--arch", "vgg"], "--arch takes one of unet, fpn. Received: vgg"),
        ([*MINIMAL, "--labels"], "argument --labels: expected at least one argument"),
        ([*MINIMAL, "--nope", "3"], "unrecognized arguments: --nope 3"),
        ([*MINIMAL, "--siz", "3"], "unrecognized arguments: --siz 3"),
        ([*MINIMAL, "--config", "none.yaml"], "File does not exist"),
    ],
)
def test_a_wrong_command_line_gets_one_line_and_exit_code_2(
    argv: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert part in error_of(argv, capsys)


@pytest.mark.parametrize("text", ["rat: 1\n", "rate: [1\n", "rate: fast\n", "- a\n"])
def test_a_wrong_yaml_file_gets_one_line_and_exit_code_2(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    error_of([*MINIMAL, "--config", str(file)], capsys)


@dataclass(frozen=True)
class Longer(Config):
    """Trains and draws."""

    pictures: int = 3
    """Pictures to draw."""


def test_help_is_plain_text_with_the_docstrings_of_a_class_and_its_parents(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(Longer, "prog", ["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    parts = ("Trains and draws.", "Pictures to draw.", "Network to start from.", "Pixels: 50 % of")
    assert all(part in text for part in (*parts, "default: 0.1"))
    assert "<class" not in text and "\x1b" not in text


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (int, "a whole number"),
        (Path | None, "a path or null"),
        (Literal["a", "b"], "one of a, b"),
        (tuple[str, ...], "a list such as [a, b]"),
        (bool, "bool"),
    ],
)
def test_type_name(hint: object, name: str) -> None:
    assert type_name(hint) == name


def test_run_passes_the_exit_code_on_and_takes_none_for_success() -> None:
    assert run(lambda config: None, Config, "prog", MINIMAL) == 0
    assert run(lambda config: 1, Config, "prog", MINIMAL) == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("a.jpg: broken"), "prog: error: a.jpg: broken\n"),
        (FileNotFoundError(2, "No such file", "/proc/x"), "prog: error: /proc/x: No such file:"),
        (OSError(28, "No space left on device"), "prog: error: No space left on device:"),
        (OSError("odd"), "prog: error: odd:"),
    ],
)
def test_run_turns_an_error_into_one_line_and_exit_code_2(
    error: Exception, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(config: Config) -> int:
        raise error

    assert run(fail, Config, "prog", MINIMAL) == 2
    err = capsys.readouterr().err
    assert err.startswith(line) and err.count("\n") == 1


def test_run_names_what_is_not_utf_8_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda config: len("images/caf\udce9.jpg".encode()), Config, "prog", MINIMAL) == 2
    err = capsys.readouterr().err
    assert r"'images/caf\udce9.jpg'" in err and err.count("\n") == 1


def test_run_blames_no_name_for_letters_that_another_encoding_lacks() -> None:
    with pytest.raises(UnicodeEncodeError):
        run(lambda config: len("фото".encode("ascii")), Config, "prog", MINIMAL)


CODE = """
import sys
from tests.voc_builder.base.test_command import *
sys.exit(run(lambda config: print({text}), Config, "prog", MINIMAL))
"""


def test_a_letter_that_the_terminal_lacks_is_printed_as_an_escape() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(text=ascii("фото"))],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert ended.stdout == b"\\u0444\\u043e\\u0442\\u043e\n"


def test_a_reader_that_leaves_early_gets_no_message() -> None:
    command = [sys.executable, "-c", CODE.format(text="'x' * 10**7")]
    both = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert both.stdout is not None and both.stderr is not None
    both.stdout.close()
    assert both.stderr.read() == ""
    assert both.wait() == 141


def test_run_ends_with_130_after_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(config: Config) -> int:
        raise KeyboardInterrupt

    assert run(interrupt, Config, "prog", MINIMAL) == 130
    assert capsys.readouterr().err == "prog: interrupted\n"
