"""Images come out of TFRecords as they went in, once, and in an order that can be repeated."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from voc_builder.base.errors import UserError
from voc_builder.base.tensorflow import import_tensorflow
from voc_builder.pixels.images import decode_image, resize_image, resize_mask
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow  # TensorFlow alone takes seconds
tf = import_tensorflow()

from segtf.data import records  # noqa: E402  after TensorFlow
from segtf.data.batches import training_batches, validation_batches  # noqa: E402
from segtf.data.sampling import Sampler  # noqa: E402
from segtf.run.config import TrainConfig  # noqa: E402

SIZE = 32
SHAPE = (SIZE, SIZE)


HOW = records.Loading(SHAPE)


@pytest.fixture(scope="module")
def training(dataset: Dataset) -> records.Split:
    (split,) = records.load_splits(dataset, ("train",), HOW)
    return split


@pytest.mark.parametrize("shape", [SHAPE, (40, 57)])
def test_a_split_holds_every_image_and_mask_at_training_size(
    dataset: Dataset, shape: tuple[int, int]
) -> None:
    for split in records.load_splits(dataset, ("train", "val", "test"), records.Loading(shape)):
        assert split.ids == dataset.splits[split.name]
        for i, image_id in enumerate(split.ids):
            image = decode_image(dataset.image(image_id).read_bytes(), image_id)
            mask = np.array(Image.open(dataset.mask(image_id)))
            np.testing.assert_array_equal(split.images[i], resize_image(image, *shape))
            np.testing.assert_array_equal(split.masks[i], resize_mask(mask, *shape))


def test_for_crops_training_images_stay_whole_and_others_come_as_tiles(dataset: Dataset) -> None:
    how = records.Loading(
        (SIZE * 2, SIZE * 2), crop=True
    )  # 96 x 96 in tiles of 64: four, of which three overhang
    training, validation = records.load_splits(dataset, ("train", "val"), how)
    for i, image_id in enumerate(training.ids):
        mask = np.array(Image.open(dataset.mask(image_id)))
        np.testing.assert_array_equal(training.masks[i], mask)
        assert training.images[i].shape == (96, 96, 3)
    assert len(validation) == 4 * 2
    assert validation.ids == tuple(i for i in dataset.splits["val"] for _ in range(4))
    first = np.array(Image.open(dataset.mask(dataset.splits["val"][0])))
    np.testing.assert_array_equal(validation.masks[0], first[:64, :64])
    np.testing.assert_array_equal(validation.masks[3][:32, :32], first[64:, 64:])
    assert (validation.masks[3][32:] == 255).all()
    assert (validation.masks[3][:, 32:] == 255).all()


def test_a_split_that_does_not_fit_half_the_free_memory_lies_on_disk(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: records.Split
) -> None:
    free = 2 * 16 * SIZE**2 * records.BYTES_A_PIXEL - 2
    monkeypatch.setattr(records, "free_memory", lambda: free)
    how = records.Loading(SHAPE, disk=tmp_path)
    (split,) = records.load_splits(dataset, ("train",), how)
    assert isinstance(split.images.base, np.memmap)
    assert not list(tmp_path.iterdir()), "nobody can cut it short, no kill leaves it behind"
    np.testing.assert_array_equal(split.images, training.images)
    (asked,) = records.load_splits(dataset, ("train",), dataclasses.replace(how, cache="memory"))
    assert not isinstance(asked.images.base, np.memmap)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_processes_load_their_shards_and_together_every_image(
    dataset: Dataset, shards: int
) -> None:
    loaded: list[str] = []
    for process in range(shards):
        how = records.Loading(SHAPE, shard_count=shards, shards=range(process, process + 1))
        (split,) = records.load_splits(dataset, ("train",), how)
        assert split.ids == dataset.splits["train"][process::shards]
        loaded += split.ids
    assert sorted(loaded) == sorted(dataset.splits["train"])


def stream(
    dataset: Dataset, steps: range, **settings: Any
) -> tuple[Sampler, list[tuple[np.ndarray, np.ndarray]]]:
    """Training batches of a configuration."""
    config = TrainConfig(size=SIZE, **{"augment": "none", "batch": 4, **settings})
    how = records.loading(config, Path("unused"))
    (split,) = records.load_splits(dataset, ("train",), how)
    sampler = Sampler(split, config, 3, records.own_shards(config), len(dataset.splits["train"]))
    return sampler, list(training_batches(sampler, steps).as_numpy_iterator())


def test_a_run_that_goes_on_in_the_middle_of_an_epoch_sees_what_it_would_have_seen(
    dataset: Dataset,
) -> None:
    settings = {"augment": "medium", "mosaic": 0.5, "balance": True, "seed": 7}
    _, whole = stream(dataset, range(8), **settings)
    _, rest = stream(dataset, range(3, 8), **settings)
    for (image, mask), (same_image, same_mask) in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(mask, same_mask)


def test_two_processes_see_together_what_one_with_as_many_shards_sees(dataset: Dataset) -> None:
    settings = {"augment": "light", "mosaic": 0.3, "shards": 2, "batch": 6}
    _, whole = stream(dataset, range(4), **settings)
    several = {**settings, "processes": 2, "backend": "jax", "coordinator": "h:1", "run": "r"}
    parts = [stream(dataset, range(4), process_id=i, **several)[1] for i in range(2)]
    for (images, masks), *of_processes in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(images, np.concatenate([i for i, _ in of_processes]))
        np.testing.assert_array_equal(masks, np.concatenate([m for _, m in of_processes]))


@pytest.mark.parametrize("processes", [1, 2])
def test_for_crops_validation_batches_show_each_pixel_of_each_image_once(
    dataset: Dataset, processes: int
) -> None:
    cluster = {"backend": "jax", "coordinator": "h:1", "run": "r", "processes": processes}
    counts, seen = [], np.zeros(4, np.int64)
    for i in range(processes):
        settings = {**cluster, "process_id": i} if processes > 1 else {}
        config = TrainConfig(crop=SIZE, batch=6, **settings)  # type: ignore[arg-type]
        (split,) = records.load_splits(dataset, ("val",), records.loading(config, Path("unused")))
        masks = [m for _, m in validation_batches(split, config).as_numpy_iterator()]
        counts.append(len(masks))
        seen += np.bincount(np.minimum(np.concatenate(masks), 3).ravel(), minlength=4)
    assert len(set(counts)) == 1, "each process has as many batches"
    of_images = [np.array(Image.open(dataset.mask(i))) for i in dataset.splits["val"]]
    pixels = np.bincount(np.stack(of_images).ravel(), minlength=3)
    np.testing.assert_array_equal(seen[:3], pixels[:3])


def test_validation_batches_are_all_images_in_order_and_void_fills_the_last(
    dataset: Dataset, training: records.Split
) -> None:
    config = TrainConfig(size=SIZE, batch=5)
    batches = list(validation_batches(training, config).as_numpy_iterator())
    assert [len(images) for images, _ in batches] == [4, 4, 4, 4], "no larger than needed"
    np.testing.assert_array_equal(np.concatenate([masks for _, masks in batches]), training.masks)
    config = TrainConfig(size=SIZE, batch=6)
    batches = list(validation_batches(training, config).as_numpy_iterator())
    masks = np.concatenate([masks for _, masks in batches])
    np.testing.assert_array_equal(masks[:16], training.masks)
    assert (masks[16:] == 255).all()
    assert len(masks) == 18


def example(image: bytes, mask: bytes) -> bytes:
    def feature(value: bytes):  # type: ignore[no-untyped-def]
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "image/filename": feature(b"chip"),
        "image/encoded": feature(image),
        "image/segmentation/class/encoded": feature(mask),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def encoded(array: np.ndarray, suffix: str = ".png") -> bytes:
    return cv2.imencode(suffix, array)[1].tobytes()


IMAGE = encoded(np.zeros((8, 8, 3), np.uint8), ".jpg")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (b"no example", "a record without image or mask"),
        (example(b"", encoded(np.zeros((8, 8), np.uint8))), "not an image that can be decoded"),
        (example(IMAGE, b"no PNG"), "the mask is no PNG, the image 8 x 8"),
        (example(IMAGE, encoded(np.zeros((8, 9), np.uint8))), "the mask is 9 x 8, the image 8 x 8"),
        (example(IMAGE, encoded(np.full((8, 8), 3, np.uint8))), r"class ids \[3\] in the mask"),
    ],
)
def test_a_record_that_is_no_image_with_its_mask_is_named(
    dataset: Dataset, tmp_path: Path, record: bytes, says: str
) -> None:
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(shard)) as writer:
        writer.write(record)
    splits = dataset.splits | {"train": ("chip",)}
    broken = dataclasses.replace(dataset, records={"train": (shard,)}, splits=splits)
    with pytest.raises(UserError, match=f"{shard.name}.*{says}"):
        records.load_splits(broken, ("train",), HOW)


def test_for_crops_a_record_must_tell_height_and_width(dataset: Dataset, tmp_path: Path) -> None:
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(shard)) as writer:
        writer.write(example(IMAGE, encoded(np.zeros((8, 8), np.uint8))))
    splits = dataset.splits | {"train": ("chip",)}
    bare = dataclasses.replace(dataset, records={"train": (shard,)}, splits=splits)
    with pytest.raises(UserError, match=f"{shard.name}, record chip: without height or width"):
        records.load_splits(bare, ("train",), dataclasses.replace(HOW, crop=True))


def test_a_damaged_file_of_records_is_named(dataset: Dataset, tmp_path: Path) -> None:
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    content = bytearray(dataset.records["train"][0].read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    broken = dataclasses.replace(dataset, records={"train": (shard,)})
    with pytest.raises(
        UserError, match=f"{shard.name}: broken TFRecord .*build the data set again"
    ):
        records.load_splits(broken, ("train",), HOW)


def test_records_that_are_fewer_than_the_list_says_are_refused(dataset: Dataset) -> None:
    fewer = dataclasses.replace(dataset, records={"train": dataset.records["train"][1:]})
    with pytest.raises(UserError, match="records of 16 train images"):
        records.load_splits(fewer, ("train",), HOW)


def test_a_tree_without_records_says_how_to_get_them(dataset: Dataset) -> None:
    bare = dataclasses.replace(dataset, records={"train": ()})
    with pytest.raises(UserError, match="no TFRecords of train"):
        records.load_splits(bare, ("train",), HOW)
