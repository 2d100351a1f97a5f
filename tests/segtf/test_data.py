"""Photos come out of TFRecords as they went in, once, and in an order that can be repeated."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from PIL import Image

from voc_builder.errors import UserError
from voc_builder.images import decode_image, resize_image, resize_mask
from voc_builder.tfrecord import import_tensorflow
from voc_builder.voc import Dataset

pytestmark = pytest.mark.slow  # TensorFlow alone takes seconds
tf = import_tensorflow()

from segtf import data  # noqa: E402  after TensorFlow

SIZE = 32


@pytest.fixture(scope="module")
def training(dataset: Dataset) -> data.Split:
    (split,) = data.load_splits(dataset, ("train",), SIZE, Path("unused"))
    return split


def test_a_split_holds_every_photo_and_mask_at_training_size(dataset: Dataset) -> None:
    for split in data.load_splits(dataset, ("train", "val", "test"), SIZE, Path("unused")):
        assert sorted(split.ids) == sorted(dataset.splits[split.name])
        for i, photo_id in enumerate(split.ids):
            photo = decode_image(dataset.photo(photo_id).read_bytes(), photo_id)
            mask = np.array(Image.open(dataset.mask(photo_id)))
            np.testing.assert_array_equal(split.images[i], resize_image(photo, SIZE, SIZE))
            np.testing.assert_array_equal(split.masks[i], resize_mask(mask, SIZE, SIZE))


def test_a_split_that_does_not_fit_half_the_free_memory_lies_on_disk(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: data.Split
) -> None:
    class Full:
        available = 2 * 16 * SIZE**2 * data.BYTES_A_PIXEL - 2

    monkeypatch.setattr(psutil, "virtual_memory", Full)
    (split,) = data.load_splits(dataset, ("train",), SIZE, tmp_path)
    assert isinstance(split.images, np.memmap)
    assert isinstance(split.masks, np.memmap)
    np.testing.assert_array_equal(split.images, training.images)


def test_an_epoch_shows_each_photo_once_but_for_what_does_not_fill_a_batch(
    training: data.Split,
) -> None:
    batches = list(
        data.training_batches(training, batch=3, augment="none", seed=1, epochs=range(4))
    )
    steps = data.steps_per_epoch(training, 3)
    assert (steps, len(batches)) == (5, 20)
    orders = []
    for epoch in range(4):
        shown = np.concatenate(
            [images for images, _ in batches[epoch * steps : (epoch + 1) * steps]]
        )
        matches = (shown[:, None] == training.images[None]).all(axis=(2, 3, 4))
        orders.append(tuple(matches.argmax(axis=1).tolist()))
        assert len(set(orders[-1])) == 15
    assert all(a != b for a, b in pairwise(orders))


def test_a_run_that_begins_later_sees_what_it_would_have_seen(training: data.Split) -> None:
    def batches(epochs: range) -> list[tuple[np.ndarray, np.ndarray]]:
        stream = data.training_batches(training, batch=4, augment="medium", seed=7, epochs=epochs)
        return list(stream.as_numpy_iterator())

    whole, rest = batches(range(3)), batches(range(1, 3))
    for (image, mask), (same_image, same_mask) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(mask, same_mask)


def test_validation_batches_are_all_photos_in_order(training: data.Split) -> None:
    batches = list(data.batches(training, 5).as_numpy_iterator())
    assert [len(images) for images, _ in batches] == [5, 5, 5, 1]
    np.testing.assert_array_equal(np.concatenate([masks for _, masks in batches]), training.masks)


def example(photo: bytes, mask: bytes) -> bytes:
    def feature(value: bytes):  # type: ignore[no-untyped-def]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image/filename": feature(b"chip"),
        "image/encoded": feature(photo),
        "image/segmentation/class/encoded": feature(mask),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def encoded(array: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


PHOTO = encoded(np.zeros((8, 8, 3), np.uint8), ".jpg")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"no example", "a record without photo or mask"),
        (example(b"", encoded(np.zeros((8, 8), np.uint8))), "not a photo that can be decoded"),
        (example(PHOTO, b"no PNG"), "the mask is no PNG, the photo 8 x 8"),
        (example(PHOTO, encoded(np.zeros((8, 9), np.uint8))), "the mask is 9 x 8, the photo 8 x 8"),
        (example(PHOTO, encoded(np.full((8, 8), 3, np.uint8))), r"class ids \[3\] in the mask"),
    ],
)
def test_a_record_that_is_no_photo_with_its_mask_is_named(
    dataset: Dataset, tmp_path: Path, record: bytes, says: str
) -> None:
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(shard)) as writer:
        writer.write(record)
    broken = dataclasses.replace(dataset, records={"train": (shard,)})
    with pytest.raises(UserError, match=f"{shard.name}.*{says}"):
        data.load_splits(broken, ("train",), SIZE, tmp_path)


def test_a_damaged_file_of_records_is_named(dataset: Dataset, tmp_path: Path) -> None:
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    content = bytearray(dataset.records["train"][0].read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    broken = dataclasses.replace(dataset, records={"train": (shard,)})
    with pytest.raises(
        UserError, match=f"{shard.name}: broken TFRecord .*build the data set again"
    ):
        data.load_splits(broken, ("train",), SIZE, tmp_path)


def test_records_that_are_fewer_than_the_list_says_are_refused(dataset: Dataset) -> None:
    fewer = dataclasses.replace(dataset, records={"train": dataset.records["train"][1:]})
    with pytest.raises(UserError, match="records of 16 train photos"):
        data.load_splits(fewer, ("train",), SIZE, Path("unused"))


def test_a_tree_without_records_says_how_to_get_them(dataset: Dataset) -> None:
    bare = dataclasses.replace(dataset, records={"train": ()})
    with pytest.raises(UserError, match="no TFRecords of train"):
        data.load_splits(bare, ("train",), SIZE, Path("unused"))
