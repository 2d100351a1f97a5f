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


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = tmp_path / "tree"
    path.mkdir()
    (path / "old").write_text("old")
    return path


def test_a_file_is_replaced_by_a_file_unless_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError, match="half"), replacing(path) as beside:
        beside.write_text("new")
        raise ValueError("half")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing is written
    with replacing(path) as beside:
        beside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_a_full_folder(tree: Path) -> None:
    with replacing(tree) as beside:
        beside.mkdir()
        (beside / "new").write_text("new")
        assert names(tree) == ["old"]
    assert names(tree) == ["new"]
    assert names(tree.parent) == ["tree"]


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


def test_a_failure_leaves_the_old_folder_and_nothing_else(tree: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tree) as beside:
        (beside / "deep").mkdir(parents=True)
        raise KeyboardInterrupt
    assert names(tree) == ["old"]
    assert names(tree.parent) == ["tree"]


@pytest.mark.parametrize("moves", [1, 2])
def test_ctrl_c_after_a_move_brings_the_old_folder_back(
    tree: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    rename, done = Path.rename, []

    def interrupted(source: Path, target: Path) -> Path:
        done.append(rename(source, target))
        if len(done) == moves:
            raise KeyboardInterrupt
        return done[-1]

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(tree) as beside:
        beside.mkdir()
        (beside / "new").write_text("new")
    assert names(tree) == ["old"]
    assert names(tree.parent) == ["tree"]


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
