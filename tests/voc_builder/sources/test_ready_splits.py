"""A ready-made split is kept, and all its problems are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.voc_builder.folders import (
    SHARED,
    about,
    built,
    image_bytes,
    needs_shared,
    rules,
    sizes,
    square,
    write_annotated,
    write_image,
    write_mask,
)
from voc_builder.__main__ import main
from voc_builder.base.errors import UserError

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


VALUES = "2=background,1=pet,3=void"


@pytest.mark.parametrize("places", [SUFFIXED, INSIDE, BELOW], ids=["suffix", "inside", "below"])
def test_folders_of_a_ready_made_split_are_kept(
    tmp_path: Path, places: Places, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = built(split_folders(tmp_path / "people", places))
    has_test = places["test"][1] is not None
    assert sizes(dataset) == (6, 2, 3 if has_test else 0)
    for name, ids in dataset.splits.items():
        assert all(image.startswith(name) for image in ids)
    assert ("left out 3 test images" in capsys.readouterr().err) != has_test
    said = about(dataset)
    assert (said["split"], said["source"]) == ("ready-made", "masks")
    assert rules(tmp_path / "people") == []


def test_labelme_files_in_the_folders_of_splits_keep_them(tmp_path: Path) -> None:
    for split, count in COUNTS.items():
        for number in range(count):
            write_annotated(tmp_path / f"chips/{split}/{split}{number}.json", [square("chip")])
    assert sizes(built(tmp_path / "chips")) == (6, 2, 3)
    write_annotated(tmp_path / "chips/more.json")
    assert sizes(built(tmp_path / "chips", overwrite=True)) == (10, 1, 1)


def test_a_split_that_is_asked_for_is_drawn_anew(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    assert sizes(built(folder, split="50/25/25")) == (4, 2, 2)


def test_images_of_a_test_without_masks_are_not_taken_as_empty(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    write_image(folder / "train/bare.jpg")
    assert sizes(built(folder, unlabelled="background")) == (7, 2, 0)


def test_a_train_alone_is_no_split_to_be_kept(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", {**SUFFIXED, "val": ("valid", None)})
    assert sizes(built(folder)) == (4, 1, 1)


def test_val_is_drawn_from_train_by_groups_if_there_is_only_a_test(tmp_path: Path) -> None:
    lists = {
        "annotations/trainval.txt": lines(range(8), " 1 1 1"),
        "annotations/test.txt": lines(range(8, 10)),
    }
    folder = listed(tmp_path / "pets", lists)
    dataset = built(folder, mask_values=VALUES, group_by="^0[0-3]")
    assert dataset.classes == ("background", "pet")
    assert dataset.splits["test"] == ("08", "09")
    assert sizes(dataset) == (7, 1, 2)
    assert dataset.pixels["test"]["__ignore__"] > 0
    again = built(folder, mask_values=VALUES, seed=1, overwrite=True)
    assert {*again.splits["train"], *again.splits["val"]} == {f"{n:02d}" for n in range(8)}


def test_images_that_no_list_names_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = {
        "ImageSets/Segmentation/train.txt": lines(range(8)),
        "ImageSets/Segmentation/val.txt": lines(range(8, 10)),
    }
    folder = listed(tmp_path / "voc", lists, "SegmentationClass")
    (folder / "images").rename(folder / "JPEGImages")
    assert sizes(built(folder, mask_values=VALUES)) == (8, 2, 0)
    assert "left out 2 images" in capsys.readouterr().err


def test_all_that_is_wrong_with_lists_is_named(tmp_path: Path) -> None:
    lists = {"train.txt": lines(range(9)) + "99\n98\n", "val.txt": "images/08.jpg\n09\n97.jpg\n"}
    folder = listed(tmp_path / "pets", lists)
    assert rules(folder, mask_values=VALUES) == [
        ("08.jpg", "error", "two-splits", None),
        ("train.txt", "error", "split-missing", None),
        ("train.txt", "error", "split-missing", None),
        ("val.txt", "error", "split-missing", None),
    ]
    with pytest.raises(UserError, match=r"line 9 of train\.txt, line 1 of val\.txt") as caught:
        built(folder, mask_values=VALUES)
    assert "line 10 names '99'" in str(caught.value)
    assert sizes(built(folder, mask_values=VALUES, skip_bad=True)) == (8, 1, 0)


def test_a_group_that_the_split_divides_is_a_warning_and_stays_divided(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    (folder / "valid/val0.jpg").write_bytes((folder / "train/train0.jpg").read_bytes())
    found = [one for one in rules(folder, group_by="(1)") if one[2] == "group-cut"]
    names = ("train0.jpg", "train1.jpg")
    assert found == [(name, "warning", "group-cut", None) for name in names]
    dataset = built(folder, group_by="(1)")
    assert sizes(dataset) == (6, 2, 0)
    assert about(dataset)["groups_in_two_splits"] == ["train0", "train1"]


def test_folds_are_drawn_over_a_ready_made_train_and_val(tmp_path: Path) -> None:
    dataset = built(split_folders(tmp_path / "people", INSIDE), folds=4)
    assert sizes(dataset) == (6, 2, 3) and dataset.folds == 4


def test_hidden_files_of_another_system_are_no_masks(tmp_path: Path) -> None:
    folder = split_folders(tmp_path / "people", SUFFIXED)
    (folder / "train_mask/._train0.png").write_bytes(b"dirt")
    (folder / "train/._train0.jpg").write_bytes(image_bytes()[:50])
    assert rules(folder) == []


@pytest.mark.slow
@needs_shared
def test_people_keep_their_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(SHARED / "person"), "--source", "masks"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "460 annotations: 0 errors and 0 warnings in 0 files\n"
    assert "left out 30 test images" in captured.err
