"""What is wrong with a mask is counted as a person sees it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from segtf.scoring.faults import Faults, faults_of, find_faults, image_scores
from segtf.scoring.split_scores import ImageScores, ObjectCounts
from tests.segtf.drawn_masks import any_masks
from voc_builder.base.colours import VOID

CLASSES = ("background", "chip", "defect")


def drawn(*boxes: tuple[int, int, int, int, int]) -> NDArray[np.uint8]:
    """Class ids of 20 x 20 with boxes: class, top, left, bottom, right."""
    mask = np.zeros((20, 20), np.uint8)
    for class_id, top, left, bottom, right in boxes:
        mask[top:bottom, left:right] = class_id
    return mask


@pytest.mark.parametrize(
    ("truth", "mask", "wanted", "said"),
    [
        (drawn(), drawn(), Faults(0, 0, 0), "no fault"),
        (drawn((1, 2, 2, 9, 9)), drawn((1, 2, 2, 9, 9)), Faults(0, 0, 0), "no fault"),
        (drawn(), drawn((2, 0, 0, 1, 3)), Faults(0, 0, 3 / 400), "0.75 % wrong"),
        (drawn((2, 0, 0, 4, 4)), drawn(), Faults(1, 0, 16 / 400), "1 missed, 4.0 % wrong"),
        (
            drawn((2, 0, 0, 4, 4), (2, 9, 9, 13, 13)),
            drawn((1, 0, 0, 4, 4)),
            Faults(2, 1, 32 / 400),
            "2 missed, 1 false alarm, 8.0 % wrong",
        ),
        (drawn((VOID, 0, 0, 10, 20)), drawn((2, 0, 0, 9, 9)), Faults(0, 0, 0), "no fault"),
        (drawn((VOID, 0, 0, 10, 20)), drawn((2, 0, 0, 12, 1)), Faults(0, 0, 0.01), "1.0 % wrong"),
        (drawn((VOID, 0, 0, 20, 20)), drawn((2, 0, 0, 9, 9)), Faults(0, 0, 0), "no fault"),
    ],
)
def test_objects_and_pixels_outside_void_are_counted(
    truth: NDArray[np.uint8], mask: NDArray[np.uint8], wanted: Faults, said: str
) -> None:
    found = find_faults(truth, mask, CLASSES)
    assert (found.missed, found.false) == (wanted.missed, wanted.false)
    assert found.wrong == pytest.approx(wanted.wrong)
    assert str(found) == said
    assert bool(found) == bool(wanted)


@settings(deadline=None, max_examples=60)
@given(any_masks(largest=12), any_masks(largest=12))
def test_only_a_mask_equal_to_the_truth_has_no_fault_and_it_comes_last(
    truth: NDArray[np.uint8], mask: NDArray[np.uint8]
) -> None:
    mask = np.resize(mask, truth.shape)
    faults = find_faults(truth, mask, CLASSES)
    assert bool(faults) == bool((truth != mask).any())
    assert faults.rank <= Faults(0, 0, 0.0).rank
    assert faults == faults_of(image_scores("a", truth, mask, CLASSES))


def test_one_missed_object_is_worse_than_any_number_of_wrong_pixels() -> None:
    found = [Faults(0, 0, 0.9), Faults(1, 0, 0.001), Faults(0, 2, 0.01), Faults(2, 0, 0.1)]
    assert sorted(found, key=lambda one: one.rank) == found[::-1]


def test_rows_of_earlier_versions_tell_objects_alone() -> None:
    counts = ObjectCounts(true=3, found=1, predicted=2, false_positives=1)
    row = ImageScores("a", 0.3, {}, None, {"chip": counts})
    assert faults_of(row) == Faults(2, 1, 0.0)
    assert not faults_of(ImageScores("a", 0.3, {}, None))
