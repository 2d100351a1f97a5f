"""Small components are removed and holes filled, whatever windows the mask is worked on in."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from segtf.inference import postprocess as module
from segtf.inference.postprocess import (
    Postprocess,
    Rule,
    Step,
    apply_step,
    describe,
    postprocess,
)
from tests.segtf.drawn_masks import any_masks

CLASSES = ("background", "chip", "defect")
CORNERS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]
SIDES = [(0, 1), (0, -1), (1, 0), (-1, 0)]


def drawn(*rows: str) -> NDArray[np.uint8]:
    return np.array([[int(digit) for digit in row] for row in rows], np.uint8)


def after(mask: NDArray[np.uint8], *rules: Rule) -> NDArray[np.uint8]:
    return postprocess(mask, rules, CLASSES)


def pixel_by_pixel(mask: NDArray[np.uint8], step: Step) -> NDArray[np.uint8]:
    """What a pass is, found by walking from pixel to pixel."""
    height, width = mask.shape
    result, seen = mask.copy(), np.zeros_like(mask, bool)
    for start in zip(*np.nonzero(mask == step.of), strict=True):
        if seen[start]:
            continue
        seen[start] = True
        component, around, edge = [start], [], False
        for y, x in component:
            edge |= y in (0, height - 1) or x in (0, width - 1)
            for down, right in CORNERS:
                place = (y + down, x + right)
                if not (0 <= place[0] < height and 0 <= place[1] < width):
                    continue
                side = (down, right) in SIDES
                if mask[place] != step.of:
                    around += [mask[place]] * side
                elif not seen[place] and (side or step.into is None):
                    seen[place] = True
                    component.append(place)
        if len(component) >= step.limit or not around or (edge and step.into is not None):
            continue
        if step.into is None or set(around) == {step.into}:
            becomes = np.bincount(around).argmax() if step.into is None else step.into
            result[tuple(np.transpose(component))] = becomes
    return result


def test_a_component_below_the_limit_becomes_what_surrounds_most_of_it() -> None:
    mask = drawn("0000011", "0200211", "0000211", "0000011", "0022200")
    np.testing.assert_array_equal(
        after(mask, Rule("defect", "pixels", smallest=3)),
        drawn("0000011", "0000011", "0000011", "0000011", "0022200"),
    )
    np.testing.assert_array_equal(after(mask, Rule("defect", "pixels", smallest=1)), mask)
    even = drawn("111", "121", "020", "000")  # as many sides of either class: the lower id
    np.testing.assert_array_equal(
        after(even, Rule("defect", "pixels", smallest=3)), drawn("111", "101", "000", "000")
    )


def test_a_hole_is_background_that_one_class_alone_surrounds() -> None:
    mask = drawn("01111110", "01001110", "01110210", "01111110", "11111111", "10101010")
    filled = drawn("01111110", "01111110", "01110210", "01111110", "11111111", "10101010")
    # not the pixel beside class 2, nor what reaches the edge
    np.testing.assert_array_equal(after(mask, Rule("chip", "pixels", hole=3)), filled)
    np.testing.assert_array_equal(after(mask, Rule("chip", "pixels", hole=2)), mask)


def test_components_go_before_holes_are_filled() -> None:
    mask = drawn("11111", "10001", "10201", "10001", "11111")
    rules = (Rule("chip", "pixels", hole=10), Rule("defect", "pixels", smallest=2))
    assert (after(mask, *rules) == 1).all()


def test_a_share_is_of_the_image_and_pixels_are_pixels() -> None:
    small = np.zeros((4, 8), np.uint8)
    small[1, 1] = 2
    large = small.repeat(5, 0).repeat(5, 1)
    share = Rule("defect", "share", smallest=2 / 32)
    assert not after(small, share).any()
    assert not after(large, share).any()
    assert after(large, Rule("defect", "share", smallest=1 / 32)).any(), "as large as the limit"
    assert after(large, Rule("defect", "pixels", smallest=2)).any()


def test_the_mask_itself_is_left_alone_and_an_image_of_one_class_too() -> None:
    mask = drawn("2", "0", "0")
    assert after(mask, Rule("defect", "pixels", smallest=9)).sum() == 0
    assert mask[0, 0] == 2
    whole = np.full((3, 3), 2, np.uint8)
    np.testing.assert_array_equal(after(whole, Rule("defect", "pixels", smallest=99)), whole)


def test_a_rule_of_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="scratch"):
        after(drawn("00"), Rule("scratch", "pixels", smallest=2))


@settings(deadline=None, max_examples=300)
@given(
    any_masks(largest=24),
    st.integers(0, 2),
    st.sampled_from([None, 1, 2]),
    st.integers(1, 60),
    st.integers(1, 120),
)
def test_windows_of_rows_give_the_same_as_the_whole(
    mask: NDArray[np.uint8], of: int, into: int | None, limit: int, window: int
) -> None:
    step = Step(of if into is None else 0, limit, into)
    found = np.ascontiguousarray(mask.copy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW_PIXELS", window)
        apply_step(found, step)
    np.testing.assert_array_equal(found, pixel_by_pixel(mask, step))


OF_33_MEGAPIXELS = """
import resource
import numpy as np
from segtf.inference.postprocess import Rule, postprocess_in_place

mask = np.zeros((8192, 4096), np.uint8)
mask[:, np.arange(4096) // 3 % 50 == 0] = 2  # bars from the top to the bottom,
mask[::7] = 0  # cut into parts of 18 pixels
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
postprocess_in_place(mask, (Rule("b", "pixels", smallest=30),), ("background", "a", "b"))
print(mask.any(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="kilobytes elsewhere are bytes")
def test_a_large_mask_takes_little_memory_beside_itself() -> None:
    child = [sys.executable, "-c", OF_33_MEGAPIXELS]
    ended = subprocess.run(child, capture_output=True, text=True, check=True)
    left, grown = ended.stdout.split()
    assert left == "False"
    assert int(grown) < 40_000, "kB; component numbers of the whole would be 134 MB"


def test_rules_are_described_in_words() -> None:
    rules = (Rule("defect", "share", 0.0005), Rule("chip", "pixels", 8, 64))
    assert describe(Postprocess(rules, 0.9, 0.91)) == (
        "remove defect below 0.05 % of the image, remove chip below 8 pixels, "
        "fill holes of chip below 64 pixels; mIoU on val 0.9000 to 0.9100"
    )
    assert describe(Postprocess((), 0.9, 0.9)) == "none, as none helped on val"
