"""Write TFRecords with the keys of TensorFlow's DeepLab; the only module here with TensorFlow."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from voc_builder.base.tensorflow import import_tensorflow, reason_of
from voc_builder.pixels.images import (
    decode_image,
    encode_jpeg,
    read_header,
    resize_image,
    resize_mask,
)
from voc_builder.pixels.png import decode_mask, encode_mask, grey_mask
from voc_builder.tree.voc import IMAGES, MASKS, RECORDS


def shard_names(split: str, images: int, shards: int) -> list[str]:
    """`train-00000-of-00004.tfrecord` and so on; at most one per image, so that none is empty."""
    count = min(shards, images)
    return [f"{split}-{number:05d}-of-{count:05d}.tfrecord" for number in range(count)]


def write_shard(tree: Path, record_size: int | None, shard: tuple[str, Sequence[str]]) -> None:
    """Write a shard, given by its name and the ids of its images, to the VOC tree. Raises `OSError`
    if it cannot be written.
    """
    name, ids = shard
    path = str(tree / RECORDS / name)
    tf = import_tensorflow()
    try:
        with tf.io.TFRecordWriter(path) as writer:
            for image_id in ids:
                writer.write(encode_example(tree, image_id, record_size))
    except tf.errors.OpError as error:
        # its class is the same for a full disk and for other reasons
        raise OSError(errno.EIO, reason_of(error), path) from None


def encode_example(tree: Path, image_id: str, record_size: int | None) -> bytes:
    """One serialised `tf.train.Example`; the same bytes for the same image and mask.

    The mask is stored as a grey PNG of class ids. Image and mask are resized to squares of
    `record_size` pixels; None keeps the bytes of the image.
    """
    path = tree / IMAGES / f"{image_id}.jpg"
    image, mask = path.read_bytes(), (tree / MASKS / f"{image_id}.png").read_bytes()
    if record_size is None:
        header = read_header(image, str(path))
        height, width = header.height, header.width
    else:
        height = width = record_size
        image = encode_jpeg(resize_image(decode_image(image, str(path)), height, width))
        mask = encode_mask(resize_mask(decode_mask(mask), height, width))
    features: dict[str, bytes | int] = {
        "image/encoded": image,
        "image/format": b"jpeg",
        "image/filename": image_id.encode(),
        "image/height": height,
        "image/width": width,
        "image/channels": 3,
        "image/segmentation/class/encoded": grey_mask(mask),
        "image/segmentation/class/format": b"png",
    }
    return _example(features).SerializeToString(deterministic=True)


def _example(features: dict[str, bytes | int]) -> Any:
    tf = import_tensorflow()

    def feature(value: bytes | int) -> Any:
        if isinstance(value, bytes):
            return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    named = {name: feature(value) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=named))
