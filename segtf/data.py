"""From TFRecords to batches: a photo is decoded and resized once, then kept at training size."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import psutil
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from segtf.augment import Preset, augmenter
from voc_builder.colours import VOID
from voc_builder.errors import UserError
from voc_builder.images import decode_image, resize_image, resize_mask
from voc_builder.progress import progress
from voc_builder.voc import Dataset

AT_ONCE = 64  # encoded photos held while they are decoded; a photo of 6 megapixels takes 1 MB
BYTES_A_PIXEL = 4  # three of the photo, one of the mask


@dataclass(frozen=True)
class Split:
    """Photos and masks of one split, all at the training size."""

    name: str
    ids: tuple[str, ...]
    images: NDArray[np.uint8]  # (N, size, size, 3), RGB 0 to 255; in memory or mapped from disk
    masks: NDArray[np.uint8]  # (N, size, size), class ids, 255 void

    def __len__(self) -> int:
        return len(self.ids)


def load_splits(dataset: Dataset, names: tuple[str, ...], size: int, disk: Path) -> list[Split]:
    """The splits `names` of a data set at `size` x `size`, in memory; in files under `disk` if they
    would take more than half of the memory that is free. Raises `UserError` naming the file for a
    record that is broken, misfitting, or not there.
    """
    missing = [name for name in names if not dataset.records.get(name)]
    if missing:
        raise UserError(
            f"{dataset.path}: no TFRecords of {', '.join(missing)}: build it again without "
            "--no-records"
        )
    count = sum(len(dataset.splits[name]) for name in names)
    fits = count * size**2 * BYTES_A_PIXEL <= psutil.virtual_memory().available / 2
    return [_load_split(dataset, name, size, None if fits else disk) for name in names]


def _load_split(dataset: Dataset, name: str, size: int, disk: Path | None) -> Split:
    count = len(dataset.splits[name])
    images = _array((count, size, size, 3), disk and disk / f"{name}_images")
    masks = _array((count, size, size), disk and disk / f"{name}_masks")
    ids = []
    samples = _samples(dataset, name, size)
    for i, (photo_id, image, mask) in enumerate(progress(samples, count, f"{name} photos decoded")):
        if i == count:
            raise UserError(f"{dataset.path}: more records than {count} {name} photos: build again")
        images[i], masks[i] = image, mask
        ids.append(photo_id)
    if len(ids) < count:
        raise UserError(f"{dataset.path}: {len(ids)} records of {count} {name} photos: build again")
    return Split(name, tuple(ids), images, masks)


def _array(shape: tuple[int, ...], path: Path | None) -> NDArray[np.uint8]:
    if path is None:
        return np.empty(shape, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    size = int(np.prod(shape))
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate") and size:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk says so now, not by a crash
    return np.memmap(path, np.uint8, "r+", shape=shape) if size else np.empty(shape, np.uint8)


def _samples(
    dataset: Dataset, name: str, size: int
) -> Iterator[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
    """Id, photo and mask of each record, in the order of the files."""
    classes = len(dataset.classes)
    with ThreadPoolExecutor() as threads:  # OpenCV decodes and resizes outside Python's lock
        for shard in dataset.records[name]:
            records = tf.data.TFRecordDataset(str(shard)).batch(AT_ONCE).as_numpy_iterator()
            while True:
                try:
                    encoded = next(records, None)
                except tf.errors.OpError as error:
                    reason = str(error.message).splitlines()[0]
                    raise UserError(
                        f"{shard}: broken TFRecord ({reason}): build the data set again"
                    ) from error
                if encoded is None:
                    break
                yield from threads.map(lambda r, s=shard: _sample(r, s, size, classes), encoded)


def _sample(
    record: bytes, shard: Path, size: int, classes: int
) -> tuple[str, NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        features = tf.train.Example.FromString(record).features.feature
        photo_id, photo, mask_png = (
            features[key].bytes_list.value[0]
            for key in ("image/filename", "image/encoded", "image/segmentation/class/encoded")
        )
    except (IndexError, DecodeError) as error:
        raise UserError(f"{shard}: a record without photo or mask: build it again") from error
    where = f"{shard}, record {photo_id.decode()}"
    image = decode_image(photo, where)
    mask = cv2.imdecode(np.frombuffer(mask_png, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.shape != image.shape[:2]:
        found = "no PNG" if mask is None else f"{mask.shape[1]} x {mask.shape[0]}"
        wanted = f"{image.shape[1]} x {image.shape[0]}"
        raise UserError(f"{where}: the mask is {found}, the photo {wanted}: build it again")
    strange = sorted(set(np.unique(mask).tolist()) - {*range(classes), VOID})
    if strange:
        raise UserError(f"{where}: class ids {strange} in the mask, but {classes} classes")
    squeezed = resize_mask(mask.astype(np.uint8, copy=False), size, size)
    return photo_id.decode(), resize_image(image, size, size), squeezed


def training_batches(
    split: Split, *, batch: int, augment: Preset, seed: int, epochs: range
) -> tf.data.Dataset:
    """Batches (images, masks) of all `epochs` in one row, uint8, shapes (batch, size, size, 3) and
    (batch, size, size); `steps_per_epoch` of them belong to an epoch.

    Order and augmentation depend on `seed` and the number of the sample since epoch 0 alone, so
    that a run which begins at a later epoch sees what it would have seen.
    """
    an_epoch = steps_per_epoch(split, batch) * batch
    change = augmenter(augment)

    @lru_cache(maxsize=2)  # of two epochs, because the end of one is read with the next's start
    def order(epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((seed, epoch)).permutation(len(split))

    def sample(number: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        epoch, place = divmod(int(number), an_epoch)
        index = order(epoch)[place]
        chance = np.random.SeedSequence((seed, int(number))).generate_state(1)[0]
        return change(split.images[index], split.masks[index], int(chance))

    return (
        tf.data.Dataset.range(epochs.start * an_epoch, epochs.stop * an_epoch)
        .map(_in_python(sample, split), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def batches(split: Split, batch: int) -> tf.data.Dataset:
    """All (images, masks) of a split in order, unchanged; the last batch may be smaller."""

    def sample(index: np.int64) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return split.images[index], split.masks[index]

    return (
        tf.data.Dataset.range(len(split))
        .map(_in_python(sample, split), num_parallel_calls=tf.data.AUTOTUNE)
        .batch(batch)
        .prefetch(tf.data.AUTOTUNE)
    )


def steps_per_epoch(split: Split, batch: int) -> int:
    """Full batches in a pass over the split; what is left over is other photos each epoch."""
    return len(split) // batch


def _in_python(sample, split: Split):  # type: ignore[no-untyped-def]
    """The function of a number as a step of tf.data, with the shapes that it cannot know."""
    image_shape, mask_shape = split.images.shape[1:], split.masks.shape[1:]

    def step(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = tf.numpy_function(sample, [number], (tf.uint8, tf.uint8))
        return tf.ensure_shape(image, image_shape), tf.ensure_shape(mask, mask_shape)

    return step
