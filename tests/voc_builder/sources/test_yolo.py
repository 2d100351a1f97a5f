"""YOLO's text files become masks, in each of its layouts, and wrong rows are named by line."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.voc_builder.folders import built, rules, sizes, write_image
from voc_builder.base.errors import UserError
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import choose_source, files_of, find_samples
from voc_builder.sources.outlines import ObjectSample
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
    dataset = built(folder)
    assert dataset.classes == ("__background__", "pipe", "hole")
    assert sizes(dataset) == tuple(COUNTS.values())
    assert all(image.startswith(name) for name, ids in dataset.splits.items() for image in ids)
    assert dataset.pixels["val"]["pipe"] == 12  # a box of 4 x 3 on one of two, the other is empty
    assert [rule for _, _, rule, _ in rules(folder)] == ["class-unused"]
    suffixes = {path.suffix for path in files_of(folder, SourceConfig())}
    assert {".jpg", ".txt"} <= suffixes


def test_one_folder_for_two_splits_is_split_anew(tmp_path: Path) -> None:
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


def test_a_missing_folder_of_data_yaml_is_an_error(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "split first")
    (folder / "data.yaml").write_text(YAML % ("train/images", "val/images", "tset/images"))
    (problem,) = (one for one in found_in(folder).problems if one.severity == "error")
    assert problem.rule == "split-missing" and "'tset/images'" in problem.value


fractions = st.integers(0, 32).map(lambda n: n / 32)


@given(fractions, fractions, fractions, fractions)
def test_a_row_paints_the_pixels_whose_centres_are_inside(
    x: float, y: float, width: float, height: float
) -> None:
    left, right, top, bottom = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    columns = [left * 8 <= column + 0.5 < right * 8 for column in range(8)]
    rows = [top * 6 <= row + 0.5 < bottom * 6 for row in range(6)]
    expected = np.outer(rows, columns) * np.uint8(2)
    if min(width, height) > 0:
        np.testing.assert_array_equal(drawn(f"1 {x} {y} {width} {height}"), expected)
        if min(left, top) >= 0 and max(right, bottom) <= 1:
            polygon = f"1 {left} {top} {right} {top} {right} {bottom} {left} {bottom}"
            np.testing.assert_array_equal(drawn(polygon), expected)


def drawn(text: str) -> np.ndarray:
    with TemporaryDirectory() as folder:
        sample = read(Path(folder), text)
    assert not sample.unread
    return sample.draw_mask(["background", *NAMES], 6, 8)


def read(folder: Path, text: str) -> ObjectSample:
    (folder / "a.txt").write_text(text)
    return read_labels("a", folder / "a.jpg", folder / "a.txt", NAMES)


def test_wrong_rows_are_named_by_line(tmp_path: Path) -> None:
    rows = ["0 .5 .5 .5 .5", "", "2 .5 .5 .5 .5", "0 .5 .5", "x .5 .5 .5 .5", "0 .5 .5 .5 5"]
    rows += ["0 .5 .5 0 .5", "1 .1 .1 .2 .2 .3", "0.5 .5 .5 .5 .5", "0 nan .5 .5 .5"]
    sample = read(tmp_path, "\n".join(rows))
    assert len(sample.objects) == 1
    assert {problem.rule for problem in sample.unread} == {"label-row"}
    lines = [problem.value.partition(": ")[0] for problem in sample.unread]
    assert lines == [f"line {n}, {rows[n - 1]!r}" for n in range(3, 11)]


def test_a_box_beyond_the_edge_is_named_by_line(tmp_path: Path) -> None:
    sample = read(tmp_path, "\n0 0.9 0.5 0.8 0.5\n")
    (problem,) = sample.problems(["background", *NAMES], (600, 800))
    assert (problem.severity, problem.rule) == ("warning", "outside")
    assert problem.value.startswith("line 2 ('pipe')") and "(1040, 450)" in problem.value


def test_a_background_among_the_names_is_class_0(tmp_path: Path) -> None:
    folder = laid_out(tmp_path / "pipes", "images and labels")
    (folder / "classes.txt").write_text("pipe\nbackground\n")
    assert found_in(folder).classes == ("background", "pipe")
    (folder / "classes.txt").unlink()
    with pytest.raises(UserError, match=r"no class names.*data\.yaml.*--classes"):
        found_in(folder)
