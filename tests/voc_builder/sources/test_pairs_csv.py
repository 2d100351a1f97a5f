"""A table pairs images and masks, and says group and split."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.voc_builder.folders import write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.cache import build_cached
from voc_builder.check import CheckConfig, check
from voc_builder.tree.voc import Dataset


def table(root: Path, rows: list[str], header: str = "image,mask,group,split") -> Path:
    for number in range(12):
        write_image(root / f"photos/{number:02d}.jpg")
        write_mask(root / f"painted/{number:02d}.png", [0, 1])
    (root / "sets").mkdir()
    (root / "sets/pairs.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8-sig")
    return root / "sets/pairs.csv"


def row(number: int, group: str = "", split: str = "") -> str:
    return f"../photos/{number:02d}.jpg,../painted/{number:02d}.png,{group},{split}"


def built(file: Path, **settings: object) -> Dataset:
    out = file.parent.parent / "out"
    return build(BuildConfig(file, out, records=False, **settings))  # type: ignore[arg-type]


def test_rows_keep_their_split_and_name_the_classes_of_two_values(tmp_path: Path) -> None:
    splits = ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
    file = table(tmp_path, [row(number, "", split) for number, split in enumerate(splits)])
    dataset = built(file)
    assert dataset.classes == ("background", "object")
    assert dataset.splits["val"] == ("08", "09") and dataset.splits["test"] == ("10", "11")


def test_rows_of_a_group_stay_together(tmp_path: Path) -> None:
    file = table(tmp_path, [row(number, f"g{number // 3}") for number in range(12)])
    dataset = built(file, split="50/25/25")
    homes = [{int(image) // 3 for image in ids} for ids in dataset.splits.values()]
    assert sorted(map(len, homes)) == [1, 1, 2] and len(set.union(*homes)) == 4


def test_a_mask_of_several_rows_keeps_them_together(tmp_path: Path) -> None:
    rows = [f"../photos/{n:02d}.jpg,../painted/{n // 2:02d}.png" for n in range(12)]
    dataset = built(table(tmp_path, rows, "image,mask"), split="50/50/0")
    assert {int(image) // 2 for image in dataset.splits["train"]}.isdisjoint(
        int(image) // 2 for image in dataset.splits["val"]
    )


def test_all_that_is_wrong_is_named_by_its_line(tmp_path: Path) -> None:
    rows = [row(number, "", "train") for number in range(8)]
    rows += [row(8, "", "val"), row(8, "", "test"), row(9, "", "vel"), row(10), row(99, "", "test")]
    rows += ["../photos/11.jpg,,,train", ",../painted/11.png,,train"]
    rows += [row(0, "", "train").replace("00.png", "05.png")]
    file = table(tmp_path, rows)
    found, count = check(CheckConfig(file))
    assert count == 9
    assert [str(problem).partition(": ")[2].partition(": ")[0] for problem in found] == [
        "it has 2 masks",
        "it is in several splits",
        "an image without mask",
        *["line 14", "line 16", "line 12", "line 13"],
    ]
    with pytest.raises(UserError, match=r"(?s)line 14: image '../photos/99.jpg' and mask .*not th"):
        built(file)


def test_a_table_of_wrong_rows_alone_names_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 2: image '\.\./photos/50\.jpg' and mask"):
        built(table(tmp_path, [row(50)]))
    with pytest.raises(UserError, match="no column mask: the first line must be image,mask"):
        built(table(tmp_path / "b", ["a.jpg,a.png"], "image,label"))


def test_the_tables_of_a_built_set_are_such_tables(tmp_path: Path) -> None:
    first = built(table(tmp_path, [row(number) for number in range(12)]))
    again = build(
        BuildConfig(first.path / "train.csv", tmp_path / "again", records=False, split="50/25/25")
    )
    assert sum(map(len, again.splits.values())) == len(first.splits["train"])


def test_a_cached_set_is_built_again_for_another_mask_or_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voc_builder import cache

    made: list[Path] = []

    def without_records(config: BuildConfig, **_: bool) -> Dataset:
        made.append(config.out)
        return build(BuildConfig(config.folder, config.out, records=False))

    monkeypatch.setattr(cache, "build", without_records)
    file = table(tmp_path, [row(number) for number in range(12)])
    build_cached(BuildConfig(file, tmp_path / "sets-of-data"))
    build_cached(BuildConfig(file, tmp_path / "sets-of-data"))
    assert len(made) == 1 and made[0].name.startswith("pairs-")
    write_mask(tmp_path / "painted/03.png", [1])
    build_cached(BuildConfig(file, tmp_path / "sets-of-data"))
    file.write_text(file.read_text() + "\n")
    build_cached(BuildConfig(file, tmp_path / "sets-of-data"))
    assert len(set(made)) == 3
