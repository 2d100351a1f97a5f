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

from segtf.outputs.rle import RleWriter, coco_counts, decode_rle, encode_rle, foreground
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
    np.testing.assert_array_equal(decode_rle("2 2 8 2 11 1", 3, 4), mask)


def test_nothing_is_the_empty_string_and_everything_one_run() -> None:
    assert encode_rle(np.zeros((2, 3), bool)) == ""
    assert encode_rle(np.ones((2, 3), bool)) == "1 6"
    assert not decode_rle("", 2, 3).any()


@settings(deadline=None)
@given(masks())
def test_decoding_is_the_inverse_of_encoding(mask: NDArray[np.bool_]) -> None:
    text = encode_rle(mask)
    np.testing.assert_array_equal(decode_rle(text, *mask.shape), mask)
    numbers = [int(number) for number in text.split()]
    flat = [start + i for start, n in zip(*[iter(numbers)] * 2, strict=True) for i in range(n)]
    assert flat == (np.flatnonzero(mask) + 1).tolist()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("1 2 3", "Received 3: '1 2 3'"),
        ("1 x", "whole numbers. Received: '1 x'"),
        ("1 99999999999999999999", "whole numbers"),
        ("1 9223372036854775807", "from 1 to 6, the pixels of 3 x 2"),
        ("0 2", "from 1 to 6"),
        ("5 3", "from 1 to 6"),
        ("1 0", "none empty"),
        ("1 3 3 1", "none over another"),
        ("4 1 1 1", "must rise"),
        ("9 " * 100, "9 9 9..."),
    ],
)
def test_what_are_no_runs_of_the_image_is_refused(text: str, part: str) -> None:
    with pytest.raises(UserError) as caught:
        decode_rle(text, 2, 3)
    assert part in str(caught.value)
    assert len(str(caught.value)) < 200


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


@settings(deadline=None)
@given(masks())
def test_counts_are_those_of_pycocotools(mask: NDArray[np.bool_]) -> None:
    assert coco_counts(mask) == counts_of_coco(mask)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 150_000), max_size=9), st.booleans())
def test_long_runs_are_those_of_pycocotools(lengths: list[int], value: bool) -> None:
    turns = np.arange(len(lengths)) % 2 == value
    mask = np.repeat(turns, lengths)
    mask = np.pad(mask, (0, -len(mask) % 1000 or 1000)).reshape(1000, -1, order="F")
    assert coco_counts(mask) == counts_of_coco(mask)


@settings(deadline=None)
@given(masks(), *[st.integers(0, 3)] * 4)
def test_a_part_of_an_image_counts_as_the_whole_image_would(
    part: NDArray[np.bool_], above: int, below: int, before: int, after: int
) -> None:
    whole = np.pad(part, ((above, below), (before, after)))
    assert coco_counts(part, corner=(above, before), size=whole.shape) == counts_of_coco(whole)
