"""`export.json` is read back as it was written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segtf.exporting.report import read_export, write_export
from tests.segtf.tiny_export import REPORT
from voc_builder.base.errors import UserError


def test_a_report_survives_the_round_trip(tmp_path: Path) -> None:
    write_export(REPORT, tmp_path)
    assert read_export(tmp_path) == REPORT


def test_the_file_has_the_documented_keys() -> None:
    values = REPORT.to_json()
    assert list(values) == [
        "photos",
        "tolerance",
        "comparisons",
        "passed",
        "onnx",
        "network",
        "provider",
        "val",
        "postprocess",
        "postprocess_trials",
        "precisions",
    ]
    assert values["tolerance"] == {"probability": 1e-4, "argmax": 0.9999}
    assert values["onnx"] == {"bytes": 9, "opset": 18}
    assert list(values["precisions"]["float32"]) == [
        "file",
        "bytes",
        "miou_change",
        "iou_change",
        "kept",
        "ms",
        "provider",
    ]


def test_a_missing_or_earlier_file_is_none_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    assert read_export(tmp_path) is None
    file = tmp_path / "export.json"
    file.write_text(json.dumps({"photos": 2, "passed": True}))
    assert read_export(tmp_path) is None
    file.write_text('{"photos": ')
    with pytest.raises(UserError, match=r"export\.json"):
        read_export(tmp_path)
