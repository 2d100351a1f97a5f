"""What each training sample shows follows from its number, and rare things come more often."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segtf.data.crops import cut
from segtf.data.sampling import Sampler, image_weights, rare_classes
from segtf.run.config import TrainConfig


class Images:
    """Images of one grey value each, their place, under the given masks."""

    def __init__(self, masks: list[np.ndarray]) -> None:
        self.masks = masks
        self.images = [np.full((*m.shape, 3), i, np.uint8) for i, m in enumerate(masks)]

    def __len__(self) -> int:
        return len(self.masks)


def sampler(masks: list[np.ndarray], **of_config: Any) -> Sampler:
    config = TrainConfig(**{"size": 32, "augment": "none", "batch": 2, **of_config})
    return Sampler(Images(masks), config, 3, range(config.shard_count), len(masks))  # type: ignore[arg-type]


def blank(side: int = 32) -> np.ndarray:
    return np.zeros((side, side), np.uint8)


def shown(of: Sampler, epoch: int) -> list[int]:
    """The images of an epoch, by their grey value."""
    first = epoch * of.steps_per_epoch
    return [
        int(of.sample(int(number))[0][0, 0, 0])
        for number in of.numbers(range(first, first + of.steps_per_epoch))
    ]


def test_an_epoch_shows_each_image_once_but_for_what_does_not_fill_a_batch() -> None:
    of = sampler([blank() for _ in range(16)], batch=3)
    assert of.steps_per_epoch == 5
    orders = [tuple(shown(of, epoch)) for epoch in range(4)]
    assert all(len(set(order)) == 15 for order in orders)
    assert len(set(orders)) == 4


def test_rectangles_are_augmented_and_put_together_as_they_are() -> None:
    images = [np.full((32, 64), i % 3, np.uint8) for i in range(8)]
    of = sampler(images, size="32x64", augment="light", mosaic=1.0)
    for number in range(40):
        image, mask = of.sample(number)
        assert (image.shape, mask.shape) == ((32, 64, 3), (32, 64))


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 40))
def test_each_shard_brings_as_many_samples_of_its_own_images_to_every_step(
    shards: int, from_each: int, more: int
) -> None:
    images = shards * from_each + more
    of = sampler([blank() for _ in range(images)], batch=shards * from_each, shards=shards)
    order = shown(of, 0)
    assert len(order) == of.steps_per_epoch * shards * from_each
    assert len(set(order)) == len(order)
    for slot, image in enumerate(order):
        assert image % shards == slot % (shards * from_each) // from_each


def test_balance_shows_images_with_a_rare_class_more_often_and_leaves_none_out_for_good() -> None:
    masks = [blank() for _ in range(32)]
    for mask in masks[:2]:
        mask[0, 0] = 1
    of = sampler(masks, balance=True)
    seen = np.bincount([image for epoch in range(200) for image in shown(of, epoch)], minlength=32)
    weights = image_weights(np.array([[True, i < 2, False] for i in range(32)]))
    np.testing.assert_allclose(weights[[0, 1, 2]], [8**0.5, 8**0.5, 1])
    np.testing.assert_allclose(seen / seen.sum(), weights / weights.sum(), rtol=0.25)
    usual = sampler(masks, balance=False)
    assert set(np.bincount([p for e in range(4) for p in shown(usual, e)])) == {4}


def test_the_share_of_crops_asked_for_is_centred_on_a_rare_class() -> None:
    masks = [blank(160) for _ in range(8)]
    masks[3][100:104, 40:44] = 2  # a pixel in a thousand of one image in eight
    for share, least, most in ((0.0, 0.0, 0.1), (0.5, 0.4, 0.6), (1.0, 1.0, 1.0)):
        of = sampler(masks, crop=32, foreground=share)
        centres = [of.sample(number)[1][13:20, 13:20] for number in range(300)]
        found = np.mean([(centre == 2).any() for centre in centres])
        assert least <= found <= most


def test_crops_are_parts_of_an_image_at_its_own_size() -> None:
    rows, columns = np.mgrid[:100, :90].astype(np.uint8)
    photos = Images([blank()] * 2)
    photos.images = [np.dstack([rows, columns, rows])] * 2
    photos.masks = [(rows > 50).astype(np.uint8)] * 2
    of = Sampler(photos, TrainConfig(crop=64, augment="none", batch=1), 3, range(1), 2)  # type: ignore[arg-type]
    corners = set()
    for number in range(50):
        image, mask = of.sample(number)
        top, left = int(image[0, 0, 0]), int(image[0, 0, 1])
        np.testing.assert_array_equal(image[..., :2], photos.images[0][top:, left:, :2][:64, :64])
        np.testing.assert_array_equal(mask, photos.masks[0][top:, left:][:64, :64])
        corners.add((top, left))
    assert len(corners) > 20


def test_mosaic_mixes_four_images_in_the_share_of_samples_asked_for() -> None:
    of = sampler([blank() for _ in range(16)], mosaic=0.5)
    values = [len(np.unique(of.sample(number)[0])) for number in range(300)]
    assert 0.4 < np.mean(np.array(values) > 1) < 0.6


@settings(max_examples=60)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3)),
    st.integers(-8, 8),
    st.integers(-8, 8),
    st.integers(1, 12),
)
def test_a_window_is_the_image_inside_and_void_outside(
    mask: np.ndarray, top: int, left: int, size: int
) -> None:
    top, left = min(top, mask.shape[0] - 1), min(left, mask.shape[1] - 1)
    if top + size <= 0 or left + size <= 0:
        return
    image, window = cut(np.dstack([mask] * 3), mask, top, left, (size, size))
    assert image.shape == (size, size, 3)
    for row in range(size):
        for column in range(size):
            y, x = top + row, left + column
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            assert window[row, column] == (mask[y, x] if inside else 255)
            if inside:
                assert (image[row, column] == mask[y, x]).all()


def test_every_class_but_the_largest_is_rare_if_it_is_there() -> None:
    assert rare_classes(np.array([[90, 5, 0], [80, 9, 0]])).tolist() == [1]
    assert rare_classes(np.array([[0, 0, 7]])).tolist() == []


@pytest.mark.parametrize("number", [0, 7, 123456789])
def test_a_sample_depends_on_seed_and_number_alone(number: int) -> None:
    masks = [np.random.default_rng(i).integers(0, 3, (48, 48), np.uint8) for i in range(5)]
    wanted = {"crop": 32, "mosaic": 0.5, "augment": "medium", "balance": True}
    first, second = sampler(masks, **wanted), sampler(masks, **wanted)
    second.sample(3)
    for a, b in zip(first.sample(number), second.sample(number), strict=True):
        np.testing.assert_array_equal(a, b)
    other = sampler(masks, seed=1, **wanted)
    assert (other.sample(number)[0] != first.sample(number)[0]).any()
