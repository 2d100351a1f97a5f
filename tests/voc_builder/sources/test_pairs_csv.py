"""A table pairs images and masks, and gives group and split."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.voc_builder.folders import built, sizes, write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig
from voc_builder.cache import build_cached
from voc_builder.check import CheckConfig, check
from voc_builder.tree.voc import Dataset


def table(root: Path, rows: list[str], header: str = "image,mask,group,split") -> Path:
    for number in range(12):
        write_image(root / f"images/{number:02d}.jpg")
        write_mask(root / f"painted/{number:02d}.png", [0, 1])
    (root / "sets").mkdir()
    (root / "sets/pairs.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return root / "sets/pairs.csv"


def row(number: int, group: str = "", split: str = "") -> str:
    return f"../images/{number:02d}.jpg,../painted/{number:02d}.png,{group},{split}"


def built_table(file: Path, **settings: object) -> Dataset:
    return built(file, file.parent.parent / "out", **settings)


def test_rows_keep_their_split_and_name_the_classes_of_two_values(tmp_path: Path) -> None:
    splits = ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
    file = table(tmp_path, [row(number, "", split) for number, split in enumerate(splits)])
    dataset = built_table(file)
    assert dataset.classes == ("background", "object")
    assert dataset.splits["val"] == ("08", "09") and dataset.splits["test"] == ("10", "11")


def test_rows_of_a_group_stay_together(tmp_path: Path) -> None:
    file = table(tmp_path, [row(number, f"g{number // 3}") for number in range(12)])
    dataset = built_table(file, split="50/25/25")
    homes = [{int(image) // 3 for image in ids} for ids in dataset.splits.values()]
    assert sorted(map(len, homes)) == [1, 1, 2] and len(set.union(*homes)) == 4


def test_a_mask_of_several_rows_keeps_them_together(tmp_path: Path) -> None:
    rows = [f"../images/{n:02d}.jpg,../painted/{n // 2:02d}.png" for n in range(12)]
    dataset = built_table(table(tmp_path, rows, "image,mask"), split="50/50/0")
    homes = [{int(image) // 2 for image in dataset.splits[name]} for name in ("train", "val")]
    assert homes[0].isdisjoint(homes[1])


def test_all_that_is_wrong_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [row(number, "", "train") for number in range(8)]
    rows += [row(8, "", "val"), row(8, "", "test"), row(9, "", "vel"), row(10), row(99, "", "test")]
    rows += ["../images/11.jpg,,,train", ",../painted/11.png,,train"]
    rows += [row(0, "", "train").replace("00.png", "05.png")]
    found, count = check(CheckConfig(table(tmp_path, rows)))
    assert count == 9
    named = [(one.file.name, one.rule, one.value[:7]) for one in found]
    assert named[:3] == [
        ("00.jpg", "two-masks", "it has "),
        ("08.jpg", "two-splits", "it is i"),
        ("11.jpg", "unlabelled", "an imag"),
    ]
    lines = [("pairs.csv", "row", f"line {number}") for number in (14, 16, 12, 13)]
    assert named[3:] == lines


def test_a_table_without_a_usable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: image '\.\./images/50\.jpg' and mask"):
        built_table(table(tmp_path, [row(50)]))
    with pytest.raises(UserError, match="no column mask"):
        built_table(table(tmp_path / "b", ["a.jpg,a.png"], "image,label"))


def test_the_tables_of_a_built_set_are_such_tables(tmp_path: Path) -> None:
    first = built_table(table(tmp_path, [row(number) for number in range(12)]))
    again = built(first.path / "train.csv", tmp_path / "again", split="50/25/25")
    assert sum(sizes(again)) == len(first.splits["train"])


def test_a_cached_set_is_built_again_for_another_mask_or_table(
    tmp_path: Path, builds: list[Path]
) -> None:
    config = BuildConfig(table(tmp_path, [row(n) for n in range(12)]), tmp_path / "datasets")
    build_cached(config)
    build_cached(config)
    assert len(builds) == 1 and builds[0].name.startswith("pairs-")
    write_mask(tmp_path / "painted/03.png", [1])
    build_cached(config)
    config.folder.write_text(config.folder.read_text() + "\n")
    build_cached(config)
    assert len(set(builds)) == 3
