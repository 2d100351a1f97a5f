"""Scores are written to JSON and read back; older and damaged files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segtf.scoring.operating import Target, given, point_scores
from segtf.scoring.split_scores import Origin, SplitScores, read_scores
from segtf.scoring.thresholds import no_counts
from tests.segtf.scoring.inspected_images import CLASSES, inspection
from tests.segtf.split_scores import image_scores, split_scores, write_scores
from voc_builder.base.errors import UserError


def full_scores() -> SplitScores:
    return split_scores(
        {"__background__": 0.9, "part": 0.7, "defect": None},
        rows=(image_scores("a", 0.5, iou={"part": None}, wrong=0.25),),
        confusion=((9, 1, 0), (0, 4, 0), (0, 0, 0)),
        operating_point=point_scores("defect", given(Target(2, 0.5)), no_counts(), images=3),
        origin=Origin("val", "96x64", 96, 64, "onnx", ("a.onnx",), "mean", "flips", {"path": "b"}),
        **inspection(CLASSES),
    )


def test_scores_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    for scores in (full_scores(), split_scores({"chip": 1.0}, no_operating_point="val shows none")):
        write_scores(tmp_path, "val", scores)
        read = read_scores(tmp_path / "metrics_val.json")
        assert read == replace(scores, origin=replace(scores.origin, split="val"))


def test_keys_of_the_file_keep_their_names_and_order() -> None:
    values = full_scores().to_json()
    assert list(values) == [
        *("split", "size", "height", "width", "model", "models", "ensemble", "tta", "data"),
        *("images", "classes", "iou", "dice", "miou", "dice_mean", "pixel_accuracy"),
        *("iou_micro_imagewise", "confusion", "photos", "objects", "boundary_iou"),
        *("boundary_miou", "intervals", "operating_point", "no_operating_point"),
    ]
    defect = values["objects"]["classes"]["defect"]
    counts = ["true", "found", "alarms", "false"]
    fractions = ["missed", "found_share", "false_share", "false_a_photo"]
    assert list(defect) == [*counts, *fractions, "sizes"]
    assert list(defect["sizes"][0]) == ["size", "up_to", *counts]
    assert list(values["operating_point"]["objects"]) == [
        *("precision", "recall", "f1", "true", "found", "missed", "alarms", "false"),
        *("found_share", "false_a_photo"),
    ]
    assert list(values["intervals"]["miou"]) == ["low", "high", "photos", "few"]
    assert values["intervals"]["false_a_photo"].keys() == {"part", "defect"}


def test_a_file_of_the_first_version_has_the_scores_of_pixels_alone(tmp_path: Path) -> None:
    values = full_scores().to_json()
    for key in (
        *("height", "width", "models", "ensemble", "tta", "iou_micro_imagewise"),
        *("objects", "boundary_iou", "boundary_miou", "intervals"),
        *("operating_point", "no_operating_point"),
    ):
        del values[key]
    del values["photos"][0]["wrong"]
    (tmp_path / "old.json").write_text(json.dumps({**values, "unknown": 1}))
    scores = read_scores(tmp_path / "old.json")
    assert scores.iou == full_scores().iou
    assert scores.origin == Origin("val", "96x64", None, None, "onnx", data={"path": "b"})
    assert (scores.objects, scores.intervals, scores.operating_point) == (None, None, None)
    assert scores.rows[0].wrong is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"miou": "high"}, "miou: not a float. Received: 'high'"),
        ({"iou": {"chip": []}}, r"iou\.chip"),
        ({"photos": [{"id": 1, "miou": 0, "iou": {}}]}, r"photos\.id"),
        ({"confusion": None}, "confusion"),
        ({"size": []}, "size"),
    ],
)
def test_a_damaged_file_is_named_with_the_value(
    change: dict[str, Any], named: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics_val.json"
    path.write_text(json.dumps({**split_scores({"chip": 1.0}).to_json(), **change}))
    with pytest.raises(UserError, match=rf"metrics_val\.json: damaged .*{named}"):
        read_scores(path)


def test_a_file_that_lacks_scores_is_damaged(tmp_path: Path) -> None:
    for text, named in (("{", "Expecting"), ("[]", "not a"), ('{"split": "val"}', "no ")):
        (tmp_path / "metrics_val.json").write_text(text)
        with pytest.raises(UserError, match=rf"metrics_val\.json: damaged .*{named}"):
            read_scores(tmp_path / "metrics_val.json")
