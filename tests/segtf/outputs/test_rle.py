"""Run lengths are what others read: the table's row by row, COCO's as pycocotools writes them."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco

from segtf.outputs.rle import RleWriter, coco_counts, encode_rle, foreground
from tests.segtf.drawn_masks import decoded_runs
from voc_builder.base.errors import UserError

CLASSES = ("background", "person", "cat")
sides = st.integers(1, 12)


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    height, width = draw(sides), draw(sides)
    bits = np.unpackbits(np.frombuffer(draw(st.binary(min_size=18, max_size=18)), np.uint8))
    return bits[: height * width].reshape(height, width).astype(bool)


def test_runs_go_row_by_row_and_count_from_one() -> None:
    mask = np.array([[0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 1, 0]], bool)
    assert encode_rle(mask) == "2 2 8 2 11 1"
    assert encode_rle(np.zeros((2, 3), bool)) == ""
    assert encode_rle(np.ones((2, 3), bool)) == "1 6"


@settings(deadline=None)
@given(masks())
def test_runs_hold_every_true_pixel_once(mask: NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(decoded_runs(encode_rle(mask), *mask.shape), mask)


def test_the_table_has_a_row_for_each_image() -> None:
    rows = [("1", "2 2 8 2"), ("empty", ""), ('a, "b"', "1 1"), ("фото", "3 1")]
    file = io.StringIO()
    writer = RleWriter(file)
    for row in rows[:2]:
        writer.add(*row)
    assert file.getvalue() == "id,rle_mask\n1,2 2 8 2\nempty,\n"
    for row in rows[2:]:
        writer.add(*row)
    assert list(csv.reader(io.StringIO(file.getvalue())))[1:] == [list(row) for row in rows]


def test_every_class_but_the_background_is_encoded_or_the_one_that_is_named() -> None:
    mask = np.array([[0, 1, 2, 255]], np.uint8)
    np.testing.assert_array_equal(foreground(mask, CLASSES), [[0, 1, 1, 0]])
    np.testing.assert_array_equal(foreground(mask, CLASSES, "cat"), [[0, 0, 1, 0]])
    np.testing.assert_array_equal(foreground(mask, CLASSES, "background"), [[1, 0, 0, 0]])
    np.testing.assert_array_equal(foreground(mask, ("roof", "car"), "roof"), [[1, 0, 0, 0]])


def test_a_class_must_be_named_where_none_is_the_background() -> None:
    mask = np.zeros((1, 1), np.uint8)
    with pytest.raises(UserError, match="one of roof, car"):
        foreground(mask, ("roof", "car"))
    with pytest.raises(UserError, match=r"'dog'.* background, person, cat"):
        foreground(mask, CLASSES, "dog")


def counts_of_coco(mask: NDArray[np.bool_]) -> str:
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 150_000), max_size=9), st.booleans())
def test_long_runs_are_those_of_pycocotools(lengths: list[int], value: bool) -> None:
    turns = np.arange(len(lengths)) % 2 == value
    mask = np.repeat(turns, lengths)
    padded = np.pad(mask, (0, -len(mask) % 1000 or 1000)).reshape(1000, -1, order="F")
    found = coco_counts(padded, corner=(0, 0), size=(1000, padded.shape[1]))
    assert found == counts_of_coco(padded)


@settings(deadline=None)
@given(masks(), *[st.integers(0, 3)] * 4)
def test_a_part_of_an_image_counts_as_the_whole_image_would(
    part: NDArray[np.bool_], above: int, below: int, before: int, after: int
) -> None:
    whole = np.pad(part, ((above, below), (before, after)))
    assert coco_counts(part, corner=(above, before), size=whole.shape) == counts_of_coco(whole)
