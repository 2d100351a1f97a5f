"""YOLO's text files become masks, in each of its layouts, and wrong rows are told by their line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.voc_builder.folders import write_image
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.check import CheckConfig, check
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import choose_source, files_of, find_samples
from voc_builder.sources.sample import Found
from voc_builder.sources.yolo import read_labels

NAMES = ("pipe", "hole")
BOX = "0 0.5 0.5 0.5 0.5\n"
COUNTS = {"train": 6, "val": 2, "test": 2}
YAML = "names: {0: pipe, 1: hole}\ntrain: %s\nval: %s\ntest: %s\n"
# pattern of an image's path, pattern of its text file's, what else is there
LAYOUTS = {
    "images and labels": (
        "images/{split}/{name}.jpg",
        "labels/{split}/{name}.txt",
        {"classes.txt": "pipe\nhole\n"},
    ),
    "split first": (
        "{split}/images/{name}.jpg",
        "{split}/labels/{name}.txt",
        {"data.yaml": YAML % ("../train/images", "../val/images", "../test/images")},
    ),
    "yaml": (
        "pictures/{split}set/images/{name}.jpg",
        "pictures/{split}set/labels/{name}.txt",
        {
            "data.yaml": "path: pictures\n"
            + YAML % ("trainset/images", "[valset/images]", "testset/images")
        },
    ),
    "darknet": (
        "obj/{name}.jpg",
        "obj/{name}.txt",
        {
            "obj.names": "pipe\nhole\n",
            **{
                f"{split}.txt": "".join(f"data/obj/{split}{n}.jpg\n" for n in range(count))
                for split, count in COUNTS.items()
            },
        },
    ),
}


def laid_out(root: Path, layout: str) -> Path:
    image, label, more = LAYOUTS[layout]
    for split, count in COUNTS.items():
        for number in range(count):
            place = {"split": split, "name": f"{split}{number}"}
            write_image(root / image.format(**place))
            (root / label.format(**place)).parent.mkdir(parents=True, exist_ok=True)
            (root / label.format(**place)).write_text(BOX if number else "")
    for name, text in more.items():
        (root / name).write_text(text)
    return root


def found_in(folder: Path) -> Found:
    return find_samples(folder, SourceConfig(), empty=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_keeps_its_split(tmp_path: Path, layout: str) -> None:
    folder = laid_out(tmp_path / "pipes", layout)
    assert choose_source(folder, SourceConfig()) == "yolo"
    dataset = build(BuildConfig(folder, tmp_path / "out", records=False))
    assert dataset.classes == ("__background__", "pipe", "hole")
    assert {name: len(ids) for name, ids in dataset.splits.items()} == COUNTS
    assert all(image.startswith(name) for name, ids in dataset.splits.items() for image in ids)
    assert dataset.pixels["val"]["pipe"] == 12  # a box of 4 x 3 on one of two, the other is empty
    assert [p.rule for p in check(CheckConfig(folder))[0]] == ["class-unused"]
    suffixes = {path.suffix for path in files_of(folder, SourceConfig())}
    assert {".jpg", ".txt"} <= suffixes


def test_folders_of_one_split_for_two_are_drawn_anew(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "images and labels")
    for part in ("images", "labels"):
        for split in COUNTS:
            (folder / part / split).rename(folder / part / f"{split}2017")
    (folder / "data.yaml").write_text("names: [pipe, hole]\ntrain: images\nval: images\n")
    assert found_in(folder).splits == {}
    assert len(found_in(folder).samples) == 10


def test_a_missing_file_is_an_image_without_annotation(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "images and labels")
    (folder / "labels/train/train1.txt").unlink()
    found = found_in(folder)
    assert [problem.file.name for problem in found.unlabelled] == ["train1.jpg"]
    assert len(found.samples) == 9


def test_a_folder_that_data_yaml_names_but_is_not_there_is_an_error(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "split first")
    (folder / "data.yaml").write_text(YAML % ("train/images", "val/images", "tset/images"))
    (problem,) = (one for one in found_in(folder).problems if one.severity == "error")
    assert str(problem) == (
        "error: test names 'tset/images', which is no folder: put it there, or correct the entry "
        "[split-missing]"
    )


shares = st.integers(0, 32).map(lambda n: n / 32)


@given(shares, shares, shares, shares)
def test_a_row_of_a_box_paints_the_pixels_whose_middles_lie_in_it(
    x: float, y: float, width: float, height: float
) -> None:
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    row = f"1 {x} {y} {width} {height}"
    polygon = f"1 {left} {top} {right} {top} {right} {bottom} {left} {bottom}"
    columns = [left * 8 <= column + 0.5 < right * 8 for column in range(8)]
    rows = [top * 6 <= row + 0.5 < bottom * 6 for row in range(6)]
    expected = np.outer(rows, columns) * np.uint8(2)
    for text in (row, polygon):
        if min(width, height) == 0 or (text == polygon and not min(left, top) >= 0):
            continue
        if text == polygon and max(right, bottom) > 1:
            continue
        np.testing.assert_array_equal(drawn(text), expected)


def drawn(text: str) -> np.ndarray:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        file = Path(folder) / "a.txt"
        file.write_text(text)
        sample = read_labels("a", file, file, NAMES)
    assert not sample.wrong
    return sample.draw_mask(["background", *NAMES], 6, 8)


def test_wrong_rows_are_told_by_their_line(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    rows = ["0 .5 .5 .5 .5", "", "2 .5 .5 .5 .5", "0 .5 .5", "x .5 .5 .5 .5", "0 .5 .5 .5 5"]
    rows += ["0 .5 .5 0 .5", "1 .1 .1 .2 .2 .3", "0.5 .5 .5 .5 .5", "0 nan .5 .5 .5"]
    file.write_text("\n".join(rows))
    sample = read_labels("a", file, file, NAMES)
    assert len(sample.objects) == 1
    assert [problem.value for problem in sample.wrong] == [
        "line 3, '2 .5 .5 .5 .5': class 2 has no name, the 2 are counted from 0",
        "line 4, '0 .5 .5': 2 numbers, a polygon has 6 or more, x and y by turns",
        "line 5, 'x .5 .5 .5 .5': not numbers with spaces between them",
        "line 6, '0 .5 .5 .5 5': 5 does not lie between 0 and 1, as shares of the image do",
        "line 7, '0 .5 .5 0 .5': a box of width 0 and height 0.5",
        "line 8, '1 .1 .1 .2 .2 .3': 5 numbers, a polygon has 6 or more, x and y by turns",
        "line 9, '0.5 .5 .5 .5 .5': class 0.5 has no name, the 2 are counted from 0",
        "line 10, '0 nan .5 .5 .5': nan does not lie between 0 and 1, as shares of the image do",
    ]


def test_a_box_beyond_the_edge_is_told_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\n0 0.9 0.5 0.8 0.5\n")
    sample = read_labels("a", file, file, NAMES)
    (problem,) = sample.problems(["background", *NAMES], (600, 800))
    assert str(problem).startswith(
        "warning: line 2 ('pipe'): the box reaches from (400, 150) to (1040, 450), the image is "
    )


def test_a_background_among_the_names_is_class_0(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "images and labels")
    (folder / "classes.txt").write_text("pipe\nbackground\n")
    assert found_in(folder).classes == ("background", "pipe")


def test_without_names_the_cure_is_told(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "images and labels")
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"no class names: put data\.yaml with names into it"):
        found_in(folder)
