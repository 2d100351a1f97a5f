"""A folder is built once and again only when something in it changes."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.voc_builder.folders import (
    about,
    built,
    chips,
    image_bytes,
    sizes,
    square,
    tree_bytes,
    write_annotated,
    write_badly_named,
    write_image,
    write_json,
    write_mask,
)
from voc_builder import build as build_module
from voc_builder.base import progress
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig
from voc_builder.cache import build_cached
from voc_builder.tree.voc import Dataset, read_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return chips(tmp_path / "chips")


def cached(folder: Path, **settings: Any) -> Dataset:
    return build_cached(BuildConfig(folder, folder.parent / "datasets", **settings))


def test_an_unchanged_folder_is_built_once(folder: Path, builds: list[Path]) -> None:
    first = cached(folder)
    (folder / "notes.docx").touch()
    assert cached(folder) == first
    assert builds == [first.path]
    assert first.path.parent == folder.parent / "datasets"
    assert first.path.name.startswith("chips-")


CHANGES: dict[str, Callable[[Path], object]] = {
    "annotation": lambda folder: write_json(folder / "bad000.json", [square("chip", 2)]),
    "image": lambda folder: (folder / "bad000.jpg").write_bytes(image_bytes(99)),
    "name": lambda folder: write_annotated(folder / "more.json"),
    "classes": lambda folder: (folder / "obj.names").write_text("background\nchip\ndefect\n"),
    "outside": lambda folder: (folder.parent / "outside.jpg").write_bytes(image_bytes(2)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_built_again(folder: Path, builds: list[Path], change: str) -> None:
    (folder.parent / "outside.jpg").write_bytes(image_bytes(1))
    write_json(folder / "far.json", [square("chip")], imagePath="../outside.jpg")
    cached(folder)
    CHANGES[change](folder)
    cached(folder)
    assert len(set(builds)) == 2


def test_another_setting_is_another_data_set(folder: Path, builds: list[Path]) -> None:
    for settings in ({}, {"seed": 1}, {"record_size": 64}, {"folds": 5}):
        cached(folder, **settings)
    assert len(set(builds)) == 4


def test_another_mask_or_pattern_is_another_data_set(tmp_path: Path, builds: list[Path]) -> None:
    folder = tmp_path / "land"
    for number in range(4):
        write_image(folder / f"images/{number}_1.jpg")
        write_mask(folder / f"masks/{number}.png", [0, 1])
    cached(folder, mask_pattern=r"(.*)_\d")
    cached(folder, mask_pattern=r"(.*)_\d")
    assert len(builds) == 1
    cached(folder, mask_pattern=r"(.)_\d")
    write_mask(folder / "masks/0.png", [1])
    cached(folder, mask_pattern=r"(.*)_\d")
    assert len(set(builds)) == 3


def test_bad_names_are_errors_that_may_be_left_out(folder: Path) -> None:
    write_badly_named(folder, ".json")
    write_badly_named(folder, ".jpg")
    with pytest.raises(UserError, match=r"2 errors(?s:.*)caf\\udce9\.jpg: .*\[file-name\]"):
        cached(folder)
    for unlabelled in ("report", "background"):
        dataset = built(folder, skip_bad=True, unlabelled=unlabelled, overwrite=True)
        assert sum(sizes(dataset)) == 20


def test_progress_is_shown_for_many_files(
    folder: Path,
    builds: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cached(folder)
    assert "files compared" not in capsys.readouterr().err
    clock = itertools.count(step=0.2)  # a look at the clock for every one of the 41 files
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    cached(folder)
    assert "files compared: 41 in 8.4 s" in capsys.readouterr().err


def test_of_two_that_build_at_once_both_get_the_data_set_of_the_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, both, done = build_module._fill, threading.Barrier(2, timeout=20), threading.Event()

    def fill_at_once(*arguments: Any) -> Any:
        content = fill(*arguments)
        if both.wait():  # one waits for the end of the other
            assert done.wait(timeout=20)
        return content

    def built_first(_: object) -> tuple[Dataset, int]:
        dataset = cached(folder, records=False)
        done.set()
        return dataset, (dataset.path / "dataset.json").stat().st_ino

    monkeypatch.setattr(build_module, "_fill", fill_at_once)
    with ThreadPoolExecutor(2) as pool:
        (first, one), (second, other) = pool.map(built_first, range(2))
    assert first == second == read_dataset(first.path)
    assert one == other == (first.path / "dataset.json").stat().st_ino
    assert [path.name for path in first.path.parent.iterdir()] == [first.path.name]


def test_a_folder_in_the_place_of_a_data_set_is_refused(folder: Path) -> None:
    place = cached(folder, records=False).path
    (place / "dataset.json").unlink()
    before = tree_bytes(place)
    with pytest.raises(UserError, match="no data set"):
        cached(folder, records=False)
    assert tree_bytes(place) == before


def test_a_tree_without_records_is_refused_with_the_cure(folder: Path) -> None:
    with pytest.raises(UserError, match="--records --overwrite"):
        cached(built(folder).path)


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({"split": "70/20/10", "classes": Path("names")}, "--classes, --split have"),
        ({"group_by": "^a", "skip_bad": True}, "--group-by, --skip-bad have"),
        ({"seed": 7}, "--seed has"),
        ({"folds": 3}, "--folds has"),
        ({"unlabelled": "background"}, "--unlabelled has"),
        ({"mask_values": "0=a"}, "--mask-values has .* --source masks"),
        ({"merge": "a=*", "images": Path("b")}, "--images, --merge have"),
    ],
)
def test_settings_of_a_build_are_refused_for_a_tree(
    folder: Path, settings: dict[str, Any], flags: str
) -> None:
    with pytest.raises(UserError, match=f"out is a built data set: {flags}"):
        cached(built(folder).path, **settings)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        cached(tmp_path / "none")


@pytest.mark.slow
def test_a_tree_is_read_as_it_is_and_its_folds_may_be_named(folder: Path) -> None:
    dataset = cached(folder, folds=4)
    elsewhere = BuildConfig(dataset.path, folder.parent / "elsewhere")
    assert dataset.folds == 4
    for folds in (0, 4):
        assert build_cached(dataclasses.replace(elsewhere, folds=folds)) == dataset
    with pytest.raises(UserError, match="--folds has no effect on it"):
        build_cached(dataclasses.replace(elsewhere, folds=5))
    assert not elsewhere.out.exists()


@pytest.mark.slow
def test_a_tree_is_a_source_of_masks_whose_split_and_groups_are_kept(folder: Path) -> None:
    tree = built(folder, group_by=r"\d+")
    merged = {"source": "masks", "merge": "background=*,defect=defect"}
    kept = cached(tree.path, **merged)
    assert kept.classes == ("background", "defect")
    assert kept.splits == tree.splits
    drawn = cached(tree.path, split="40/30/30", **merged)
    assert drawn.splits != tree.splits
    place = {image: split for split, ids in drawn.splits.items() for image in ids}
    groups = about(tree)["groups"]
    assert len(groups) > 1
    for placed in groups.values():
        together = [image for ids in placed.values() for image in ids]
        assert len(together) > 1
        assert len({place[image] for image in together}) == 1


def test_an_earlier_split_is_part_of_what_is_built(folder: Path, tmp_path: Path) -> None:
    trees = [built(folder, tmp_path / f"{seed}", seed=seed).path for seed in (1, 2)]
    first, second = (cached(folder, records=False, split_from=tree) for tree in trees)
    assert first.path != second.path
    assert first.splits != second.splits
    moved = trees[1].rename(tmp_path / "moved")
    assert cached(folder, records=False, split_from=moved) == second  # wherever it is
    lists = moved / "ImageSets/Segmentation"
    val = (lists / "val.txt").read_text()
    (lists / "val.txt").write_text((lists / "test.txt").read_text())
    (lists / "test.txt").write_text(val)
    swapped = cached(folder, records=False, split_from=moved)
    assert swapped.splits["test"] == second.splits["val"]
    with pytest.raises(UserError, match=r"--split-from .*chips"):
        cached(folder, split_from=folder)
