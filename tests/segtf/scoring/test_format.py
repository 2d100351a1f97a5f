"""Numbers, intervals and tables as text."""

from __future__ import annotations

import math

import pytest

from segtf.scoring.format import (
    change_text,
    interval_text,
    markdown_table,
    percent,
    score_text,
    text_table,
)
from segtf.scoring.intervals import Interval

ROWS = [["class", "IoU"], ["chip", "0.5000"], ["a long name", "–"]]


def test_a_score_has_a_fixed_number_of_decimals_and_none_is_a_dash() -> None:
    assert [score_text(value) for value in (0.5, 1, None, math.nan)] == ["0.5000", "1.0000", *"––"]
    assert score_text(0.5, 2) == "0.50"
    assert [change_text(value) for value in (0.01, -0.01, None)] == ["+0.0100", "-0.0100", "–"]


@pytest.mark.parametrize(
    ("fraction", "text"),
    [
        *((None, "–"), (0.0, "0 %"), (0.0004, "< 0.1 %"), (0.0375, "3.75 %")),
        *((0.99951, "> 99.9 %"), (1.0, "100 %")),
    ],
)
def test_percent_says_all_or_nothing_only_where_it_is_so(fraction: float | None, text: str) -> None:
    assert percent(fraction) == text


def test_an_interval_has_a_unit_once_and_a_question_mark_where_images_are_few() -> None:
    assert interval_text(Interval(0.25, 1.0, 9, few=False), percent) == "25–100 %"
    assert interval_text(Interval(0.25, 1.0, 2, few=True)) == "0.250–1.000 ?"
    assert interval_text(Interval(None, None, 1, few=True)) == interval_text(None) == "–"


def test_columns_are_as_wide_as_their_cells() -> None:
    assert text_table(ROWS).splitlines() == [
        "class           IoU",
        "chip         0.5000",
        "a long name       –",
    ]
    assert text_table(ROWS, left=(0, 1)).splitlines()[0] == "class        IoU"


def test_a_markdown_table_has_a_rule_under_its_heads() -> None:
    assert markdown_table(ROWS[:2]).splitlines() == [
        "| class | IoU |",
        "| --- | ---: |",
        "| chip | 0.5000 |",
    ]
