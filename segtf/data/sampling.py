"""Choose the image, the crop and the augmentation of each training sample."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from segtf.data.augment import augmenter, mosaic
from segtf.data.crops import Image, Mask, cut
from segtf.run.config import TrainConfig
from voc_builder.base.colours import VOID

OFTEN = 0.5  # a class in this fraction of the images, or in more, needs no help from --balance
PLACES = 2000  # pixels of a class in an image that a crop may be centred on


class Images(Protocol):
    """Decoded images and their masks, such as a `segtf.data.records.Split`."""

    @property
    def images(self) -> NDArray[np.uint8] | list[Image]: ...  # each (H, W, 3)

    @property
    def masks(self) -> NDArray[np.uint8] | list[Mask]: ...  # each (H, W)

    def __len__(self) -> int: ...


class Sampler:
    """The training samples of a run by their number, counted from 0 at its first step.

    A sample depends only on the configuration's seed and on its number, so a resumed run sees the
    same samples. The images are dealt into `config.shard_count` shards, image i into shard i modulo
    their number, and each step takes equally many samples from each: a process needs only its own
    shards.

    `config.batch` must be decided. `split` holds the shards `own`; its masks have class ids below
    `classes`. `images` counts those of all shards.
    """

    def __init__(
        self, split: Images, config: TrainConfig, classes: int, own: range, images: int
    ) -> None:
        assert config.batch is not None
        self.split = split
        self.config = config
        self.classes = classes
        self.own = own
        self.batch = config.batch
        self.from_each = config.batch // config.shard_count
        samples = images // config.shard_count * config.samples_per_image
        self.steps_per_epoch = samples // self.from_each
        self.change = augmenter(config.augment, config.shape)
        self._draw = lru_cache(maxsize=4 * len(own))(self._drawn)
        self._places = lru_cache(maxsize=None)(self._found)
        self._rare = lru_cache(maxsize=None)(self._images_with)

    def numbers(self, steps: range) -> NDArray[np.int64]:
        """The numbers of this process's samples in those steps, in order."""
        slots = np.arange(self.own.start * self.from_each, self.own.stop * self.from_each)
        return (np.array(steps, np.int64)[:, None] * self.batch + slots).reshape(-1)

    def sample(self, number: int) -> tuple[Image, Mask]:
        """Image (H, W, 3) and mask (H, W) of a sample at the training size, augmented."""
        rng = np.random.default_rng((self.config.seed, number))
        step, slot = divmod(number, self.batch)
        shard, place = divmod(slot, self.from_each)
        epoch, step = divmod(step, self.steps_per_epoch)
        drawn = self._draw(epoch, shard)[step * self.from_each + place]
        image, mask = self._view(shard, int(drawn), rng)
        if rng.random() < self.config.mosaic:
            others = rng.integers(len(self._images(shard)), size=3)
            four = [(image, mask), *(self._view(shard, int(i), rng) for i in others)]
            image, mask = mosaic(four, rng)
        return self.change(image, mask, int(rng.integers(2**32)))

    def _images(self, shard: int) -> range:
        """Indices of the images of a shard: the shards of a process alternate in the split."""
        return range(shard - self.own.start, len(self.split), len(self.own))

    def _drawn(self, epoch: int, shard: int) -> NDArray[np.int64]:
        """The images of a shard in an epoch, as indices within the shard, in their order."""
        rng = np.random.default_rng((self.config.seed, epoch, shard))
        images = len(self._images(shard))
        count = images * self.config.samples_per_image
        if not self.config.balance:
            return rng.permutation(count) % images
        # systematic resampling: an image of weight 1.8 comes once or twice, never not at all
        weights = image_weights(self._shown[self._images(shard)])
        edges = np.cumsum(weights) / weights.sum() * count
        points = np.arange(count) + rng.random()
        return rng.permutation(np.minimum(np.searchsorted(edges, points), images - 1))

    def _view(self, shard: int, drawn: int, rng: np.random.Generator) -> tuple[Image, Mask]:
        """An image as it is, or a crop of it, or of another with a rare class."""
        image, size = self._images(shard)[drawn], self.config.crop
        if size is None:
            return self.split.images[image], self.split.masks[image]
        centre: tuple[int | None, int | None] = (None, None)
        rare = self._rare(shard)
        if rare and rng.random() < self.config.foreground:
            class_id = int(rng.choice(list(rare)))
            image = int(rng.choice(rare[class_id]))
            row, column = divmod(
                int(rng.choice(self._places(image, class_id))), self.split.masks[image].shape[1]
            )
            centre = row, column
        height, width = self.split.masks[image].shape
        top = _start(height, size, centre[0], rng)
        left = _start(width, size, centre[1], rng)
        return cut(self.split.images[image], self.split.masks[image], top, left, (size, size))

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """Pixels of each class in each image, (N, classes)."""
        found = [np.bincount(m.reshape(-1), minlength=VOID + 1) for m in self.split.masks]
        return np.array(found)[:, : self.classes]

    @cached_property
    def _shown(self) -> NDArray[np.bool_]:
        return self._counts > 0

    def _images_with(self, shard: int) -> dict[int, NDArray[np.int64]]:
        """The images of a shard that show each of its rare classes."""
        images = np.array(self._images(shard))
        counts = self._counts[images]
        rare = rare_classes(counts).tolist()
        return {class_id: images[counts[:, class_id] > 0] for class_id in rare}

    def _found(self, image: int, class_id: int) -> NDArray[np.uint32]:
        """Flat indices of at most `PLACES` pixels of a class, always the same ones."""
        flat = np.flatnonzero(self.split.masks[image].reshape(-1) == class_id)
        rng = np.random.default_rng((self.config.seed, class_id, len(flat)))
        chosen = flat if len(flat) <= PLACES else rng.choice(flat, PLACES, replace=False)
        return chosen.astype(np.uint32)  # they are kept: 8 KB per image and class


def image_weights(shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weight of each image, 1 or more, (N,), from the classes it shows, (N, C): of its rarest one,
    sqrt(0.5 / fraction of the images with the class), as in LVIS (Gupta, Dollar and Girshick
    2019, https://arxiv.org/abs/1908.03195).
    """
    fractions = shown.mean(axis=0)
    of_class = np.sqrt(np.maximum(OFTEN / np.maximum(fractions, 1 / len(shown)), 1.0))
    return np.where(shown, of_class, 1.0).max(axis=1)


def rare_classes(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every class but the one with the most pixels, if it has any; `counts` is (N, C)."""
    pixels = counts.sum(axis=0)
    there = np.flatnonzero(pixels)
    return there[there != pixels.argmax()]


def _start(length: int, size: int, centre: int | None, rng: np.random.Generator) -> int:
    """Where a crop begins along one side of the image: around `centre`, or anywhere; an image that
    is shorter stands in the middle of the crop.
    """
    room = length - size
    if room <= 0:
        return room // 2
    if centre is None:
        return int(rng.integers(room + 1))
    return min(max(centre - size // 2, 0), room)
