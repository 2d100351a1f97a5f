"""A tree that is none, or not whole, is refused in one line that says how to mend it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.voc_builder.folders import chips
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.tree.voc import Dataset, read_dataset


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return build(BuildConfig(chips(tmp_path / "chips"), tmp_path / "out", records=False)).path


@pytest.fixture
def folded(tmp_path: Path) -> Path:
    folder = chips(tmp_path / "more chips")
    return build(BuildConfig(folder, tmp_path / "folded", records=False, folds=4)).path


def change(tree: Path, **fields: Any) -> None:
    path = tree / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def refused(path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_dataset(path)
    assert "\n" not in str(caught.value)
    assert "python -m voc_builder build SRC" in str(caught.value)


def test_a_place_that_a_shell_would_take_apart_is_quoted_in_a_command(tmp_path: Path) -> None:
    place = tmp_path / "a $(b); c"
    with pytest.raises(UserError) as caught:
        read_dataset(place)
    words = shlex.split(str(caught.value).partition(": build it with ")[2])
    assert words == ["python", "-m", "voc_builder", "build", "SRC", str(place)]


def test_a_data_set_reads_the_same_wherever_it_lies(tree: Path) -> None:
    before = read_dataset(tree)
    after = read_dataset(tree.rename(tree.with_name("moved")))
    assert after.sha256 == before.sha256
    assert after.splits == before.splits
    assert after.image("bad000").is_file() and after.mask("bad000").is_file()


def test_a_fold_is_the_same_data_set_with_another_train_and_val(folded: Path) -> None:
    dataset = read_dataset(folded)
    lists = folded / "ImageSets/Segmentation"
    assert dataset.folds == 4
    for number in range(1, 5):
        fold = dataset.in_fold(number)
        for name in ("train", "val"):
            listed = (lists / f"fold_{number}_{name}.txt").read_text().split()
            assert fold.splits[name] == tuple(listed)
            assert fold.pixels[name] == count(fold, listed, pixels=True)
            assert fold.images[name] == count(fold, listed, pixels=False)
        for field in ("splits", "records", "pixels", "images"):
            assert getattr(fold, field)["test"] == getattr(dataset, field)["test"]
        assert (fold.sha256, fold.path, fold.folds) == (dataset.sha256, folded, 4)
    assert fold.in_fold(1) == dataset.in_fold(1) != fold


def count(dataset: Dataset, ids: list[str], *, pixels: bool) -> dict[str, int]:
    """Pixels, or images, of every class in masks as they are read from the tree."""
    masks = [np.array(Image.open(dataset.mask(image_id))) for image_id in ids]
    named = [*enumerate(dataset.classes), (255, "__ignore__")]
    seen = {name: [int((mask == i).sum()) for mask in masks] for i, name in named}
    return {name: sum(of if pixels else map(bool, of)) for name, of in seen.items()}


@pytest.mark.slow
def test_the_images_of_a_fold_lie_in_its_records(tmp_path: Path) -> None:
    import tensorflow as tf

    folder = chips(tmp_path / "chips")
    dataset = build(BuildConfig(folder, tmp_path / "out", folds=3)).in_fold(2)
    for name, ids in dataset.splits.items():
        assert all(shard.is_file() for shard in dataset.records[name])
        records = tf.data.TFRecordDataset([str(shard) for shard in dataset.records[name]])
        features = [
            tf.train.Example.FromString(r).features.feature for r in records.as_numpy_iterator()
        ]
        found = [f["image/filename"].bytes_list.value[0].decode() for f in features]
        assert len(found) == len(set(found)) and {*ids} <= {*found}


def test_a_fold_that_is_not_there_is_refused_with_the_cure(folded: Path, tree: Path) -> None:
    for number in (0, 5):
        with pytest.raises(UserError, match=rf"fold {number} is not one of 1 to 4: .* --folds K"):
            read_dataset(folded).in_fold(number)
    with pytest.raises(UserError, match=r"built without folds: build it again .* --folds K"):
        read_dataset(tree).in_fold(1)
    (folded / "ImageSets/Segmentation/fold_2_val.txt").unlink()
    with pytest.raises(UserError, match=r"dataset\.json: damaged .* --folds K"):
        read_dataset(folded).in_fold(2)


def test_a_data_set_of_before_there_were_folds_is_read(tree: Path) -> None:
    about = json.loads((tree / "dataset.json").read_text())
    del about["folds"]
    (tree / "dataset.json").write_text(json.dumps(about))
    assert read_dataset(tree).folds == 0


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
