"""The scores of a split as text tables."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from segtf.scoring.operating import Target, given, point_scores
from segtf.scoring.scores import pixel_scores
from segtf.scoring.split_scores import (
    ChosenPoint,
    ClassObjects,
    ObjectRule,
    ObjectScores,
    PointScores,
)
from segtf.scoring.tables import (
    decision_text,
    object_table,
    operating_table,
    result_tables,
    score_table,
)
from segtf.scoring.thresholds import count_thresholds
from tests.segtf.scoring.inspected_images import CLASSES, inspection
from tests.segtf.split_scores import split_scores


def point() -> PointScores:
    """One of two defects is found at 0.25, and one predicted object is a false alarm."""
    truth, probability = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.float32)
    truth[:5, :5] = truth[10:15, :5] = 2
    probability[:5, :5] = probability[10:15, 10:15] = 0.3
    counts = count_thresholds(probability, truth, 2)
    return point_scores("defect", given(Target(2, 0.25)), counts, images=2)


def test_a_class_without_a_score_has_a_dash() -> None:
    scores = pixel_scores([("a", np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))], CLASSES)
    assert score_table(scores).splitlines() == [
        "class                IoU    Dice",
        "__background__    0.6667  0.8000",
        "part              0.5000  0.6667",
        "defect                 –       –",
        "mean              0.5833  0.7333",
        "pixel accuracy    0.7500",
        "micro, imagewise  0.6000",
    ]


def test_objects_have_intervals() -> None:
    scores = split_scores(dict.fromkeys(CLASSES, 0.5), **inspection())
    head, part, defect = (re.split(" {2,}", line) for line in object_table(scores).splitlines())
    assert head == ["class", "objects", "found", "missed", "false alarms", "per image"]
    assert part == ["part", "3", "100 %", "29.2–100 % ?", "0", "0", "0.00", "0.00–1.23 ?"]
    assert defect[:3] == ["defect", "3", "66.7 %"]


def test_the_operating_point_stands_beside_the_most_probable_class() -> None:
    usual = ClassObjects(2, 2, 2, 0, 0, 1.0, 0.0, 0.0, ())
    scores = split_scores(
        {"defect": None},
        objects=ObjectScores(ObjectRule(0.25, 0.1), {"defect": usual}),
        operating_point=point(),
    )
    assert operating_table(scores).splitlines()[1:] == [
        "                        IoU           found  missed  false alarms  per image",
        "most probable class       –  2 of 2 (100 %)       0             0       0.00",
        "from 0.250 on        0.3333   1 of 2 (50 %)       1             1       0.50",
    ]


@pytest.mark.parametrize(("true", "guess"), [(1, True), (19, True), (20, False)])
def test_a_threshold_chosen_on_few_objects_is_called_a_guess(true: int, guess: bool) -> None:
    chosen = replace(point(), split="val", chosen=ChosenPoint(true, 1.0, 1.0, 1.0))
    assert ("guess" in decision_text(chosen)) == guess
    assert decision_text(point()) == point().criterion


def test_results_have_the_tables_that_there_are() -> None:
    none = split_scores(dict.fromkeys(CLASSES, 0.5), no_operating_point="val shows none")
    assert result_tables(none).split("\n\n") == [score_table(none), "val shows none"]
    full = replace(none, **inspection(), operating_point=point(), no_operating_point=None)
    assert result_tables(full).split("\n\n")[1:] == [object_table(full), operating_table(full)]
