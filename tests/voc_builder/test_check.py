"""The report names everything at once, file by file, and ends in one line that counts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.voc_builder.folders import (
    SHARED,
    chips,
    image_bytes,
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
    twice = [square("chip"), square("chpi"), square("chip")]
    write_json(folder / "bad000.json", twice)
    (folder / "bad001.json").write_text("{")
    (folder / "bad002.jpg").write_bytes((folder / "clean000.jpg").read_bytes())
    broken = bytearray(image_bytes())
    broken[200:-2] = b"\0" * (len(broken) - 202)  # header and end are there, the pixels are not
    (folder / "bad003.jpg").write_bytes(broken)
    (folder / "new.jpg").write_bytes(image_bytes(5))
    assert main(["check", "chips", "--json", "report.json"]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[:3] == [
        "chips/bad000.json",
        "  error: shape 1 ('chpi'): unknown label: rename it 'chip', or add it to the class names "
        "[label]",
        "  warning: shape 2 ('chip'): the same as shape 0: delete one [duplicate]",
    ]
    files = [line for line in out if line.startswith("chips/")]
    assert files == [f"chips/{name}" for name in FILES]
    assert out[-1] == "20 annotations: 3 errors and 3 warnings in 5 files"
    report = json.loads(Path("report.json").read_text(encoding="utf-8"))
    assert (report["errors"], report["warnings"]) == (3, 3)
    assert report["problems"][0]["file"] == "chips/bad000.json"
    assert (report["problems"][0]["rule"], report["problems"][0]["shape"]) == ("label", 1)


def test_one_bad_shape_hides_nothing_else(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = square("scratch", points=[[0, 0], [1, 1]])
    flat = square("chip", points=[[0, 0], [1, 1], [2, 2]])
    write_json(folder / "bad000.json", [two, square("chpi"), flat])
    write_json(folder / "bad001.json", [square("chpi")], imagePath="none.jpg")
    (folder / "obj.names").write_text("background\nchip\ndefect\nscratch\n")
    assert main(["check", "chips"]) == 1
    out = capsys.readouterr().out
    rules = [line.rpartition("[")[2] for line in out.splitlines()[:-1] if line.startswith("  ")]
    assert rules == ["shape]", "label]", "no-area]", "photo-missing]", "label]"]
    assert out.endswith("20 annotations: 5 errors and 0 warnings in 2 files\n")


def test_a_name_that_is_not_utf_8_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_badly_named(folder, ".jpg")
    assert main(["check", "chips", "--json", "report.json"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("chips/caf\\udce9.jpg\n  error: the name 'caf\\udce9.jpg' is not UTF-8")
    assert out.endswith("20 annotations: 1 error and 0 warnings in 1 file\n")
    assert (
        json.loads(Path("report.json").read_text(encoding="utf-8"))["problems"][0]["rule"]
        == "file-name"
    )


def test_no_worker_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "chips", "--workers", "0"]) == 2
    assert "--workers takes a number from 1 on. Received: 0" in capsys.readouterr().err


FILES = ["bad000.json", "bad001.json", "bad003.json", "clean000.json", "new.jpg"]


def test_an_unused_class_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("names").write_text("background\nchip\ndefect\nscratch\n", encoding="utf-8")
    assert main(["check", "chips", "--classes", "names"]) == 0
    assert "names\n  warning: no shape has the label 'scratch'" in capsys.readouterr().out


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_real_files_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SHARED / "labelme_samples")]) == 0
    assert "23 annotations: 0 errors" in capsys.readouterr().out
