"""All commands that draw images: the same seed gives the same files, other files are kept."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

SMALL = {
    "make_fishki": "--count 10 --size 96",
    "make_aerial": "--count 5 --size 64",
    "make_pets": "--count 20 --size 96",
    "make_pipes": "--count 30 --size 48x64",
}
WRONG = {
    "make_fishki": ["--size 10", "--seed -1", "--count 0", "--quality 101"],
    "make_aerial": ["--size 10", "--seed -1", "--count 0", "--count 10000", "--quality 0"],
    "make_pets": ["--size 10", "--seed -1", "--count 1"],
    "make_pipes": ["--seed -1", "--count 29", "--size 47x64", "--size wide"],
}
# files that a command wrote with a larger count, and files that none writes
OWN = {
    "make_fishki": "00000010.jpg",
    "make_aerial": "images/0007_1.jpg",
    "make_pets": "images/beagle_7.jpg",
    "make_pipes": "mask_boxes/test/masks_00099.txt",
}
FOREIGN = {
    "make_fishki": ["mine.jpg", "00000000.png", "000000000.jpg", ".hidden", "sub/00000000.jpg"],
    "make_aerial": ["mine.jpg", "images/0001_4.jpg", "images/mine/a", "masks/a"],
    "make_pets": ["images/mine.jpg", "masks/train/pug_1.png"],
    "make_pipes": ["mine.jpg", "boxes/images/train/mine.jpg", "masks/train/boxes_00001.jpg"],
}
command = pytest.mark.parametrize("command", SMALL)


def draw(command: str, out: Path, *more: str) -> int:
    return import_module(f"scripts.{command}").main([str(out), *SMALL[command].split(), *more])


def contents(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@command
def test_the_same_seed_draws_the_same_files_also_over_old_ones(
    command: str, tmp_path: Path
) -> None:
    assert draw(command, tmp_path / "first") == 0
    old = tmp_path / "again" / OWN[command]
    old.parent.mkdir(parents=True)
    old.touch()
    assert draw(command, tmp_path / "again") == 2
    assert old.exists()
    assert draw(command, tmp_path / "again", "--overwrite") == 0
    first = contents(tmp_path / "first")
    assert contents(tmp_path / "again") == first
    assert draw(command, tmp_path / "other", "--seed", "2") == 0
    other = contents(tmp_path / "other")
    images = [name for name in first.keys() & other.keys() if name.endswith(".jpg")]
    assert images
    assert all(other[name] != first[name] for name in images)


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command, names in FOREIGN.items() for name in names]
)
def test_a_folder_with_other_files_is_never_overwritten(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_bytes(b"mine")
    assert draw(command, tmp_path, "--overwrite") == 2
    error = capsys.readouterr().err
    assert name.split("/")[0] in error
    assert error.count("\n") == 1
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    assert draw("make_fishki", tmp_path / "mine", "--overwrite") == 2
    assert (tmp_path / "mine").read_bytes() == b"mine"


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that takes no files")
def test_a_place_that_cannot_be_written_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert draw("make_fishki", Path("/proc/none/out")) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "/proc/none" in error


@pytest.mark.parametrize(
    ("command", "wrong"), [(name, wrong) for name, flags in WRONG.items() for wrong in flags]
)
def test_a_number_out_of_range_is_refused_in_one_line(
    command: str, wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert draw(command, tmp_path / "out", *wrong.split()) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert wrong.split()[0] in error
    value = "47" if wrong.endswith("47x64") else wrong.split()[1]
    assert value in re.split(r"[\s,.:]+", error)
    assert not (tmp_path / "out").exists()
