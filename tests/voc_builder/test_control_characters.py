"""Lists, tables and records have one name per line: a name that would break them is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.voc_builder.folders import square, write_annotated, write_image, write_mask
from voc_builder.__main__ import main
from voc_builder.base.classes import read_ids
from voc_builder.tree.voc import read_dataset

BREAKS = ["\n", "\t", "\r", "\x7f", "\x85", "\u2028"]


def labelme(folder: Path, names: Sequence[str], label: str) -> Path:
    for name in names:
        write_annotated(folder / f"{name}.json", [square(label)], seed=names.index(name))
    return folder


def masks(folder: Path, names: Sequence[str], label: str) -> Path:
    for name in names:
        write_image(folder / f"images/{name}.jpg")
        write_mask(folder / f"masks/{name}.png", [0, 1])
    (folder / "classes.txt").write_bytes(f"background\n{label}\n".encode())
    return folder


def pairs(folder: Path, names: Sequence[str], label: str) -> Path:
    masks(folder, names, label)
    with (folder / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        rows = [(f"images/{name}.jpg", f"masks/{name}.png") for name in names]
        csv.writer(file).writerows([("image", "mask"), *rows])
    return folder / "pairs.csv"


def boxes(folder: Path, names: Sequence[str], label: str) -> Path:
    box = "<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>4</ymax></bndbox>"
    for name in names:
        write_image(folder / f"JPEGImages/{name}.jpg")
        path = folder / f"Annotations/{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = f"<annotation><object><name>{label}</name>{box}</object></annotation>"
        path.write_bytes(content.replace("\r", "&#13;").encode())
    return folder


def yolo(folder: Path, names: Sequence[str], label: str) -> Path:
    for name in names:
        write_image(folder / f"images/{name}.jpg")
        path = folder / f"labels/{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0 0.5 0.5 0.5 0.5\n", encoding="utf-8")
    (folder / "data.yaml").write_text(json.dumps({"names": [label]}), encoding="utf-8")
    return folder


def coco(folder: Path, names: Sequence[str], label: str) -> Path:
    for name in names:
        write_image(folder / f"images/{name}.jpg")
    objects = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]]}
        for n in range(len(names))
    ]
    content = {
        "images": [{"id": n, "file_name": f"{name}.jpg"} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": label}],
        "annotations": objects,
    }
    (folder / "instances.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "instances.json"


SOURCES = [labelme, masks, pairs, boxes, yolo, coco]
Write = Callable[[Path, Sequence[str], str], Path]
NAMES = ["a", "b", "c"]


def checked(place: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The problems that `check` finds, each of which it prints on a line of its own."""
    report = place.parent / "said.json"
    assert main(["check", str(place), "--json", str(report)]) == 1
    said = json.loads(report.read_text(encoding="utf-8"))["problems"]
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(said) + 1
    return said


def build_code(place: Path, out: Path, *flags: str) -> int:
    return main(["build", str(place), str(out), "--no-records", "--split", "60/20/20", *flags])


@pytest.mark.parametrize("name", [*(f"x{one}y" for one in BREAKS), "x\ny/d"], ids=ascii)
@pytest.mark.parametrize("write", SOURCES)
def test_no_source_takes_a_file_whose_name_holds_a_control_character(
    write: Write, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, out = write(tmp_path / "set", [*NAMES, name], "chip"), tmp_path / "out"
    said = checked(place, capsys)
    assert {problem["rule"] for problem in said} == {"file-name"}
    assert all(problem["file"].isprintable() for problem in said)
    assert build_code(place, out) == 2
    assert not out.exists()
    assert build_code(place, out, "--skip-bad") == 0
    splits = read_dataset(out).splits.values()
    assert sorted(image for ids in splits for image in ids) == NAMES


@pytest.mark.parametrize("write", [labelme, pairs])
def test_an_image_without_annotation_is_refused_by_its_name_too(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "set", NAMES, "chip")
    image = write_image(tmp_path / "set/x\ny.jpg")
    if place.is_file():
        with place.open("a", encoding="utf-8") as file:
            file.write(f'"{image.name}",\n')
    (said,) = checked(place, capsys)
    assert (said["rule"], said["severity"]) == ("file-name", "error")
    assert build_code(place, tmp_path / "out") == 2


@pytest.mark.parametrize("label", [f"chip{one}pit" for one in BREAKS], ids=ascii)
@pytest.mark.parametrize("write", [labelme, boxes])
def test_a_label_with_a_control_character_is_no_class(
    write: Write, label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "set", NAMES, label)
    assert [(p["rule"], p["label"]) for p in checked(place, capsys)] == [("label", label)] * 3
    assert build_code(place, tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("label", [f"chip{one}pit" for one in BREAKS], ids=ascii)
@pytest.mark.parametrize("write", [yolo, coco])
def test_a_named_class_with_a_control_character_is_refused(
    write: Write, label: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = write(tmp_path / "set", NAMES, label)
    assert main(["check", str(place)]) == build_code(place, tmp_path / "out") == 2
    assert all(repr(label) in line for line in capsys.readouterr().err.splitlines())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [["--merge", "a\tb=*"], ["--mask-values", "0=background,1=a\tb"]])
def test_a_flag_that_names_a_class_with_a_control_character_is_refused(
    flags: list[str], tmp_path: Path
) -> None:
    place = masks(tmp_path / "set", NAMES, "chip")
    if flags[0] == "--mask-values":
        (tmp_path / "set/classes.txt").unlink()
    assert build_code(place, tmp_path / "out", *flags) == 2


def test_a_line_of_class_names_ends_where_every_program_ends_it(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes("фон\r\nchip\u00a0one\r\n".encode())
    assert read_ids(names) == ("фон", "chip\u00a0one")
    place = masks(tmp_path / "set", NAMES, "chip\u2028pit")  # not a third class
    assert build_code(place, tmp_path / "out") == 2
