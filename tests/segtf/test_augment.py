"""Photo and mask change together, by chance that can be repeated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from segtf.augment import PRESETS, Preset, augmenter

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (48, 48, 3), dtype=np.uint8)
MASK = np.repeat(np.repeat(RNG.integers(0, 3, (6, 6), dtype=np.uint8), 8, 0), 8, 1)


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_types_stay_and_only_void_is_new_in_the_mask(preset: Preset) -> None:
    augment = augmenter(preset)
    seen: set[int] = set()
    for seed in range(40):
        image, mask = augment(IMAGE, MASK, seed)
        assert (image.shape, image.dtype) == (IMAGE.shape, np.uint8)
        assert (mask.shape, mask.dtype) == (MASK.shape, np.uint8)
        seen |= set(np.unique(mask).tolist())
    assert seen == ({0, 1, 2, 255} if preset == "medium" else {0, 1, 2})


def test_the_same_seed_gives_the_same_in_any_thread_and_another_seed_something_else() -> None:
    augment = augmenter("medium")
    alone = [augment(IMAGE, MASK, seed) for seed in range(30)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda seed: augment(IMAGE, MASK, seed), range(30)))
    for (image, mask), (same_image, same_mask) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(mask, same_mask)
    assert len({image.tobytes() for image, _ in alone}) > 22  # one in seven is only flipped


@pytest.mark.parametrize("preset", ["light", "medium"])
def test_the_mask_follows_the_photo(preset: Preset) -> None:
    photo = np.repeat((MASK * 100)[..., None], 3, axis=-1)  # a photo that shows its mask
    augment = augmenter(preset)
    for seed in range(20):
        image, mask = augment(photo, MASK, seed)
        inside = mask != 255
        # bending and blurring blend along borders, brightness shifts all: correlation remains
        agreement = np.corrcoef(image[..., 0][inside], mask[inside])[0, 1]
        assert agreement > 0.85


def test_flips_and_turns_are_drawn_apart_so_that_all_eight_views_of_a_photo_come() -> None:
    augment = augmenter("light")
    assert len({augment(IMAGE, MASK, seed)[0].tobytes() for seed in range(100)}) == 8


def test_none_leaves_everything_as_it_is() -> None:
    image, mask = augmenter("none")(IMAGE, MASK, 1)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)
