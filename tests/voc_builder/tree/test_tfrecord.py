"""TFRecords hold DeepLab's keys and TensorFlow reads them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.voc_builder.folders import chips, read_mask, tree_bytes, write_annotated
from voc_builder.base.tensorflow import import_tensorflow
from voc_builder.build import BuildConfig, build
from voc_builder.tree.tfrecord import shard_names
from voc_builder.tree.voc import Dataset


def test_shards_are_numbered_and_none_is_empty() -> None:
    names = ["val-00000-of-00002.tfrecord", "val-00001-of-00002.tfrecord"]
    assert shard_names("val", 2, 4) == names
    assert shard_names("test", 0, 4) == []


def read_back(dataset: Dataset, split: str) -> dict[str, dict[str, Any]]:
    """The features of every record, by id."""
    tf = import_tensorflow()
    keys = {
        "image/encoded": tf.string,
        "image/format": tf.string,
        "image/filename": tf.string,
        "image/height": tf.int64,
        "image/width": tf.int64,
        "image/channels": tf.int64,
        "image/segmentation/class/encoded": tf.string,
        "image/segmentation/class/format": tf.string,
    }
    features = {key: tf.io.FixedLenFeature([], kind) for key, kind in keys.items()}
    found = {}
    for serialised in tf.data.TFRecordDataset([str(path) for path in dataset.records[split]]):
        one = {k: v.numpy() for k, v in tf.io.parse_single_example(serialised, features).items()}
        mask = tf.io.decode_png(one["image/segmentation/class/encoded"], channels=1)
        one["mask"] = mask.numpy()[:, :, 0]
        one["image"] = tf.io.decode_jpeg(one["image/encoded"]).numpy()
        found[one["image/filename"].decode()] = one
    return found


@pytest.mark.slow
def test_records_hold_images_and_masks_as_they_are_with_any_number_of_workers(
    tmp_path: Path,
) -> None:
    folder = chips(tmp_path / "chips")
    dataset = build(BuildConfig(folder, tmp_path / "out", shards=3, workers=1))
    many = build(BuildConfig(folder, tmp_path / "many", shards=3, workers=5))
    assert tree_bytes(dataset.path) == tree_bytes(many.path)
    assert [len(shards) for shards in dataset.records.values()] == [3, 2, 2]
    for split, ids in dataset.splits.items():
        found = read_back(dataset, split)
        assert sorted(found) == sorted(ids)
        for image_id, one in found.items():
            assert one["image/encoded"] == dataset.image(image_id).read_bytes()
            np.testing.assert_array_equal(one["mask"], read_mask(dataset.mask(image_id)))
            assert (one["image/height"], one["image/width"], one["image/channels"]) == (6, 8, 3)
            assert one["image/format"] == b"jpeg"
            assert one["image/segmentation/class/format"] == b"png"


@pytest.mark.slow
def test_a_record_size_resizes_image_and_mask(tmp_path: Path) -> None:
    dataset = build(BuildConfig(chips(tmp_path / "chips"), tmp_path / "out", record_size=4))
    assert dataset.record_size == 4
    for image_id, one in read_back(dataset, "train").items():
        assert one["image"].shape == (4, 4, 3)
        assert (one["image/height"], one["image/width"]) == (4, 4)
        mask = read_mask(dataset.mask(image_id))
        nearest = cv2.resize(mask, (4, 4), interpolation=cv2.INTER_NEAREST_EXACT)
        np.testing.assert_array_equal(one["mask"], nearest)


@pytest.mark.slow
def test_a_split_without_images_has_no_shards(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips", empty=1, clean=1, defective=1)
    write_annotated(folder / "фишка.json")
    dataset = build(BuildConfig(folder, tmp_path / "out", split="100/0/0"))
    assert dataset.records["val"] == dataset.records["test"] == ()
    assert "фишка" in read_back(dataset, "train")
