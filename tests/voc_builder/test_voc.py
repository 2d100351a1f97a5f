"""A tree that is none, or not whole, is refused in one line that says how to mend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.voc_builder.folders import chips
from voc_builder.build import BuildConfig, build
from voc_builder.errors import UserError
from voc_builder.voc import read_dataset


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return build(BuildConfig(chips(tmp_path / "chips"), tmp_path / "out", records=False)).path


def change(tree: Path, **fields: Any) -> None:
    path = tree / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refused(path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)
    assert "python -m voc_builder build SRC" in str(caught.value)


def test_a_data_set_reads_the_same_wherever_it_lies(tree: Path) -> None:
    before = read_dataset(tree)
    after = read_dataset(tree.rename(tree.with_name("moved")))
    assert after.sha256 == before.sha256
    assert after.splits == before.splits
    assert after.photo("bad000").is_file() and after.mask("bad000").is_file()


def test_what_is_no_tree_is_refused(tree: Path) -> None:
    refused(tree / "none", "no such folder")
    refused(tree / "JPEGImages", r"not a data set of voc_builder \(no dataset.json")


def test_a_damaged_tree_is_refused(tree: Path) -> None:
    change(tree, classes=None)
    refused(tree, r"dataset\.json: damaged")
    (tree / "dataset.json").write_text("{")
    refused(tree, r"dataset\.json: damaged")


def test_another_format_is_refused(tree: Path) -> None:
    change(tree, format=99)
    refused(tree, r"dataset\.json: format 99, not 1")


def test_a_missing_list_or_shard_is_refused(tree: Path) -> None:
    change(tree, records={"train": ["a.tfrecord"], "val": [], "test": ["b.tfrecord"]})
    refused(tree, r"a\.tfrecord: missing, 2 in all")
    (tree / "ImageSets/Segmentation/val.txt").unlink()
    refused(tree, "damaged")


def test_ids_with_odd_characters_are_kept(tree: Path) -> None:
    odd = "a\u2028b c,\u00e9"
    (tree / "ImageSets/Segmentation/val.txt").write_text(f"{odd}\n", encoding="utf-8")
    assert read_dataset(tree).splits["val"] == (odd,)
