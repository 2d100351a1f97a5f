"""The report names all problems, file by file, and ends in one line that counts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.voc_builder.folders import (
    SHARED,
    chips,
    image_bytes,
    needs_shared,
    rules,
    square,
    write_badly_named,
    write_json,
)
from voc_builder.__main__ import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    chips(tmp_path / "chips")
    return Path("chips")


def test_a_sound_folder_passes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "chips"]) == 0
    assert capsys.readouterr().out == "20 annotations: 0 errors and 0 warnings in 0 files\n"


def test_all_that_is_wrong_is_listed_by_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(folder / "bad000.json", [square("chip"), square("chpi"), square("chip")])
    (folder / "bad001.json").write_text("{")
    (folder / "bad002.jpg").write_bytes((folder / "clean000.jpg").read_bytes())
    broken = bytearray(image_bytes())
    broken[200:-2] = b"\0" * (len(broken) - 202)  # header and end are there, the pixels are not
    (folder / "bad003.jpg").write_bytes(broken)
    (folder / "new.jpg").write_bytes(image_bytes(5))
    assert main(["check", "chips", "--json", "report.json"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "chips/bad000.json"
    assert out[1].startswith("  error: shape 1 ('chpi'): ") and out[1].endswith(" [label]")
    assert [line for line in out if line.startswith("chips/")] == [
        f"chips/{name}" for name in FILES
    ]
    assert out[-1] == "20 annotations: 3 errors and 3 warnings in 5 files"
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert (report["annotations"], report["errors"], report["warnings"]) == (20, 3, 3)
    first = {"file": "chips/bad000.json", "severity": "error", "rule": "label", "shape": 1}
    assert first.items() <= report["problems"][0].items()


FILES = ["bad000.json", "bad001.json", "bad003.json", "clean000.json", "new.jpg"]


def test_one_bad_shape_hides_nothing_else(folder: Path) -> None:
    two = square("scratch", points=[[0, 0], [1, 1]])
    flat = square("chip", points=[[0, 0], [1, 1], [2, 2]])
    write_json(folder / "bad000.json", [two, square("chpi"), flat])
    write_json(folder / "bad001.json", [square("chpi")], imagePath="none.jpg")
    (folder / "obj.names").write_text("background\nchip\ndefect\nscratch\n")
    found = [rule for _, _, rule, _ in rules(folder)]
    assert found == ["shape", "label", "no-area", "photo-missing", "label"]


def test_a_name_that_is_not_utf_8_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_badly_named(folder, ".jpg")
    assert [one[1:] for one in rules(folder)] == [("error", "file-name", None)]
    assert main(["check", "chips", "--json", "report.json"]) == 1
    assert capsys.readouterr().out.startswith("chips/caf\\udce9.jpg\n")


def test_no_worker_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "chips", "--workers", "0"]) == 2
    assert "--workers" in capsys.readouterr().err


def test_an_unused_class_is_named(folder: Path) -> None:
    Path("names").write_text("background\nchip\ndefect\nscratch\n", encoding="utf-8")
    assert rules(folder, classes=Path("names")) == [("names", "warning", "class-unused", None)]


@needs_shared
def test_real_files_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SHARED / "labelme_samples")]) == 0
    assert "23 annotations: 0 errors" in capsys.readouterr().out
