"""Class names come from a file or from the labels; class 0 is the background either way."""

from __future__ import annotations

from pathlib import Path

import pytest

from voc_builder.base.classes import classes_of_labels, folder_classes, read_classes, read_ids
from voc_builder.base.errors import UserError


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("__background__\nchip\n", ("__background__", "chip")),
        ("_background_\r\n\r\n chip \r\n", ("_background_", "chip")),
        ("\ufeffBackground\nфишка", ("Background", "фишка")),
        ("__ignore__\n__background__\nchip\n", ("__background__", "chip")),
    ],
)
def test_read_classes(tmp_path: Path, text: str, classes: tuple[str, ...]) -> None:
    assert read_classes(written(tmp_path / "labels.txt", text)) == classes


def test_a_missing_background_is_added_with_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "labels.txt", "chip\ndefect\n")
    assert read_classes(path) == ("__background__", "chip", "defect")
    assert "line 1 is 'chip'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class names"),
        ("chip\nchip\n", "chip more than once"),
        ("chip\nbackground\n", "background must be the first line"),
        ("background\n__ignore__\n", "__ignore__"),
        ("\n".join(f"c{number}" for number in range(300)), "301 classes"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_classes(written(tmp_path / "labels.txt", text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.txt: cannot be read"):
        read_classes(tmp_path / "none.txt")


@pytest.mark.parametrize("text", ["building\nroad\n", "\ufeffbuilding \r\nroad\r\n\r\n"])
def test_names_of_ids_are_the_lines_as_they_are(tmp_path: Path, text: str) -> None:
    assert read_ids(written(tmp_path / "names", text)) == ("building", "road")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nroad\n", "line 1 is empty: name the class of that id"),
        ("building\n\nroad\n", "line 2 is empty: name the class of that id"),
        ("\n\n", "no class names"),
        ("road\nroad\n", "road more than once"),
    ],
)
def test_names_that_would_shift_the_ids_are_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_ids(written(tmp_path / "names", text))


def test_labels_are_sorted_behind_the_background() -> None:
    assert classes_of_labels(["b", "a", "__ignore__", "b"]) == ("__background__", "a", "b")
    assert classes_of_labels(["b", "Background", "a"]) == ("Background", "a", "b")


def test_two_labels_for_the_background_are_refused() -> None:
    with pytest.raises(UserError, match="all mean the background"):
        classes_of_labels(["background", "_background_"])


def test_a_named_file_goes_before_those_in_the_folder_and_they_before_labels(
    tmp_path: Path,
) -> None:
    assert folder_classes(tmp_path, None, ["x"]) == (("__background__", "x"), tmp_path)
    own = written(tmp_path / "obj.names", "background\na\n")
    assert folder_classes(tmp_path, None, ["x"]) == (("background", "a"), own)
    named = written(tmp_path / "named", "background\nb\n")
    assert folder_classes(tmp_path, named, ["x"]) == (("background", "b"), named)
