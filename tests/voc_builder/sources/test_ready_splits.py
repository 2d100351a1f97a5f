"""The split that images come with is kept, and what is wrong with it is all named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.voc_builder.folders import (
    SHARED,
    image_bytes,
    square,
    write_annotated,
    write_image,
    write_mask,
)
from voc_builder.__main__ import main
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.check import CheckConfig, check
from voc_builder.tree.voc import Dataset

Places = dict[str, tuple[str, str | None]]  # folders of images and of masks, by split
SUFFIXED: Places = {
    "train": ("train", "train_mask"),
    "val": ("valid", "valid_mask"),
    "test": ("test", None),
}
INSIDE: Places = {
    "train": ("Train/images", "Train/masks"),
    "val": ("val/images", "val/masks"),
    "test": ("test/images", "test/masks"),
}
BELOW: Places = {
    "train": ("images/train", "masks/train"),
    "val": ("images/val", "masks/val"),
    "test": ("images/test", None),
}
COUNTS = {"train": 6, "val": 2, "test": 3}


def split_folders(root: Path, places: Places) -> Path:
    for split, (images, masks) in places.items():
        for number in range(COUNTS[split]):
            write_image(root / images / f"{split}{number}.jpg")
            if masks is not None:
                write_mask(root / masks / f"{split}{number}.png", [0, 255])
    return root


def listed(root: Path, lists: dict[str, str], masks: str = "annotations/trimaps") -> Path:
    """Twelve images and masks, and lists by their path."""
    for number in range(12):
        write_image(root / f"images/{number:02d}.jpg")
        write_mask(root / masks / f"{number:02d}.png", [1, 2, 3] if number % 2 else [2, 3])
    for name, text in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def lines(numbers: range, more: str = "") -> str:
    return "".join(f"{number:02d}{more}\n" for number in numbers)


def built(folder: Path, **settings: Any) -> Dataset:
    return build(BuildConfig(folder, folder.parent / "out", **{"records": False, **settings}))


def sizes(dataset: Dataset) -> dict[str, int]:
    return {name: len(ids) for name, ids in dataset.splits.items()}


def rules(folder: Path, **settings: Any) -> list[tuple[str, str, str]]:
    found, _ = check(CheckConfig(folder, **settings))
    return [(problem.file.name, problem.severity, problem.rule) for problem in found]


@pytest.mark.parametrize("places", [SUFFIXED, INSIDE, BELOW], ids=["suffix", "inside", "below"])
def test_folders_of_a_ready_made_split_are_kept(
    tmp_path: Path, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = built(split_folders(tmp_path / "people", places))
    has_test = places["test"][1] is not None
    assert sizes(dataset) == {**COUNTS, "test": 3 if has_test else 0}
    for name, ids in dataset.splits.items():
        assert all(image.startswith(name) for image in ids)
    said = capsys.readouterr().err
    assert ("left out 3 test images, none of which has a mask" in said) != has_test
    about = json.loads((dataset.path / "dataset.json").read_text())
    assert (about["split"], about["source"]) == ("ready-made", "masks")
    assert rules(tmp_path / "people") == []


def test_labelme_files_in_the_folders_of_splits_keep_them(tmp_path: Path) -> None:
    for split, count in COUNTS.items():
        for number in range(count):
            write_annotated(tmp_path / f"chips/{split}/{split}{number}.json", [square("chip")])
    assert sizes(built(tmp_path / "chips")) == COUNTS
    write_annotated(tmp_path / "chips/more.json")
    assert sizes(built(tmp_path / "chips", overwrite=True)) == {"train": 10, "val": 1, "test": 1}


def test_a_split_that_is_asked_for_is_drawn_anew(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    assert sizes(built(folder, split="50/25/25")) == {"train": 4, "val": 2, "test": 2}


def test_images_of_a_test_without_masks_are_not_taken_as_empty(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    write_image(folder / "train/bare.jpg")
    dataset = built(folder, unlabelled="background")
    assert sizes(dataset) == {"train": 7, "val": 2, "test": 0}


def test_a_train_alone_is_no_split_to_be_kept(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", {**SUFFIXED, "val": ("valid", None)})
    assert sizes(built(folder, split=None)) == {"train": 4, "val": 1, "test": 1}


def test_val_is_drawn_from_train_by_groups_where_there_is_a_test_alone(tmp_path: Path) -> None:
    lists = {
        "annotations/trainval.txt": lines(range(8), " 1 1 1"),
        "annotations/test.txt": lines(range(8, 10)),
    }
    folder = listed(tmp_path / "pets", lists)
    values = "2=background,1=pet,3=void"
    dataset = built(folder, mask_values=values, group_by="^0[0-3]")
    assert dataset.classes == ("background", "pet")
    assert dataset.splits["test"] == ("08", "09")
    assert sizes(dataset) == {"train": 7, "val": 1, "test": 2}
    again = built(folder, mask_values=values, seed=1, overwrite=True)
    assert {*again.splits["train"], *again.splits["val"]} == {f"{n:02d}" for n in range(8)}
    assert dataset.pixels["test"]["__ignore__"] > 0


def test_images_that_no_list_names_are_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = {
        "ImageSets/Segmentation/train.txt": lines(range(8)),
        "ImageSets/Segmentation/val.txt": lines(range(8, 10)),
    }
    folder = listed(tmp_path / "voc", lists, "SegmentationClass")
    (folder / "images").rename(folder / "JPEGImages")
    dataset = built(folder, mask_values="2=background,1=pet,3=void")
    assert sizes(dataset) == {"train": 8, "val": 2, "test": 0}
    assert "left out 2 images that are in no split" in capsys.readouterr().err


def test_all_that_is_wrong_with_lists_is_named(tmp_path: Path) -> None:
    lists = {"train.txt": lines(range(9)) + "99\n98\n", "val.txt": "images/08.jpg\n09\n97.jpg\n"}
    folder = listed(tmp_path / "pets", lists)
    values = "2=background,1=pet,3=void"
    assert rules(folder, mask_values=values) == [
        ("08.jpg", "error", "two-splits"),
        ("train.txt", "error", "split-missing"),
        ("train.txt", "error", "split-missing"),
        ("val.txt", "error", "split-missing"),
    ]
    with pytest.raises(UserError) as caught:
        built(folder, mask_values=values)
    said = str(caught.value)
    assert "line 10 names '99', which is no image in" in said
    assert (
        "it is in several splits: line 9 of train.txt, line 1 of val.txt: leave it in one" in said
    )
    assert sizes(built(folder, mask_values=values, skip_bad=True)) == {
        "train": 8,
        "val": 1,
        "test": 0,
    }


def test_a_group_that_the_split_cuts_is_a_warning_and_stays_cut(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    (folder / "valid/val0.jpg").write_bytes((folder / "train/train0.jpg").read_bytes())
    found, _ = check(CheckConfig(folder, group_by="(1)"))
    assert [str(one) for one in found if one.rule == "group-cut"] == [
        "warning: images that belong together are in train (train0) and val (val0): move them into "
        "one, or draw another split with --split 80/10/10 [group-cut]",
        "warning: images that belong together are in train (train1) and val (val1): move them into "
        "one, or draw another split with --split 80/10/10 [group-cut]",
    ]
    dataset = built(folder, group_by="(1)")
    assert sizes(dataset) == {"train": 6, "val": 2, "test": 0}
    about = json.loads((dataset.path / "dataset.json").read_text())
    assert about["groups_in_two_splits"] == ["train0", "train1"]


def test_folds_are_drawn_over_a_ready_made_train_and_val(tmp_path: Path) -> None:
    dataset = built(split_folders(tmp_path / "people", INSIDE), folds=4)
    assert sizes(dataset) == COUNTS and dataset.folds == 4


def test_hidden_files_of_another_system_are_no_masks(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    (folder / "train_mask/._train0.png").write_bytes(b"dirt")
    (folder / "train/._train0.jpg").write_bytes(image_bytes()[:50])
    assert rules(folder) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_people_keep_their_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SHARED / "person"), "--source", "masks"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "460 annotations: 0 errors and 0 warnings in 0 files\n"
    assert "left out 30 test images" in captured.err
