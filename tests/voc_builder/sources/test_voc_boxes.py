"""Boxes of Pascal VOC are filled, and all their problems are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.voc_builder.folders import built, rules, sizes, write_image
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import choose_source, find_samples
from voc_builder.sources.voc_boxes import read_boxes

Box = tuple[str, object, object, object, object]


def write_boxes(path: Path, *boxes: Box, size: tuple[int, int] = (8, 6)) -> Path:
    """The XML of an image of (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>"
        f"<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for name, left, top, right, bottom in boxes
    )
    said = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    path.write_text(f"<annotation>{said}{objects}</annotation>", encoding="utf-8")
    return path


@pytest.fixture
def pipes(tmp_path: Path) -> Path:
    """A VOC tree of ten images with lists."""
    for number in range(10):
        write_image(tmp_path / f"pipes/JPEGImages/{number}.jpg")
        boxes: list[Box] = [("pipe", 2, 2, 5, 4), ("hole", 3, 3, 3, 3)]
        write_boxes(tmp_path / f"pipes/Annotations/{number}.xml", *boxes[: 1 + number % 2])
    lists = tmp_path / "pipes/ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("".join(f"{number}\n" for number in range(6)))
    (lists / "val.txt").write_text("6\n7\n")
    (lists / "test.txt").write_text("8\n9\n")
    (lists / "pipe_train.txt").write_text("0 1\n1 -1\n")
    return tmp_path / "pipes"


def test_boxes_are_filled_the_small_over_the_large_and_lists_are_kept(pipes: Path) -> None:
    dataset = built(pipes)
    assert dataset.classes == ("__background__", "hole", "pipe")
    assert sizes(dataset) == (6, 2, 2)
    samples = find_samples(pipes, SourceConfig(), empty=False).samples
    expected = np.zeros((6, 8), np.uint8)
    expected[1:4, 1:5] = 2
    expected[2, 2] = 1
    (drawn,) = (one.draw_mask(dataset.classes, 6, 8) for one in samples if one.id == "1")
    np.testing.assert_array_equal(drawn, expected)


def test_files_may_be_beside_the_images_of_each_split(tmp_path: Path) -> None:
    for split, count in {"train": 5, "valid": 2}.items():
        for number in range(count):
            write_image(tmp_path / f"pipes/{split}/{number}.jpg")
            write_boxes(tmp_path / f"pipes/{split}/{number}.xml", ("pipe", 1, 1, 5, 4))
    assert choose_source(tmp_path / "pipes", SourceConfig()) == "boxes"
    dataset = built(tmp_path / "pipes")
    assert sizes(dataset) == (5, 2, 0)
    assert "train_0" in dataset.splits["train"] and "valid_0" in dataset.splits["val"]


def test_all_that_is_wrong_is_in_one_report(pipes: Path) -> None:
    xml = pipes / "Annotations"
    write_boxes(xml / "0.xml", ("pipe", 4, 1, 3, 4), ("pipe", 9, 1, 12, 4), ("pipe", 1, 1, 12, 4))
    write_boxes(xml / "1.xml", ("pipe", 1, 1, 4, 4), size=(6, 8))
    (xml / "2.xml").write_text("<annotation>")
    (xml / "3.xml").write_text("<note/>")
    write_boxes(xml / "4.xml", ("pipe", "a", 1, 4, 4), ("", 1, 1, 4, 4), ("pipe", "", 1, 4, 4))
    write_boxes(xml / "5.xml", ("hoel", 1, 1, 4, 4))
    write_boxes(xml / "lonely.xml")
    write_image(pipes / "JPEGImages/6.png")
    (pipes / "obj.names").write_text("background\npipe\nhole\n")
    assert rules(pipes) == [
        ("0.xml", "error", "box", 0),
        ("0.xml", "error", "outside", 1),
        ("0.xml", "warning", "outside", 2),
        ("1.xml", "error", "size", None),
        ("2.xml", "error", "xml-unreadable", None),
        ("3.xml", "error", "not-voc", None),
        ("4.xml", "error", "box", 0),
        ("4.xml", "error", "box", 1),
        ("4.xml", "error", "box", 2),
        ("5.xml", "error", "label", 0),
        ("lonely.xml", "error", "photo-missing", None),
        ("val.txt", "error", "split-unclear", None),
        ("6.jpg", "error", "two-photos", None),
        ("6.png", "error", "two-photos", None),
    ]


def test_a_size_of_0_is_none(tmp_path: Path) -> None:
    file = write_boxes(tmp_path / "a.xml", ("pipe", 1, 1, 4, 4), size=(0, 0))
    assert read_boxes("a", file, file).size is None
