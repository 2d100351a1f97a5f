"""Which photo, or which part of which photos, each training sample shows."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.data.augment import augmenter, mosaic
from segtf.data.crops import Image, Mask, cut
from segtf.run.config import TrainConfig
from voc_builder.base.colours import VOID

if TYPE_CHECKING:
    from segtf.data.records import Split


OFTEN = 0.5  # a class in this share of the photos, or in more, needs no help from --balance
PLACES = 2000  # pixels of a class in a photo that a crop may be centred on


class Sampler:
    """The training samples of a run by their number, counted from 0 at its first step.

    What a sample shows depends on the configuration's seed and the sample's number alone, so that a
    run which goes on in the middle sees what it would have seen. With `config.shares` the photos
    are dealt into as many parts, photo i into part i modulo their number, and each step takes as
    many samples from each: a process needs its own parts only.

    `config.batch` must be decided. `split` holds the parts `own` of `config.part_count`; its masks
    have class ids below `classes`.
    """

    def __init__(
        self, split: Split, config: TrainConfig, classes: int, own: range, photos: int
    ) -> None:
        assert config.batch is not None
        self.split = split
        self.config = config
        self.classes = classes
        self.own = own
        self.batch = config.batch
        self.from_each = config.batch // config.part_count
        samples = photos // config.part_count * config.samples_a_photo
        self.steps_per_epoch = samples // self.from_each
        self.change = augmenter(config.augment, config.shape)
        self._draw = lru_cache(maxsize=4 * len(own))(self._drawn)
        self._places = lru_cache(maxsize=None)(self._found)
        self._rare = lru_cache(maxsize=None)(self._photos_with)

    def numbers(self, steps: range) -> NDArray[np.int64]:
        """The samples of this process in those steps, in order."""
        slots = np.arange(self.own.start * self.from_each, self.own.stop * self.from_each)
        return (np.array(steps, np.int64)[:, None] * self.batch + slots).reshape(-1)

    def sample(self, number: int) -> tuple[Image, Mask]:
        """Photo (H, W, 3) and mask (H, W) of a sample at the training size, augmented."""
        chance = np.random.default_rng((self.config.seed, number))
        step, slot = divmod(number, self.batch)
        share, place = divmod(slot, self.from_each)
        epoch, step = divmod(step, self.steps_per_epoch)
        drawn = self._draw(epoch, share)[step * self.from_each + place]
        image, mask = self._view(share, int(drawn), chance)
        if chance.random() < self.config.mosaic:
            others = chance.integers(len(self._photos(share)), size=3)
            four = [(image, mask), *(self._view(share, int(i), chance) for i in others)]
            image, mask = mosaic(four, chance)
        return self.change(image, mask, int(chance.integers(2**32)))

    def _photos(self, share: int) -> range:
        """Where the photos of a share stand in the split: the shares of a process take turns."""
        return range(share - self.own.start, len(self.split), len(self.own))

    def _drawn(self, epoch: int, share: int) -> NDArray[np.int64]:
        """The photos of a share that an epoch shows, as places in the share, in their order."""
        chance = np.random.default_rng((self.config.seed, epoch, share))
        photos = len(self._photos(share))
        count = photos * self.config.samples_a_photo
        if not self.config.balance:
            return chance.permutation(count) % photos
        # systematic resampling: a photo of weight 1.8 comes once or twice, never not at all
        weights = photo_weights(self._shown[self._photos(share)])
        edges = np.cumsum(weights) / weights.sum() * count
        points = np.arange(count) + chance.random()
        return chance.permutation(np.minimum(np.searchsorted(edges, points), photos - 1))

    def _view(self, share: int, drawn: int, chance: np.random.Generator) -> tuple[Image, Mask]:
        """A photo as it is, or a crop of it, or of another with a rare class."""
        photos = self._photos(share)
        photo, size = photos[drawn], self.config.crop
        if size is None:
            return self.split.images[photo], self.split.masks[photo]
        centre: tuple[int | None, int | None] = (None, None)
        rare = self._rare(share)
        if rare and chance.random() < self.config.foreground:
            class_id = int(chance.choice(list(rare)))
            photo = int(chance.choice(rare[class_id]))
            row, column = divmod(
                int(chance.choice(self._places(photo, class_id))), self.split.masks[photo].shape[1]
            )
            centre = row, column
        height, width = self.split.masks[photo].shape
        top = _start(height, size, centre[0], chance)
        left = _start(width, size, centre[1], chance)
        return cut(self.split.images[photo], self.split.masks[photo], top, left, (size, size))

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        """Pixels of each class in each photo, (N, classes)."""
        found = [np.bincount(m.reshape(-1), minlength=VOID + 1) for m in self.split.masks]
        return np.array(found)[:, : self.classes]

    @cached_property
    def _shown(self) -> NDArray[np.bool_]:
        return self._counts > 0

    def _photos_with(self, share: int) -> dict[int, NDArray[np.int64]]:
        """The photos of a share that show each of its rare classes."""
        photos = np.array(self._photos(share))
        counts = self._counts[photos]
        rare = rare_classes(counts).tolist()
        return {class_id: photos[counts[:, class_id] > 0] for class_id in rare}

    def _found(self, photo: int, class_id: int) -> NDArray[np.uint32]:
        """Pixels of a class, counted row by row, always the same ones."""
        flat = np.flatnonzero(self.split.masks[photo].reshape(-1) == class_id)
        chance = np.random.default_rng((self.config.seed, class_id, len(flat)))
        chosen = flat if len(flat) <= PLACES else chance.choice(flat, PLACES, replace=False)
        return chosen.astype(np.uint32)  # they are kept: 8 KB a photo and class


def photo_weights(shown: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How often to draw each photo, 1 or more, from which classes it shows, (N, C): by its rarest
    class, sqrt(0.5 / share of the photos with the class), as in LVIS (Gupta, Dollar and Girshick
    2019, https://arxiv.org/abs/1908.03195).
    """
    shares = shown.mean(axis=0)
    of_class = np.sqrt(np.maximum(OFTEN / np.maximum(shares, 1 / len(shown)), 1.0))
    return np.where(shown, of_class, 1.0).max(axis=1)


def rare_classes(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every class but the one with the most pixels, if it has any; `counts` is (N, C)."""
    pixels = counts.sum(axis=0)
    there = np.flatnonzero(pixels)
    return there[there != pixels.argmax()]


def _start(length: int, size: int, centre: int | None, chance: np.random.Generator) -> int:
    """Where a crop begins along one side of the photo: around `centre`, or anywhere; a photo that
    is shorter stands in the middle of the crop.
    """
    room = length - size
    if room <= 0:
        return room // 2
    if centre is None:
        return int(chance.integers(room + 1))
    return min(max(centre - size // 2, 0), room)
