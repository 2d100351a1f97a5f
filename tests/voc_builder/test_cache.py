"""A folder is built once and again only when something in it changes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.voc_builder.folders import (
    chips,
    image_bytes,
    square,
    tree_bytes,
    write_annotated,
    write_badly_named,
    write_json,
)
from voc_builder import build as build_module
from voc_builder import cache
from voc_builder.base import progress
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.cache import build_cached
from voc_builder.tree.voc import Dataset, read_dataset


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were built, without TFRecords: they take TensorFlow's seconds."""
    made: list[Path] = []

    def without_records(config: BuildConfig, **_: bool) -> Dataset:
        made.append(config.out)
        return build(BuildConfig(config.folder, config.out, records=False, classes=config.classes))

    monkeypatch.setattr(cache, "build", without_records)
    return made


def test_an_unchanged_folder_is_built_once(tmp_path: Path, builds: list[Path]) -> None:
    folder = chips(tmp_path / "chips")
    first = build_cached(BuildConfig(folder, tmp_path / "datasets"))
    (folder / "notes.docx").touch()
    assert build_cached(BuildConfig(folder, tmp_path / "datasets")) == first
    assert len(builds) == 1
    assert first.path.parent == tmp_path / "datasets"
    assert first.path.name.startswith("chips-")


CHANGES: dict[str, Callable[[Path], object]] = {
    "annotation": lambda folder: write_json(folder / "bad000.json", [square("chip", 2)]),
    "photo": lambda folder: (folder / "bad000.jpg").write_bytes(image_bytes(99)),
    "name": lambda folder: write_annotated(folder / "more.json"),
    "classes": lambda folder: (folder / "obj.names").write_text("background\nchip\ndefect\n"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_built_again(tmp_path: Path, builds: list[Path], change: str) -> None:
    folder = chips(tmp_path / "chips")
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    CHANGES[change](folder)
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    assert len(set(builds)) == 2


def test_an_image_outside_the_folder_counts_too(tmp_path: Path, builds: list[Path]) -> None:
    folder = chips(tmp_path / "chips")
    (tmp_path / "outside.jpg").write_bytes(image_bytes(1))
    write_json(folder / "far.json", [square("chip")], imagePath="../outside.jpg")
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    (tmp_path / "outside.jpg").write_bytes(image_bytes(2))
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    assert len(set(builds)) == 2


def test_a_name_that_is_not_utf_8_is_named_and_may_be_left_out(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    write_badly_named(folder, ".json")
    write_badly_named(folder, ".jpg")
    with pytest.raises(UserError, match=r"2 errors.*\n  .*caf\\udce9\.jpg: .*: rename"):
        build_cached(BuildConfig(folder, tmp_path / "datasets"))
    config = BuildConfig(folder, tmp_path / "out", records=False, skip_bad=True)
    for unlabelled in ("report", "background"):
        built = build(dataclasses.replace(config, unlabelled=unlabelled, overwrite=True))
        assert sum(map(len, built.splits.values())) == 20


def test_another_setting_is_another_data_set(tmp_path: Path, builds: list[Path]) -> None:
    folder = chips(tmp_path / "chips")
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    build_cached(BuildConfig(folder, tmp_path / "datasets", seed=1))
    build_cached(BuildConfig(folder, tmp_path / "datasets", record_size=64))
    build_cached(BuildConfig(folder, tmp_path / "datasets", folds=5))
    assert len(set(builds)) == 4


def test_comparing_many_files_is_told(
    tmp_path: Path,
    builds: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = chips(tmp_path / "chips")
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    assert "files compared" not in capsys.readouterr().err
    clock = itertools.count(step=0.2)  # a look at the clock for every one of the 41 files
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    build_cached(BuildConfig(folder, tmp_path / "datasets"))
    assert "files compared: 41 in 8.4 s" in capsys.readouterr().err


def test_of_two_that_build_at_once_both_get_the_data_set_of_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chips(tmp_path / "chips")
    config = BuildConfig(folder, tmp_path / "datasets", records=False)
    fill, both, done = build_module._fill, threading.Barrier(2, timeout=20), threading.Event()

    def fill_at_once(*arguments: Any) -> Any:
        about = fill(*arguments)
        if both.wait():  # of the two one waits for the other's end
            assert done.wait(timeout=20)
        return about

    def built_first(_: object) -> tuple[Dataset, int]:
        dataset = build_cached(config)
        done.set()
        return dataset, (dataset.path / "dataset.json").stat().st_ino

    monkeypatch.setattr(build_module, "_fill", fill_at_once)
    with ThreadPoolExecutor(2) as pool:
        (first, one), (second, other) = pool.map(built_first, range(2))
    assert first == second == read_dataset(first.path)
    assert one == other == (first.path / "dataset.json").stat().st_ino
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [first.path.name]


def test_a_folder_in_the_place_of_a_data_set_is_refused(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    config = BuildConfig(folder, tmp_path / "datasets", records=False)
    place = build_cached(config).path
    (place / "dataset.json").unlink()
    before = tree_bytes(place)
    with pytest.raises(UserError, match="no data set"):
        build_cached(config)
    assert tree_bytes(place) == before


def test_a_tree_without_records_is_refused_with_the_cure(tmp_path: Path) -> None:
    tree = build(BuildConfig(chips(tmp_path / "chips"), tmp_path / "out", records=False)).path
    with pytest.raises(UserError, match=r"built without TFRecords: .* --records --overwrite"):
        build_cached(BuildConfig(tree, tmp_path / "datasets"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"split": "70/20/10", "classes": Path("names")},
            "--classes, --split have no .* with them",
        ),
        ({"group_by": "^a", "skip_bad": True}, "--group-by, --skip-bad have no effect on it"),
        ({"seed": 7}, "--seed has no effect on it"),
        ({"folds": 3}, "--folds has no effect on it: build it again with it"),
        ({"unlabelled": "background"}, "--unlabelled has no effect on it: build it again with it"),
        ({"mask_values": "0=a"}, "--mask-values has no effect .* anew with --source masks"),
        ({"merge": "a=*", "images": Path("b")}, "--images, --merge have no effect on it"),
    ],
)
def test_settings_of_a_build_are_refused_for_a_tree(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    tree = build(BuildConfig(chips(tmp_path / "chips"), tmp_path / "out", records=False)).path
    with pytest.raises(UserError, match=f"out is a built data set: {said}"):
        build_cached(BuildConfig(tree, tmp_path / "datasets", **settings))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        build_cached(BuildConfig(tmp_path / "none", tmp_path / "datasets"))


@pytest.mark.slow
def test_a_tree_with_records_is_read_as_it_is(tmp_path: Path) -> None:
    dataset = build_cached(BuildConfig(chips(tmp_path / "chips"), tmp_path / "datasets"))
    assert build_cached(BuildConfig(dataset.path, tmp_path / "elsewhere")) == dataset
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
def test_folds_are_built_and_those_of_a_tree_may_be_named(tmp_path: Path) -> None:
    dataset = build_cached(BuildConfig(chips(tmp_path / "chips"), tmp_path / "datasets", folds=4))
    assert dataset.folds == 4
    assert build_cached(BuildConfig(dataset.path, tmp_path / "elsewhere", folds=4)) == dataset
    assert build_cached(BuildConfig(dataset.path, tmp_path / "elsewhere")) == dataset
    with pytest.raises(UserError, match="--folds has no effect on it"):
        build_cached(BuildConfig(dataset.path, tmp_path / "elsewhere", folds=5))


@pytest.mark.slow
def test_a_tree_is_a_source_of_masks_whose_split_and_groups_are_kept(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    tree = build(BuildConfig(folder, tmp_path / "out", group_by=r"\d+", records=False))
    merged = {"source": "masks", "merge": "background=*,defect=defect"}
    kept = build_cached(BuildConfig(tree.path, tmp_path / "datasets", **merged))
    assert kept.classes == ("background", "defect")
    assert kept.splits == tree.splits
    drawn = build_cached(BuildConfig(tree.path, tmp_path / "datasets", split="40/30/30", **merged))
    assert drawn.splits != tree.splits
    place = {image: split for split, ids in drawn.splits.items() for image in ids}
    groups = json.loads((tree.path / "dataset.json").read_text())["groups"]
    assert len(groups) > 1
    for placed in groups.values():
        together = [image for ids in placed.values() for image in ids]
        assert len(together) > 1
        assert len({place[image] for image in together}) == 1


def test_a_split_from_elsewhere_is_part_of_what_is_built(tmp_path: Path) -> None:
    folder, out = chips(tmp_path / "chips"), tmp_path / "datasets"
    trees = [
        build(BuildConfig(folder, tmp_path / f"{seed}", seed=seed, records=False)).path
        for seed in (1, 2)
    ]
    built = [build_cached(BuildConfig(folder, out, records=False, split_from=t)) for t in trees]
    assert built[0].path != built[1].path
    assert built[0].splits != built[1].splits
    moved = trees[1].rename(tmp_path / "moved")
    third = build_cached(BuildConfig(folder, out, records=False, split_from=moved))
    assert third == built[1], "what it holds counts, not where it lies"
    lists = moved / "ImageSets/Segmentation"
    val = (lists / "val.txt").read_text()
    (lists / "val.txt").write_text((lists / "test.txt").read_text())
    (lists / "test.txt").write_text(val)
    fourth = build_cached(BuildConfig(folder, out, records=False, split_from=moved))
    assert fourth.splits["test"] == built[1].splits["val"]
    with pytest.raises(
        UserError, match=r"--split-from .*chips: no built data set that can be read"
    ):
        build_cached(BuildConfig(folder, out, split_from=folder))
