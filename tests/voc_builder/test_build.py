"""A folder of annotated images becomes a whole tree or nothing."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.voc_builder.folders import (
    SHARED,
    chips,
    image_bytes,
    square,
    tree_bytes,
    write_annotated,
    write_image,
    write_json,
    write_mask,
)
from voc_builder import build as build_module
from voc_builder import convert
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.tree import tfrecord
from voc_builder.tree.voc import Dataset, read_dataset

SETS = ("train", "val")


def built(folder: Path, out: Path, **settings: Any) -> Dataset:
    return build(BuildConfig(folder, out, **{"records": False, **settings}))


def about(dataset: Dataset) -> dict[str, Any]:
    return json.loads((dataset.path / "dataset.json").read_text(encoding="utf-8"))


def read_mask(dataset: Dataset, image_id: str) -> Any:
    with Image.open(dataset.mask(image_id)) as image:
        return np.array(image)


def test_a_tree_holds_images_masks_lists_and_counts(tmp_path: Path) -> None:
    dataset = built(chips(tmp_path / "chips"), tmp_path / "out")
    assert dataset == read_dataset(tmp_path / "out")
    assert dataset.classes == ("__background__", "chip", "defect")
    assert {name: len(ids) for name, ids in dataset.splits.items()} == {
        "train": 16,
        "val": 2,
        "test": 2,
    }
    assert dataset.image("bad000").read_bytes() == (tmp_path / "chips/bad000.jpg").read_bytes()
    expected = np.zeros((6, 8), np.uint8)
    expected[:5, :5], expected[:3, :3] = 1, 2
    np.testing.assert_array_equal(read_mask(dataset, "bad000"), expected)
    total = Counter[str]()
    for counts in dataset.pixels.values():
        total.update(counts)
    assert total == {"__background__": 585, "chip": 10 * 25 + 5 * 16, "defect": 45, "__ignore__": 0}
    assert sum(counts["defect"] for counts in dataset.images.values()) == 5


def test_lists_and_tables_name_the_same_images(tmp_path: Path) -> None:
    dataset = built(chips(tmp_path / "chips"), tmp_path / "out")
    lists = dataset.path / "ImageSets/Segmentation"
    for name, ids in dataset.splits.items():
        with (dataset.path / f"{name}.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["image"] for row in rows] == [f"JPEGImages/{image}.jpg" for image in ids]
        assert all((dataset.path / path).is_file() for row in rows for path in row.values())
        assert (lists / f"{name}.txt").read_text().split() == list(ids)
    both = {*dataset.splits["train"], *dataset.splits["val"]}
    assert (lists / "trainval.txt").read_text().split() == sorted(both)
    assert (dataset.path / "class_names.txt").read_text() == "__background__\nchip\ndefect\n"


def test_the_same_input_is_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    chips(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two/elsewhere")
    write_annotated(tmp_path / "one/twin.json", [square("chip")], seed=1)
    write_annotated(tmp_path / "one/twin2.json", [square("chip")], seed=1)
    shutil.copytree(tmp_path / "one", tmp_path / "two/elsewhere", dirs_exist_ok=True)
    first = built(tmp_path / "one", tmp_path / "a", workers=1, visualize=True)
    second = built(tmp_path / "two/elsewhere", tmp_path / "b", workers=7, visualize=True)
    assert tree_bytes(first.path) == tree_bytes(second.path)
    assert first.sha256 == second.sha256


def test_a_changed_mask_image_or_split_changes_the_digest(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    digests = {built(folder, tmp_path / "a").sha256, built(folder, tmp_path / "b", seed=1).sha256}
    write_json(folder / "clean000.json", [square("chip", 2)])
    digests.add(built(folder, tmp_path / "c").sha256)
    (folder / "clean000.jpg").write_bytes(image_bytes(99))
    digests.add(built(folder, tmp_path / "d").sha256)
    assert len(digests) == 4


def test_equal_images_and_matching_ids_stay_in_one_split(tmp_path: Path) -> None:
    folder = tmp_path / "chips"
    for number in range(30):
        for date in (1, 2, 3):
            write_annotated(folder / f"{number:02d}_{date}.json", [square("chip")])
    (folder / "00_1.jpg").write_bytes((folder / "01_1.jpg").read_bytes())
    dataset = built(folder, tmp_path / "out", group_by=r"^(\d+)_")
    homes = {name: {image[:2] for image in ids} for name, ids in dataset.splits.items()}
    assert sum(map(len, homes.values())) == 30
    said = about(dataset)
    assert said["groups_in_two_splits"] == []
    assert len(said["groups"]) == 29
    (joined,) = said["groups"]["00_1"].values()
    assert joined == ["00_1", "00_2", "00_3", "01_1", "01_2", "01_3"]
    assert (
        said["annotations"]["05_1"]
        == hashlib.sha256((folder / "05_1.json").read_bytes()).hexdigest()
    )


@pytest.mark.parametrize("split", ["80/10/10", "80/0/20", "100/0/0", "0.1/99.9/0"])
def test_folds_hold_every_image_of_train_and_val_once(tmp_path: Path, split: str) -> None:
    folder = chips(tmp_path / "chips", defective=8)
    dataset = built(folder, tmp_path / "out", split=split, folds=5)
    kept = {*dataset.splits["train"], *dataset.splits["val"]}
    lists = dataset.path / "ImageSets/Segmentation"
    seen: list[str] = []
    for number in range(1, 6):
        train, val = (
            (lists / f"fold_{number}_{name}.txt").read_text().split() for name in ("train", "val")
        )
        assert train == sorted(kept - {*val}) and val == sorted(val)
        seen += val
    assert sorted(seen) == sorted(kept)
    for counts in about(dataset)["folds"]["images"].values():
        assert counts["chip"] and counts["defect"]


def test_folds_change_nothing_else_and_are_the_same_bytes_again(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    plain = built(folder, tmp_path / "plain")
    one = built(folder, tmp_path / "one", folds=4, workers=1)
    two = built(folder, tmp_path / "two", folds=4, workers=7)
    assert tree_bytes(one.path) == tree_bytes(two.path)
    before, after = tree_bytes(plain.path), tree_bytes(one.path)
    assert {name for name in after if before.get(name) != after[name]} == {
        "dataset.json",
        *(f"ImageSets/Segmentation/fold_{n}_{name}.txt" for n in range(1, 5) for name in SETS),
    }
    assert len({plain.sha256, one.sha256, built(folder, tmp_path / "c", folds=3).sha256}) == 3


def test_a_group_is_in_one_fold_and_dataset_json_proves_it(tmp_path: Path) -> None:
    folder = tmp_path / "chips"
    for number in range(12):
        for date in (1, 2, 3):
            write_annotated(folder / f"{number:02d}_{date}.json", [square("chip")])
    dataset = built(folder, tmp_path / "out", group_by=r"^(\d+)_", folds=3, split="75/0/25")
    said = about(dataset)["folds"]
    assert said["count"] == 3 and said["groups_in_two_folds"] == []
    assert len(said["groups"]) == 9
    assert all(len(ids) == 3 for where in said["groups"].values() for ids in where.values())
    assert [said["images"][f"fold_{n}_val"]["chip"] for n in (1, 2, 3)] == [9, 9, 9]
    with pytest.raises(UserError, match="--folds 10: train and val have 9 images or groups"):
        built(folder, tmp_path / "more", group_by=r"^(\d+)_", folds=10, split="75/0/25")


def test_a_class_that_a_fold_lacks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chips(tmp_path / "chips", defective=2)
    built(folder, tmp_path / "out", folds=3, split="100/0/0")
    assert "class 'defect' has too few images: none in fold_" in capsys.readouterr().err


def test_errors_stop_the_build_and_all_are_named(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    (folder / "clean000.json").write_text("{")
    (folder / "clean001.jpg").unlink()
    (folder / "clean002.jpg").write_bytes(image_bytes()[:-20])
    write_json(folder / "clean003.json", [square("chipp")])
    write_json(folder / "clean004.json", imageHeight=7)
    with pytest.raises(UserError) as caught:
        built(folder, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("5 errors; mend them, or leave out the files with --skip-bad:")
    for number, rule in enumerate(
        ["json-unreadable", "photo-missing", "photo-unreadable", "label", "size"]
    ):
        (line,) = [line for line in lines if f"clean00{number}.json" in line]
        assert line.endswith(f"[{rule}]")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chips"]


def test_skip_bad_leaves_them_out_and_lists_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chips(tmp_path / "chips")
    (folder / "clean000.json").write_text("{")
    (folder / "clean002.jpg").write_bytes(image_bytes()[:-20])
    dataset = built(folder, tmp_path / "out", skip_bad=True)
    assert sum(map(len, dataset.splits.values())) == 18
    assert list(about(dataset)["left_out"]) == ["clean000.json", "clean002.json"]
    assert "left out 2 files with errors" in capsys.readouterr().err
    assert not dataset.image("clean002").exists()


def test_images_without_json_are_reported_or_taken_as_empty(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    (folder / "more.JPG").write_bytes(image_bytes(5))
    left_out = built(folder, tmp_path / "a")
    assert list(about(left_out)["warnings"]) == ["more.JPG"]
    taken = built(folder, tmp_path / "b", unlabelled="background")
    assert not read_mask(taken, "more").any()


def test_images_of_bad_annotations_are_never_taken_as_empty(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    (folder / "img").mkdir()
    for number in range(3):
        (folder / f"img/{number}.jpg").write_bytes(image_bytes(number))
    flawed = square("chip", points=[[0, 0], [1, 1]])
    write_json(folder / "a0.json", [flawed], imagePath="img/0.jpg")
    (folder / "1.json").write_text("{")
    dataset = built(folder, tmp_path / "out", skip_bad=True, unlabelled="background")
    ids = {image for split in dataset.splits.values() for image in split}
    assert ids & {"a0", "0", "1", "2"} == {"2"}
    assert list(about(dataset)["left_out"]) == ["1.json", "a0.json"]


def test_an_image_that_no_jpeg_can_hold_is_named(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    Image.new("L", (65_501, 1)).save(folder / "long.png")
    write_json(folder / "long.json", imagePath="long.png", imageHeight=1, imageWidth=65_501)
    with pytest.raises(UserError, match=r"long\.json: .* a JPEG ends at 65500 .*\[photo-large\]"):
        built(folder, tmp_path / "out")
    dataset = built(folder, tmp_path / "out", skip_bad=True)
    assert list(about(dataset)["left_out"]) == ["long.json"]


def test_an_unreadable_source_is_not_blamed_on_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = chips(tmp_path / "chips")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"chips: cannot be read \(Permission denied\)"):
        built(folder, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_is_told_from_tensorflow_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfrecord, "RECORDS", "full")

    def link(tree: Path, *_: Any) -> dict[str, Any]:
        (tree / "full").mkdir()
        (tree / "full/train").symlink_to("/dev/full")
        monkeypatch.setattr(tfrecord, "encode_example", lambda *_: bytes(1_000_000))
        tfrecord.write_shard(tree, None, ("train", ["a"]))
        return {}

    monkeypatch.setattr(build_module, "_fill", link)
    message = r"out: cannot be written \(No space left on device\): check .* the free space"
    with pytest.raises(UserError, match=message):
        built(chips(tmp_path / "chips"), tmp_path / "out")


def test_a_class_without_enough_images_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(chips(tmp_path / "chips", defective=1), tmp_path / "out")
    assert "class 'defect' has too few images: none in val and test" in capsys.readouterr().err


def test_classes_come_from_the_labels_where_no_file_names_them(tmp_path: Path) -> None:
    (chips(tmp_path / "chips") / "obj.names").unlink()
    assert built(tmp_path / "chips", tmp_path / "out").classes == (
        "__background__",
        "chip",
        "defect",
    )


def upright(seed: int = 0) -> Any:
    """An image that a JPEG keeps nearly as it is: 40 wide, 24 high, no two corners alike."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    return cv2.resize(corners, (40, 24), interpolation=cv2.INTER_LINEAR)


def encoded(pixels: Any, kind: str, mode: str | None = None, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(pixels: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    return encoded(np.rot90(pixels).copy(), "JPEG", exif=exif, quality=98, subsampling=0)


def sixteen_bits(pixels: Any) -> bytes:
    wide = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR).astype(np.uint16) * 257
    return cv2.imencode(".png", wide)[1].tobytes()


OTHERS = {
    "a.png": lambda pixels: encoded(pixels, "PNG"),
    "b.bmp": lambda pixels: encoded(pixels, "BMP"),
    "c.TIF": lambda pixels: encoded(pixels, "TIFF"),
    "d.png": lambda pixels: encoded(pixels, "PNG", "RGBA"),
    "e.png": sixteen_bits,
    "f.jpg": turned,
    "g.jpg": lambda pixels: encoded(pixels, "JPEG", "CMYK", quality=98),
}


def test_images_of_every_kind_become_upright_jpegs(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, (name, encode) in enumerate(OTHERS.items()):
        (folder / name).write_bytes(encode(upright(seed)))
        path = (folder / name).with_suffix(".json")
        write_json(path, [square("chip")], imagePath=name, imageHeight=24, imageWidth=40)
    dataset = built(folder, tmp_path / "out")
    for seed, name in enumerate(OTHERS):
        with Image.open(dataset.image(Path(name).stem)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 24))
            assert image.getexif().get(0x0112, 1) == 1
            assert image.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]  # colour not thinned
            difference = np.abs(np.asarray(image, int) - upright(seed))
        assert difference.mean() < 2, name


def test_jpegs_that_are_upright_keep_their_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    images = {
        "grey": encoded(upright()[:, :, 0].copy(), "JPEG"),
        "progressive": encoded(upright(1), "JPEG", progressive=True),
        "trailing": encoded(upright(2), "JPEG") + b"camera" * 50,
        "upright": encoded(upright(3), "JPEG", exif=Image.Exif()),
    }
    size = {"imageHeight": 24, "imageWidth": 40}
    for name, content in images.items():
        (folder / f"{name}.jpg").write_bytes(content)
        write_json(folder / f"{name}.json", [square("chip")], **size)
    inside = encoded(upright(4), "JPEG")
    data = base64.b64encode(inside).decode()
    write_json(folder / "inside.json", [square("chip")], imageData=data, **size)
    dataset = built(folder, tmp_path / "out")
    for name, content in {**images, "inside": inside}.items():
        assert dataset.image(name).read_bytes() == content


@pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError, OSError])
def test_an_interrupted_build_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    folder = chips(tmp_path / "chips")
    kept = built(folder, tmp_path / "out", seed=7)
    before = tree_bytes(kept.path)
    encode = convert.encode_mask

    def stopping(mask: Any) -> bytes:
        if mask.any() and mask[0, 0] == 2:
            raise stop("stopped")
        return encode(mask)

    monkeypatch.setattr(convert, "encode_mask", stopping)
    with pytest.raises(UserError if stop is OSError else stop):
        built(folder, tmp_path / "out", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chips", "out"]
    assert tree_bytes(kept.path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": Path("none")}, "no such folder"),
        (
            {"out": Path("chips/out")},
            "would lie inside .*: choose a place outside it",
        ),
        (
            {"out": Path("chips")},
            "would lie inside .*: choose a place outside it",
        ),
        ({"out": Path()}, "would lie inside .*: choose a place outside it"),
        ({"out": Path("taken")}, "exists already: choose another, or give --overwrite"),
        ({"out": Path("taken"), "overwrite": True}, "no data set, so it is not overwritten"),
        ({"split": "80/30/10"}, "--split takes three percentages"),
        ({"workers": 0}, "--workers takes a number from 1 on"),
        ({"folds": 1}, "--folds takes 0 or a number from 2 on. Received: 1"),
        ({"folds": -2}, "--folds takes 0 or a number from 2 on. Received: -2"),
        ({"folds": 21, "split": "100/0/0"}, "--folds 21: train and val have 20 images or groups"),
        ({"shards": 0}, "--shards takes a number from 1 on"),
        ({"record_size": -1}, "--record-size takes a number from 1 on"),
        ({"group_by": "("}, "--group-by is no regular expression"),
        ({"classes": Path("none.txt")}, "cannot be read as a list of class names"),
    ],
)
def test_wrong_use_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    chips(tmp_path / "chips")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/thesis.txt").touch()
    config = replace(BuildConfig(Path("chips"), Path("out"), records=False), **change)
    with pytest.raises(UserError, match=message) as caught:
        build(config)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "taken/thesis.txt").exists() and not (tmp_path / "out").exists()


def test_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    write_annotated(tmp_path / "photos/a.json")
    with pytest.raises(UserError, match="nothing to learn in it"):
        built(tmp_path / "photos", tmp_path / "out")


def test_brackets_that_found_nothing_are_no_key(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    dataset = built(folder, tmp_path / "out", group_by=r"(clean00[0-4])?(bad00\d)?$")
    groups = about(dataset)["groups"]
    assert {len(ids) for where in groups.values() for ids in where.values()} == {10}


@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_the_images_of_the_belt_are_split_within_one_of_their_shares(tmp_path: Path) -> None:
    dataset = built(SHARED / "fishki_labelme", tmp_path / "out")
    shares = dict(zip(("train", "val", "test"), (0.8, 0.1, 0.1), strict=True))
    for split, share in shares.items():
        images = dataset.images[split]
        kinds = {
            "empty": len(dataset.splits[split]) - images["fishka"],
            "clean": images["fishka"] - images["defect"],
            "defective": images["defect"],
        }
        for kind, total in {"empty": 28, "clean": 57, "defective": 28}.items():
            assert abs(kinds[kind] - share * total) < 1


def test_images_that_come_later_leave_the_others_where_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chips(tmp_path / "chips")
    before = build(BuildConfig(folder, tmp_path / "before", records=False, seed=7))
    renamed = folder / "renamed.json"
    first = before.splits["test"][0]
    (folder / f"{first}.json").rename(renamed)  # it names its image
    for number in range(20):
        write_annotated(folder / f"new{number:02d}.json", [square("chip")])
    capsys.readouterr()
    after = build(BuildConfig(folder, tmp_path / "after", records=False, split_from=before.path))
    assert "20 images stay as in" in capsys.readouterr().err
    assert "renamed" in after.splits["test"]
    for split, ids in before.splits.items():
        assert {*ids} - {first} <= {*after.splits[split]}
    assert [len(ids) for ids in after.splits.values()] == [32, 4, 4]
    about = json.loads((after.path / "dataset.json").read_text())
    assert about["split"] == f"80/10/10, as in {before.sha256[:10]} before"
    (before.path / "JPEGImages" / f"{before.splits['val'][0]}.jpg").unlink()
    with pytest.raises(UserError, match=r"\.jpg: cannot be read \(No such file or directory\)"):
        build(BuildConfig(folder, tmp_path / "again", records=False, split_from=before.path))


def test_a_split_is_taken_from_a_data_set_alone(tmp_path: Path) -> None:
    folder = chips(tmp_path / "chips")
    with pytest.raises(UserError, match=r"--split-from .*: no built data set .*: name another"):
        build(BuildConfig(folder, tmp_path / "out", split_from=folder))
    tree = built(folder, tmp_path / "tree").path
    for name in ("a", "b", "c"):
        write_annotated(tmp_path / f"others/{name}.json", [square("chip")])
    with pytest.raises(UserError, match="it holds none of these images"):
        built(tmp_path / "others", tmp_path / "out", split_from=tree)
    assert not (tmp_path / "out").exists()


def ready_made(folder: Path, **names: str) -> Path:
    for split, letters in names.items():
        for letter in letters:
            write_image(folder / split / f"{letter}.jpg")
            write_mask(folder / f"{split}_mask" / f"{letter}.png", [0, 1])
    return folder


def test_new_images_of_a_ready_made_split_go_where_they_lie(tmp_path: Path) -> None:
    folder = ready_made(tmp_path / "photos", train="abcd", val="ef", test="ag")
    before = built(folder, tmp_path / "before")
    ready_made(folder, val="hi", test="jklm")
    after = built(folder, tmp_path / "after", split_from=before.path)
    assert after.splits == {
        "train": ("b", "c", "d", "train_a"),  # as before, though test holds the same image
        "val": ("e", "f", "h", "i"),
        "test": ("g", "j", "k", "l", "m", "test_a"),
    }


def test_groups_that_an_earlier_split_cuts_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = chips(tmp_path / "chips")
    before = built(folder, tmp_path / "before", split="40/30/30")
    capsys.readouterr()
    after = built(folder, tmp_path / "after", split_from=before.path, group_by=r"\d+")
    assert after.splits == before.splits
    said = capsys.readouterr().err
    assert re.search(r"warning: \d+ groups, such as that of .*, lie in several splits, as", said)
