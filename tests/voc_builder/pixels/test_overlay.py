from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from voc_builder.base.colours import VOID, voc_colours
from voc_builder.pixels.overlay import count_ids, draw_overlay, format_fraction

CLASSES = ["background", "chip", "дефект"]
COLOURS = voc_colours(3)


def image_and_square(size: int, class_id: int = 1) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((size, size, 3), 200, np.uint8)
    mask = np.zeros((size, size), np.uint8)
    mask[size // 4 : size // 2, size // 4 : size // 2] = class_id
    return image, mask


def test_draw_overlay_mixes_the_class_colour_into_the_image_and_leaves_the_background() -> None:
    image, mask = image_and_square(400)
    overlay = draw_overlay(image, mask, CLASSES, COLOURS)
    assert overlay[150, 150].tolist() == [171, 120, 120]  # 0.6 of 200 + 0.4 of (128, 0, 0)
    assert overlay[300, 50].tolist() == [200, 200, 200]
    assert (image == 200).all()


def test_draw_overlay_paints_class_0_where_it_is_no_background() -> None:
    image, mask = image_and_square(400)
    mask[:] = np.where(mask == 0, VOID, 0)
    overlay = draw_overlay(image, mask, ["building", "chip", "car"], COLOURS)
    assert overlay[150, 150].tolist() == [120, 120, 120]  # 0.6 of 200 + 0.4 of black


def test_draw_overlay_draws_the_contour_in_the_class_colour_with_a_white_casing() -> None:
    image, mask = image_and_square(800)
    overlay = draw_overlay(image, mask, CLASSES, COLOURS)
    red, green, _ = overlay[350, 180:210].T.astype(int)  # from outside to inside
    assert green.argmax() < green.argmin()
    assert green.max() > 250
    assert red[green.argmin()] == pytest.approx(128, abs=20)
    assert green.min() < 20


def test_draw_overlay_gives_a_light_class_colour_a_black_casing() -> None:
    image, mask = image_and_square(800)
    overlay = draw_overlay(image, mask, CLASSES, np.full((3, 3), 250, np.uint8))
    assert overlay[350, 180:200].min() < 20


@pytest.mark.parametrize("size", [160, 300, 2500])
def test_draw_overlay_shows_a_legend_on_an_image_of_any_size(size: int) -> None:
    image, mask = image_and_square(size, class_id=2)
    overlay = draw_overlay(image, mask, CLASSES, COLOURS, truth=mask)
    assert overlay.shape == image.shape
    assert overlay.dtype == np.uint8
    assert ((overlay < 60).all(axis=2) & (mask == 0)).mean() > 0.005  # the panel


@pytest.mark.parametrize("size", [1, 2, 16, 100])
def test_draw_overlay_hides_nothing_of_a_tiny_image_behind_a_legend(size: int) -> None:
    image, mask = image_and_square(size, class_id=0)
    overlay = draw_overlay(image, mask, CLASSES, COLOURS, truth=mask)
    np.testing.assert_array_equal(overlay, image)


def test_the_legend_covers_the_same_fraction_of_small_and_large_images() -> None:
    covered = []
    for size in (600, 3000):
        image, mask = image_and_square(size)
        overlay = draw_overlay(image, mask, CLASSES, COLOURS)
        covered.append((overlay[: size // 5] < 60).all(axis=2).mean())
    assert covered[0] > 0.03
    assert covered[0] == pytest.approx(covered[1], rel=0.1)


def test_the_legend_stands_in_a_corner_that_hides_no_class() -> None:
    image = np.full((400, 400, 3), 200, np.uint8)
    mask = np.ones((400, 400), np.uint8)
    mask[300:, 250:] = 0
    overlay = draw_overlay(image, mask, CLASSES, COLOURS)
    dark = (overlay < 80).all(axis=2)
    assert dark[300:, 250:].any()
    assert not dark[:250, :200].any()


def test_draw_overlay_of_an_empty_image_changes_nothing_but_the_legend() -> None:
    image, mask = image_and_square(400, class_id=0)
    changed = (draw_overlay(image, mask, CLASSES, COLOURS) != image).any(axis=2)
    assert 0 < changed.mean() < 0.1


def test_draw_overlay_hatches_void_in_light_and_dark_stripes() -> None:
    image, mask = image_and_square(400, class_id=VOID)
    inside = draw_overlay(image, mask, CLASSES, COLOURS)[120:180, 120:180]
    assert np.unique(inside).tolist() == [128, 200]  # 0.35 of 200 + 0.65 of 90 or of 200


def test_draw_overlay_dashes_the_truth_where_the_prediction_misses_it() -> None:
    image, truth = image_and_square(400)
    overlay = draw_overlay(image, np.zeros_like(truth), CLASSES, COLOURS, truth=truth)
    top_edge = overlay[100, 110:190].tolist()
    assert [255, 255, 255] in top_edge
    assert [128, 0, 0] in top_edge
    assert overlay[150, 150].tolist() == [200, 200, 200]


def test_draw_overlay_keeps_thirty_classes_with_long_names_inside_a_small_image() -> None:
    names = ["background"] + [f"klasse {i} " + "sehr lang " * 20 for i in range(1, 30)]
    mask = np.arange(300 * 200, dtype=np.int64).reshape(200, 300) // 2000
    overlay = draw_overlay(
        np.zeros((200, 300, 3), np.uint8), mask.astype(np.uint8), names, voc_colours(30)
    )
    assert overlay.shape == (200, 300, 3)


def test_draw_overlay_refuses_an_id_without_a_name() -> None:
    image, mask = image_and_square(40, class_id=7)
    with pytest.raises(ValueError, match=r"Received: ids \[7\] with 3 names"):
        draw_overlay(image, mask, CLASSES, COLOURS)


def test_draw_overlay_refuses_a_mask_of_another_size() -> None:
    image, mask = image_and_square(40)
    with pytest.raises(ValueError, match=r"Received: \(40, 40, 3\) and \(39, 40\)"):
        draw_overlay(image, mask[1:], CLASSES, COLOURS)


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0, "0 %"), (0.00001, "< 0.01 %"), (0.0005, "0.05 %"), (0.0321, "3.2 %"), (0.41, "41 %")],
)
def test_format_fraction_keeps_two_digits(fraction: float, text: str) -> None:
    assert format_fraction(fraction) == text


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_count_ids_counts_every_pixel_of_any_part_of_an_array(mask: NDArray[np.uint8]) -> None:
    for part in (mask, mask.T, mask[::2, ::3]):
        wanted = np.bincount(part.ravel(), minlength=256)
        np.testing.assert_array_equal(count_ids(part), wanted)


def test_count_ids_is_exact_beyond_what_float32_counts() -> None:
    mask = np.zeros((4097, 4097), np.uint8)  # over 2**24 pixels
    mask[0, 0] = 7
    counts = count_ids(mask)
    assert (counts[0], counts[7], counts.sum()) == (mask.size - 1, 1, mask.size)
