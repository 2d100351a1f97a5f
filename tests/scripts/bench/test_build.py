from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.bench.build import SIDES, main


@pytest.mark.slow
def test_every_side_converts_all_copies(images: Path, tmp_path: Path) -> None:
    assert main(["--images", str(images), "--times", "2", "--out", str(tmp_path)]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["build"]
    assert figures["images"] == 40
    assert figures["seconds"].keys() == SIDES.keys()
    assert all(seconds > 0 for seconds in figures["seconds"].values())
    assert (tmp_path / "tables.md").read_text(encoding="utf-8").count("\n| ") == 2 + len(SIDES)
