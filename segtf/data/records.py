"""From TFRecords to arrays: each image is decoded once and kept at training size, or at its own for
crops.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from segtf.data.crops import Image, Mask, cut, tile_corners
from segtf.data.memory import free_memory
from segtf.run.config import TrainConfig
from segtf.run.size import HeightWidth
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.base.files import naming
from voc_builder.base.progress import in_threads, progress
from voc_builder.base.tensorflow import reason_of
from voc_builder.pixels.images import decode_image, resize_image, resize_mask
from voc_builder.tree.voc import Dataset

AT_ONCE = 64  # encoded images held while they are decoded; an image of 6 megapixels takes 1 MB
BYTES_A_PIXEL = 4  # three of the image, one of the mask


@dataclass(frozen=True)
class Split:
    """Images and masks of one split, decoded; in memory or mapped from disk."""

    name: str
    ids: tuple[str, ...]  # of the images; each tile has that of its image
    # (N, H, W, 3) RGB 0 to 255 and (N, H, W) class ids, 255 void; lists of whole images
    images: NDArray[np.uint8] | list[Image]
    masks: NDArray[np.uint8] | list[Mask]
    largest_shard: int  # samples of the largest shard, of any process
    shapes: dict[str, tuple[int, int]]  # height and width of each whole image

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Loading:
    """How the images of a data set become arrays."""

    shape: HeightWidth  # images are resized to it, or cut into tiles of it
    crop: bool = False  # cut into tiles, but keep the split `whole`
    cache: str = "auto"  # memory, disk, or auto: on disk if they take half of the free memory
    disk: Path = Path("cache")
    shard_count: int = 1  # image i belongs to shard i modulo this number
    shards: range = range(1)  # to load
    whole: str | None = "train"  # None: no split


def loading(config: TrainConfig, disk: Path, *, all_shards: bool = False) -> Loading:
    """How a run's images are loaded: the shards of this process, or all of them."""
    count = 1 if all_shards else config.shard_count
    shards = range(1) if all_shards else own_shards(config)
    return Loading(config.shape, config.crop is not None, config.cache, disk, count, shards)


def own_shards(config: TrainConfig) -> range:
    """The shards of the training images that belong to this process."""
    each = config.shard_count // config.processes
    return range(config.process_id * each, (config.process_id + 1) * each)


def load_splits(dataset: Dataset, names: Sequence[str], how: Loading) -> list[Split]:
    """The splits `names` of a data set. Tiles do not overlap and are void beyond the edge of their
    image. Raises `UserError` naming the file for a record that is missing, broken or inconsistent.
    """
    missing = [name for name in names if not dataset.records.get(name)]
    if missing:
        raise UserError(
            f"{dataset.path}: no TFRecords of {', '.join(missing)}: build it again without "
            "--no-records"
        )
    whole = [_layout(dataset, name, how) for name in names]
    layouts = [_of_shards(layout, how.shard_count, how.shards) for layout in whole]
    most = [
        max(
            sum(map(len, _of_shards(layout, how.shard_count, [shard]).values()))
            for shard in range(how.shard_count)
        )
        for layout in whole
    ]
    pixels = sum(h * w for layout in layouts for parts in layout.values() for h, w in parts)
    fits = pixels * BYTES_A_PIXEL <= free_memory() / 2
    on_disk = how.cache == "disk" or (how.cache == "auto" and not fits)
    return [
        _load_split(dataset, name, layout, how, how.disk if on_disk else None, of_shard)
        for name, layout, of_shard in zip(names, layouts, most, strict=True)
    ]


Layout = dict[str, list[tuple[int, int]]]  # height and width of the arrays of each image


def _layout(dataset: Dataset, name: str, how: Loading) -> Layout:
    """The layout of all images of a split, in any shard."""
    ids = dataset.splits[name]
    if not how.crop:
        return {image_id: [how.shape] for image_id in ids}
    sizes = dict(_sizes(dataset, name))
    lost = sorted(set(ids) - set(sizes))
    if lost:
        raise UserError(f"{dataset.path}: no record of the {name} image {lost[0]}: build it again")
    if name == how.whole:
        return {image_id: [sizes[image_id]] for image_id in ids}
    return {
        image_id: [how.shape] * len(tile_corners(sizes[image_id], how.shape)) for image_id in ids
    }


def _of_shards(layout: Layout, count: int, shards: Collection[int]) -> Layout:
    """The layout of the images in `shards`, of `count` shards."""
    own = (one for i, one in enumerate(layout.items()) if i % count in shards)
    return dict(own)


def _load_split(
    dataset: Dataset,
    name: str,
    layout: Layout,
    how: Loading,
    disk: Path | None,
    largest_shard: int,
) -> Split:
    shapes = [shape for parts in layout.values() for shape in parts]
    images = _arrays([(*shape, 3) for shape in shapes], disk and disk / f"{name}_images")
    masks = _arrays(shapes, disk and disk / f"{name}_masks")
    first = dict(zip(layout, accumulate(map(len, layout.values()), initial=0), strict=False))
    whole = how.crop and name == how.whole
    found: dict[str, tuple[int, int]] = {}
    samples = _samples(dataset, name, layout.keys(), None if how.crop else how.shape)
    for image_id, image, mask in progress(samples, len(layout), f"{name} images decoded"):
        if image_id in found:
            raise UserError(
                f"{dataset.path}: {name} has a second record of image {image_id}: build it again"
            )
        height, width = mask.shape
        found[image_id] = height, width
        parts = _cut_up(image, mask, how.shape) if how.crop and not whole else [(image, mask)]
        for i, part in enumerate(parts, start=first[image_id]):
            images[i][:], masks[i][:] = part
    if len(found) < len(layout):
        raise UserError(
            f"{dataset.path}: {len(found)} records of {len(layout)} {name} images: build again"
        )
    ids = tuple(image_id for image_id, parts in layout.items() for _ in parts)
    return Split(name, ids, images, masks, largest_shard, found)


def _cut_up(image: Image, mask: Mask, tile: HeightWidth) -> list[tuple[Image, Mask]]:
    return [cut(image, mask, top, left, tile) for top, left in tile_corners(mask.shape, tile)]


def _arrays(
    shapes: Sequence[tuple[int, ...]], path: Path | None
) -> NDArray[np.uint8] | list[NDArray[np.uint8]]:
    """Arrays of those shapes, contiguous in memory or in a file; a single array with one more axis
    in front if all shapes are equal.
    """
    sizes = [math.prod(shape) for shape in shapes]
    flat = _memory(sum(sizes), path)
    if len(set(shapes)) == 1:
        return flat.reshape(len(shapes), *shapes[0])
    ends = list(accumulate(sizes))
    return [
        flat[end - size : end].reshape(shape)
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]


def _memory(size: int, path: Path | None) -> NDArray[np.uint8]:
    if path is None or not size:
        return np.empty(size, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, naming(path):
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(
                file.fileno(), 0, size
            )  # a full disk raises now instead of crashing later
    mapped = np.memmap(path, np.uint8, "r+", shape=(size,))
    if os.name == "posix":
        path.unlink()  # cannot be truncated, which would crash, and is not left behind by a kill
    return mapped


def _records(dataset: Dataset, name: str) -> Iterator[tuple[Path, list[bytes]]]:
    """The records of a split, `AT_ONCE` at a time, with the path of their file."""
    for shard in dataset.records[name]:
        batches = tf.data.TFRecordDataset(str(shard)).batch(AT_ONCE).as_numpy_iterator()
        while True:
            try:
                encoded = next(batches, None)
            except tf.errors.OpError as error:
                raise UserError(
                    f"{shard}: broken TFRecord ({reason_of(error)}): build the data set again"
                ) from error
            if encoded is None:
                break
            yield shard, list(encoded)


def _sizes(dataset: Dataset, name: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Id, height and width of each image, from its record."""
    for shard, records in _records(dataset, name):
        for record in records:
            features = _features(record, shard)
            sides = [features[f"image/{side}"].int64_list.value for side in ("height", "width")]
            if not all(sides):
                raise UserError(
                    f"{shard}, record {_image_id(features)}: without height or width: build the "
                    "data set again"
                )
            yield _image_id(features), (sides[0][0], sides[1][0])


def _samples(
    dataset: Dataset, name: str, ids: Collection[str], shape: HeightWidth | None
) -> Iterator[tuple[str, Image, Mask]]:
    """Id, image and mask of each record whose id is one of `ids`, in the order of the files,
    resized to `shape` if that is given.
    """
    classes = len(dataset.classes)
    wanted = (
        (features, shard)
        for shard, records in _records(dataset, name)
        for record in records
        if _image_id(features := _features(record, shard)) in ids
    )
    workers = os.cpu_count() or 1  # OpenCV decodes and resizes outside Python's lock
    yield from in_threads(lambda each: _sample(*each, shape, classes), wanted, workers)


def _features(record: bytes, shard: Path) -> Any:
    """The features of a record that has an id, an image and a mask."""
    try:
        features = tf.train.Example.FromString(record).features.feature
        for key in ("image/filename", "image/encoded", "image/segmentation/class/encoded"):
            features[key].bytes_list.value[0]
    except (IndexError, DecodeError) as error:
        raise UserError(f"{shard}: a record without image or mask: build it again") from error
    return features


def _image_id(features: Any) -> str:
    return str(features["image/filename"].bytes_list.value[0].decode())


def _sample(
    features: Any, shard: Path, shape: HeightWidth | None, classes: int
) -> tuple[str, Image, Mask]:
    image_id = _image_id(features)
    where = f"{shard}, record {image_id}"
    image = decode_image(features["image/encoded"].bytes_list.value[0], where)
    mask_png = features["image/segmentation/class/encoded"].bytes_list.value[0]
    mask = cv2.imdecode(np.frombuffer(mask_png, np.uint8), cv2.IMREAD_UNCHANGED)
    if mask is None or mask.shape != image.shape[:2]:
        found = "no PNG" if mask is None else f"{mask.shape[1]} x {mask.shape[0]}"
        wanted = f"{image.shape[1]} x {image.shape[0]}"
        raise UserError(f"{where}: the mask is {found}, the image {wanted}: build it again")
    strange = sorted(set(np.unique(mask).tolist()) - {*range(classes), VOID})
    if strange:
        raise UserError(
            f"{where}: class ids {strange} in the mask, but {classes} classes: build it again"
        )
    ids = np.asarray(mask, np.uint8)
    if shape is None:
        return image_id, image, ids
    return image_id, resize_image(image, *shape), resize_mask(ids, *shape)
