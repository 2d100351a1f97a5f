"""Files and folders appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from voc_builder.base.files import making, replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_appears_when_the_block_ends_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "фото.jpg"
    with replacing(path) as beside:
        beside.write_text("new")
        assert beside.suffix == ".jpg"
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["фото.jpg"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), replacing(path) as beside:
        beside.write_text("new")
        raise ValueError("half")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_file_takes_the_place_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_a_full_folder(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    path.mkdir()
    (path / "old").write_text("old")
    with replacing(path) as beside:
        beside.mkdir()
        (beside / "new").write_text("new")
        assert names(path) == ["old"]
    assert names(path) == ["new"]
    assert names(tmp_path) == ["tree"]


def test_a_folder_takes_the_place_of_a_file_and_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for name in ("file", "link"):
        with replacing(tmp_path / name) as beside:
            beside.mkdir()
            (beside / "new").write_text("new")
        assert names(tmp_path / name) == ["new"]
    assert names(tmp_path) == ["file", "link", "target"]
    assert names(tmp_path / "target") == []


def test_a_file_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    with replacing(tmp_path / "a") as beside:
        beside.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
    assert names(tmp_path) == ["a"]


def test_a_failure_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "tree"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        (beside / "deep").mkdir(parents=True)
        raise KeyboardInterrupt
    assert names(path) == ["old"]
    assert names(tmp_path) == ["tree"]


@pytest.mark.parametrize("moves", [1, 2])
def test_ctrl_c_after_a_move_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    path = tmp_path / "tree"
    path.mkdir()
    (path / "old").write_text("old")
    rename, done = Path.rename, []

    def interrupted(source: Path, target: Path) -> Path:
        done.append(rename(source, target))
        if len(done) == moves:
            raise KeyboardInterrupt
        return done[-1]

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(path) as beside:
        beside.mkdir()
        (beside / "new").write_text("new")
    assert names(path) == ["old"]
    assert names(tmp_path) == ["tree"]


def test_a_block_that_writes_nothing_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_text() == "old"


def test_a_name_of_the_longest_legal_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 251 + ".jpg")
    with replacing(path) as beside:
        beside.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_that_was_made_goes_where_nothing_is_put_into_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="early"), making(tmp_path / "a/b"):
        raise ValueError("early")
    with pytest.raises(OSError, match="long"), making(tmp_path / "a" / ("b" * 300)):
        pass
    assert names(tmp_path) == []
    with pytest.raises(ValueError, match="late"), making(tmp_path / "a/b"):
        (tmp_path / "a/b/c").touch()
        raise ValueError("late")
    assert names(tmp_path / "a/b") == ["c"]
