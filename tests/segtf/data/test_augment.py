"""Image and mask are augmented together, repeatably for each seed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtf.data.augment import augmenter, mosaic

RNG = np.random.default_rng(0)
SHAPE = (48, 48)
IMAGE = RNG.integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
MASK = np.repeat(np.repeat(RNG.integers(0, 3, (6, 6), dtype=np.uint8), 8, 0), 8, 1)
PRESETS = ("none", "light", "medium", "heavy", "upright")


@pytest.mark.parametrize("preset", PRESETS)
def test_shapes_and_types_stay_and_only_void_is_new_in_the_mask(preset: str) -> None:
    augment = augmenter(preset, SHAPE)
    seen: set[int] = set()
    for seed in range(40):
        image, mask = augment(IMAGE, MASK, seed)
        assert (image.shape, image.dtype) == (IMAGE.shape, np.uint8)
        assert (mask.shape, mask.dtype) == (MASK.shape, np.uint8)
        assert image.flags.c_contiguous
        assert mask.flags.c_contiguous
        seen |= set(np.unique(mask).tolist())
    assert seen == ({0, 1, 2, 255} if preset in ("medium", "heavy", "upright") else {0, 1, 2})


@pytest.mark.parametrize("preset", PRESETS)
def test_the_images_of_the_cache_are_never_written_to(preset: str) -> None:
    image, mask = IMAGE.copy(), MASK.copy()
    image.setflags(write=False)
    mask.setflags(write=False)
    augment = augmenter(preset, SHAPE)
    for seed in range(60):
        augment(image, mask, seed)


@pytest.mark.parametrize("preset", ["medium", "heavy"])
def test_the_same_seed_gives_the_same_in_any_thread_and_another_seed_something_else(
    preset: str,
) -> None:
    augment = augmenter(preset, SHAPE)
    alone = [augment(IMAGE, MASK, seed) for seed in range(30)]
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda seed: augment(IMAGE, MASK, seed), range(30)))
    for (image, mask), (same_image, same_mask) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(image, same_image)
        np.testing.assert_array_equal(mask, same_mask)
    assert len({image.tobytes() for image, _ in alone}) > 22  # one in seven is only flipped


def test_a_file_that_changes_later_changes_nothing_in_threads_that_begin_later(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "transform:\n  __class_fullname__: Compose\n  transforms:\n"
        "  - {__class_fullname__: HorizontalFlip, p: 1}\n"
    )
    augment = augmenter(str(file), SHAPE)
    file.unlink()
    with ThreadPoolExecutor(1) as thread:
        image, mask = thread.submit(augment, IMAGE, MASK, 0).result()
    np.testing.assert_array_equal(image, IMAGE[:, ::-1])
    np.testing.assert_array_equal(mask, MASK[:, ::-1])


@pytest.mark.parametrize("preset", ["light", "medium", "heavy", "upright"])
def test_the_mask_follows_the_image(preset: str) -> None:
    photo = np.repeat((MASK * 100)[..., None], 3, axis=-1)  # an image that shows its mask
    augment = augmenter(preset, SHAPE)
    agreement = []
    for seed in range(40):
        image, mask = augment(photo, MASK, seed)
        inside = mask != 255
        # bending and blurring blend along borders, brightness shifts all: correlation remains
        agreement.append(np.corrcoef(image[..., 0][inside], mask[inside])[0, 1])
    least, mean = {
        "light": (0.999, 0.999),
        "medium": (0.85, 0.95),
        "heavy": (0.4, 0.88),
        "upright": (0.85, 0.95),
    }[preset]
    assert np.min(agreement) > least
    assert np.mean(agreement) > mean


def test_flips_and_turns_are_drawn_apart_so_that_all_eight_views_of_an_image_come() -> None:
    augment = augmenter("light", SHAPE)
    views = [augment(IMAGE, MASK, seed)[0].tobytes() for seed in range(400)]
    counts = [views.count(view) for view in set(views)]
    assert len(counts) == 8
    assert min(counts) > 25  # 50 expected, 6.6 is the standard deviation


def test_none_leaves_everything_as_it_is() -> None:
    image, mask = augmenter("none", SHAPE)(IMAGE, MASK, 1)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)


def plain(height: int, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Four images whose every pixel tells which image and which place it is from."""
    rows, columns = np.mgrid[:height, :width].astype(np.uint8)
    return [
        (np.stack([np.full_like(rows, number), rows, columns], -1), np.full_like(rows, number))
        for number in range(4)
    ]


@given(st.integers(4, 70), st.integers(4, 70), st.integers(0, 2**32 - 1))
def test_a_mosaic_is_four_quarters_each_from_its_own_place(
    height: int, width: int, seed: int
) -> None:
    samples = plain(height, width)
    image, mask = mosaic(samples, np.random.default_rng(seed))
    rows, columns = np.mgrid[:height, :width]
    np.testing.assert_array_equal(image[..., 1], rows)  # nothing is moved or resized
    np.testing.assert_array_equal(image[..., 2], columns)
    np.testing.assert_array_equal(image[..., 0], mask)  # image and mask agree
    y = np.count_nonzero(mask[:, 0] == 0)
    x = np.count_nonzero(mask[0] == 0)
    np.testing.assert_array_equal(mask, 2 * (rows >= y) + (columns >= x))
    assert height // 4 <= y <= height - height // 4
    assert width // 4 <= x <= width - width // 4


def test_the_centre_of_a_mosaic_is_anywhere_in_the_middle_half_by_the_seed_alone() -> None:
    samples = plain(16, 16)
    masks = [mosaic(samples, np.random.default_rng(seed))[1] for seed in range(600)]
    centres = {(np.count_nonzero(m[:, 0] == 0), np.count_nonzero(m[0] == 0)) for m in masks}
    assert centres == {(y, x) for y in range(4, 13) for x in range(4, 13)}
    np.testing.assert_array_equal(masks[5], mosaic(samples, np.random.default_rng(5))[1])


def test_a_mosaic_of_other_than_four_samples_of_one_size_is_refused() -> None:
    samples = plain(8, 8)
    with pytest.raises(ValueError, match="four images and masks of one size"):
        mosaic(samples[:3], RNG)
    with pytest.raises(ValueError, match="four images and masks of one size"):
        mosaic([*samples[:3], *plain(8, 9)[:1]], RNG)
