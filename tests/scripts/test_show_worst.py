"""The sheet of the images that a run does worst on."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from scripts.show_worst import main


@pytest.mark.slow
def test_the_worst_images_come_with_annotation_and_answer(run: Path, tmp_path: Path) -> None:
    heights = []
    for count in (1, 2):
        out = tmp_path / f"{count}.jpg"
        assert main([str(run), "--out", str(out), "--count", str(count)]) == 0
        with Image.open(io.BytesIO(out.read_bytes())) as sheet:
            assert sheet.format == "JPEG"
            heights.append(sheet.height / sheet.width)
    assert 0.3 < heights[0] < 0.7, "three squares side by side, and a legend"
    assert 1.5 * heights[0] < heights[1] < 2 * heights[0]


@pytest.mark.slow
def test_where_there_is_nothing_to_show_one_line_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run / "overlays/scores.json"
    kept = shown.read_bytes()
    values = json.loads(kept)
    faultless = [{**row, "objects": {}, "wrong": 0.0} for row in values["photos"]]
    shown.write_text(json.dumps({**values, "photos": faultless}))
    cases = {
        "no image has a fault": [str(run)],
        "not a run folder": [str(tmp_path)],
        "--count 0: must be at least 1": [str(run), "--count", "0"],
    }
    try:
        for said, arguments in cases.items():
            assert main([*arguments, "--out", str(tmp_path / "a.jpg")]) == 2
            error = capsys.readouterr().err
            assert said.lower() in error.lower()
            assert error.count("\n") == 1
    finally:
        shown.write_bytes(kept)
    assert not (tmp_path / "a.jpg").exists()
