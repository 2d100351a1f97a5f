"""A folder of annotated images becomes a whole tree or nothing."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
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
    about,
    built,
    chips,
    image_bytes,
    needs_shared,
    read_mask,
    sizes,
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
from voc_builder.tree.voc import read_dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return chips(tmp_path / "chips")


def dated(folder: Path, places: int) -> Path:
    """Images of three dates of each place."""
    for number in range(places):
        for date in (1, 2, 3):
            write_annotated(folder / f"{number:02d}_{date}.json", [square("chip")])
    return folder


def test_a_tree_holds_images_masks_lists_and_counts(folder: Path) -> None:
    dataset = built(folder)
    assert dataset == read_dataset(dataset.path)
    assert dataset.classes == ("__background__", "chip", "defect")
    assert sizes(dataset) == (16, 2, 2)
    assert dataset.image("bad000").read_bytes() == (folder / "bad000.jpg").read_bytes()
    expected = np.zeros((6, 8), np.uint8)
    expected[:5, :5], expected[:3, :3] = 1, 2
    np.testing.assert_array_equal(read_mask(dataset.mask("bad000")), expected)
    total = Counter[str]()
    for counts in dataset.pixels.values():
        total.update(counts)
    assert total == {"__background__": 585, "chip": 10 * 25 + 5 * 16, "defect": 45, "__ignore__": 0}
    assert sum(counts["defect"] for counts in dataset.images.values()) == 5


def test_lists_and_tables_name_the_same_images(folder: Path) -> None:
    dataset = built(folder)
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


def test_the_same_input_is_the_same_bytes_with_any_number_of_workers(
    folder: Path, tmp_path: Path
) -> None:
    write_annotated(folder / "twin.json", [square("chip")], seed=1)
    write_annotated(folder / "twin2.json", [square("chip")], seed=1)
    shutil.copytree(folder, tmp_path / "two/elsewhere")
    first = built(folder, tmp_path / "a", workers=1, visualize=True, folds=4)
    second = built(tmp_path / "two/elsewhere", tmp_path / "b", workers=7, visualize=True, folds=4)
    assert tree_bytes(first.path) == tree_bytes(second.path)
    assert first.sha256 == second.sha256


def test_a_changed_mask_image_split_or_fold_changes_the_digest(
    folder: Path, tmp_path: Path
) -> None:
    digests = {
        built(folder, tmp_path / f"{number}", **settings).sha256
        for number, settings in enumerate([{}, {"seed": 1}, {"folds": 3}, {"folds": 4}])
    }
    write_json(folder / "clean000.json", [square("chip", 2)])
    digests.add(built(folder, tmp_path / "c").sha256)
    (folder / "clean000.jpg").write_bytes(image_bytes(99))
    digests.add(built(folder, tmp_path / "d").sha256)
    assert len(digests) == 6


def test_equal_images_and_matching_ids_stay_in_one_split(tmp_path: Path) -> None:
    folder = dated(tmp_path / "chips", 30)
    (folder / "00_1.jpg").write_bytes((folder / "01_1.jpg").read_bytes())
    dataset = built(folder, group_by=r"^(\d+)_")
    homes = {name: {image[:2] for image in ids} for name, ids in dataset.splits.items()}
    assert sum(map(len, homes.values())) == 30
    said = about(dataset)
    assert said["groups_in_two_splits"] == []
    assert len(said["groups"]) == 29
    (joined,) = said["groups"]["00_1"].values()
    assert joined == ["00_1", "00_2", "00_3", "01_1", "01_2", "01_3"]
    digest = hashlib.sha256((folder / "05_1.json").read_bytes()).hexdigest()
    assert said["annotations"]["05_1"] == digest


def test_groups_that_matched_nothing_are_no_key(folder: Path) -> None:
    groups = about(built(folder, group_by=r"(clean00[0-4])?(bad00\d)?$"))["groups"]
    assert {len(ids) for where in groups.values() for ids in where.values()} == {10}


@pytest.mark.parametrize("split", ["80/10/10", "80/0/20", "100/0/0", "0.1/99.9/0"])
def test_folds_hold_every_image_of_train_and_val_once(tmp_path: Path, split: str) -> None:
    dataset = built(chips(tmp_path / "chips", defective=8), split=split, folds=5)
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


def test_folds_change_nothing_else(folder: Path, tmp_path: Path) -> None:
    before = tree_bytes(built(folder, tmp_path / "plain").path)
    after = tree_bytes(built(folder, tmp_path / "one", folds=4).path)
    folds = (f"fold_{n}_{name}.txt" for n in range(1, 5) for name in ("train", "val"))
    assert {name for name in after if before.get(name) != after[name]} == {
        "dataset.json",
        *(f"ImageSets/Segmentation/{name}" for name in folds),
    }


def test_a_group_is_in_one_fold_and_dataset_json_proves_it(tmp_path: Path) -> None:
    folder = dated(tmp_path / "chips", 12)
    settings: dict[str, Any] = {"group_by": r"^(\d+)_", "split": "75/0/25"}
    said = about(built(folder, folds=3, **settings))["folds"]
    assert said["count"] == 3 and said["groups_in_two_folds"] == []
    assert len(said["groups"]) == 9
    assert all(len(ids) == 3 for where in said["groups"].values() for ids in where.values())
    assert [said["images"][f"fold_{n}_val"]["chip"] for n in (1, 2, 3)] == [9, 9, 9]
    with pytest.raises(UserError, match="--folds 10"):
        built(folder, tmp_path / "more", folds=10, **settings)


@pytest.mark.parametrize(
    ("settings", "lacking"), [({}, "val and test"), ({"folds": 3, "split": "100/0/0"}, "fold_")]
)
def test_a_class_that_a_split_or_fold_lacks_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], lacking: str
) -> None:
    built(chips(tmp_path / "chips", defective=1), **settings)
    assert re.search(f"'defect' .*: none in {lacking}", capsys.readouterr().err)


def test_errors_stop_the_build_and_all_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "clean000.json").write_text("{")
    (folder / "clean001.jpg").unlink()
    (folder / "clean002.jpg").write_bytes(image_bytes()[:-20])
    write_json(folder / "clean003.json", [square("chipp")])
    write_json(folder / "clean004.json", imageHeight=7)
    with pytest.raises(UserError, match=r"5 errors.* --skip-bad") as caught:
        built(folder)
    listed = sorted(re.findall(r"(\d\.json): .*\[(.*)\]", str(caught.value)))
    rules = ["json-unreadable", "photo-missing", "photo-unreadable", "label", "size"]
    assert listed == [(f"{number}.json", rule) for number, rule in enumerate(rules)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chips"]


def test_skip_bad_leaves_them_out_and_lists_them(folder: Path) -> None:
    (folder / "clean000.json").write_text("{")
    (folder / "clean002.jpg").write_bytes(image_bytes()[:-20])
    dataset = built(folder, skip_bad=True)
    assert sum(sizes(dataset)) == 18
    assert list(about(dataset)["left_out"]) == ["clean000.json", "clean002.json"]
    assert not dataset.image("clean002").exists()


def test_images_without_json_are_reported_or_taken_as_empty(folder: Path, tmp_path: Path) -> None:
    (folder / "more.JPG").write_bytes(image_bytes(5))
    assert list(about(built(folder, tmp_path / "a"))["warnings"]) == ["more.JPG"]
    taken = built(folder, tmp_path / "b", unlabelled="background")
    assert not read_mask(taken.mask("more")).any()


def test_images_of_bad_annotations_are_never_taken_as_empty(folder: Path) -> None:
    for number in range(3):
        write_image(folder / f"img/{number}.jpg")
    flawed = square("chip", points=[[0, 0], [1, 1]])
    write_json(folder / "a0.json", [flawed], imagePath="img/0.jpg")
    (folder / "1.json").write_text("{")
    dataset = built(folder, skip_bad=True, unlabelled="background")
    ids = {image for split in dataset.splits.values() for image in split}
    assert ids & {"a0", "0", "1", "2"} == {"2"}
    assert list(about(dataset)["left_out"]) == ["1.json", "a0.json"]


def test_an_image_that_no_jpeg_can_hold_is_named(folder: Path) -> None:
    Image.new("L", (65_501, 1)).save(folder / "long.png")
    write_json(folder / "long.json", imagePath="long.png", imageHeight=1, imageWidth=65_501)
    with pytest.raises(UserError, match=r"long\.json: .*\[photo-large\]"):
        built(folder)
    assert list(about(built(folder, skip_bad=True))["left_out"]) == ["long.json"]


def test_an_unreadable_source_is_not_blamed_on_the_output(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"chips: .*\(Permission denied\)"):
        built(folder)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_disk_that_is_full_is_named_by_tensorflow_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfrecord, "RECORDS", "full")

    def link(tree: Path, *_: Any) -> dict[str, Any]:
        (tree / "full").mkdir()
        (tree / "full/train").symlink_to("/dev/full")
        monkeypatch.setattr(tfrecord, "encode_example", lambda *_: bytes(1_000_000))
        tfrecord.write_shard(tree, None, ("train", ["a"]))
        return {}

    monkeypatch.setattr(build_module, "_fill", link)
    with pytest.raises(UserError, match=r"out: .*\(No space left on device\)"):
        built(folder)


def test_classes_come_from_the_labels_where_no_file_names_them(folder: Path) -> None:
    (folder / "obj.names").unlink()
    assert built(folder).classes == ("__background__", "chip", "defect")


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
SIZE = {"imageHeight": 24, "imageWidth": 40}


def test_images_of_every_kind_become_upright_jpegs(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed, (name, encode) in enumerate(OTHERS.items()):
        (folder / name).write_bytes(encode(upright(seed)))
        write_json((folder / name).with_suffix(".json"), [square("chip")], imagePath=name, **SIZE)
    dataset = built(folder)
    for seed, name in enumerate(OTHERS):
        with Image.open(dataset.image(Path(name).stem)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (40, 24))
            assert image.getexif().get(0x0112, 1) == 1
            assert image.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)]  # no subsampling
            difference = np.abs(np.asarray(image, int) - upright(seed))
        assert difference.mean() < 2, name


def test_jpegs_that_are_upright_keep_their_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    images = {
        "grey": encoded(upright()[:, :, 0].copy(), "JPEG"),
        "progressive": encoded(upright(1), "JPEG", progressive=True),
        "trailing": encoded(upright(2), "JPEG") + b"camera" * 50,
        "upright": encoded(upright(3), "JPEG", exif=Image.Exif()),
    }
    for name, content in images.items():
        (folder / f"{name}.jpg").write_bytes(content)
        write_json(folder / f"{name}.json", [square("chip")], **SIZE)
    inside = encoded(upright(4), "JPEG")
    data = base64.b64encode(inside).decode()
    write_json(folder / "inside.json", [square("chip")], imageData=data, **SIZE)
    dataset = built(folder)
    for name, content in {**images, "inside": inside}.items():
        assert dataset.image(name).read_bytes() == content


@pytest.mark.parametrize("stop", [KeyboardInterrupt, UserError, OSError])
def test_an_interrupted_build_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    kept = built(folder, seed=7)
    before = tree_bytes(kept.path)
    encode = convert.encode_mask

    def stopping(mask: Any) -> bytes:
        if mask.any() and mask[0, 0] == 2:
            raise stop("stopped")
        return encode(mask)

    monkeypatch.setattr(convert, "encode_mask", stopping)
    with pytest.raises(UserError if stop is OSError else stop):
        built(folder, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chips", "out"]
    assert tree_bytes(kept.path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": Path("none")}, "none: no such folder"),
        ({"out": Path("chips/out")}, "^chips/out: inside the folder"),
        ({"out": Path("chips")}, "^chips: inside the folder"),
        ({"out": Path()}, "^.: inside the folder"),
        ({"out": Path("taken")}, "^taken: exists already.*--overwrite"),
        ({"out": Path("taken"), "overwrite": True}, "^taken: no data set"),
        ({"split": "80/30/10"}, "--split .* Received: 80/30/10"),
        ({"workers": 0}, "--workers .* Received: 0"),
        ({"folds": 1}, "--folds .* Received: 1"),
        ({"folds": -2}, "--folds .* Received: -2"),
        ({"folds": 21, "split": "100/0/0"}, "--folds 21: .* 20 images"),
        ({"shards": 0}, "--shards .* Received: 0"),
        ({"record_size": -1}, "--record-size .* Received: -1"),
        ({"group_by": "("}, "--group-by"),
        ({"classes": Path("none.txt")}, "none.txt"),
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
    write_annotated(tmp_path / "images/a.json")
    with pytest.raises(UserError, match="nothing to learn"):
        built(tmp_path / "images")


@needs_shared
def test_the_images_of_the_belt_are_split_within_one_of_their_fractions(tmp_path: Path) -> None:
    dataset = built(SHARED / "fishki_labelme", tmp_path / "out")
    for split, fraction in {"train": 0.8, "val": 0.1, "test": 0.1}.items():
        images = dataset.images[split]
        kinds = {
            "empty": len(dataset.splits[split]) - images["fishka"],
            "clean": images["fishka"] - images["defect"],
            "defective": images["defect"],
        }
        for kind, total in {"empty": 28, "clean": 57, "defective": 28}.items():
            assert abs(kinds[kind] - fraction * total) < 1


def test_new_images_leave_the_others_in_their_splits(folder: Path, tmp_path: Path) -> None:
    before = built(folder, tmp_path / "before", seed=7)
    first = before.splits["test"][0]
    (folder / f"{first}.json").rename(folder / "renamed.json")  # it names its image
    for number in range(20):
        write_annotated(folder / f"new{number:02d}.json", [square("chip")])
    after = built(folder, tmp_path / "after", split_from=before.path)
    assert "renamed" in after.splits["test"]
    for split, ids in before.splits.items():
        assert {*ids} - {first} <= {*after.splits[split]}
    assert sizes(after) == (32, 4, 4)
    assert about(after)["split"] == f"80/10/10, as in {before.sha256[:10]} before"
    before.image(before.splits["val"][0]).unlink()
    with pytest.raises(UserError, match=r"\.jpg: .*\(No such file or directory\)"):
        built(folder, tmp_path / "again", split_from=before.path)


def test_an_earlier_split_comes_from_a_data_set_with_these_images(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"--split-from .*chips"):
        built(folder, split_from=folder)
    tree = built(folder, tmp_path / "tree").path
    for name in ("a", "b", "c"):
        write_annotated(tmp_path / f"others/{name}.json", [square("chip")])
    with pytest.raises(UserError, match=r"--split-from .*tree: it has none of these images"):
        built(tmp_path / "others", split_from=tree)
    assert not (tmp_path / "out").exists()


def ready_made(folder: Path, **names: str) -> Path:
    for split, letters in names.items():
        for letter in letters:
            write_image(folder / split / f"{letter}.jpg")
            write_mask(folder / f"{split}_mask" / f"{letter}.png", [0, 1])
    return folder


def test_new_images_keep_their_ready_made_split(tmp_path: Path) -> None:
    folder = ready_made(tmp_path / "images", train="abcd", val="ef", test="ag")
    before = built(folder, tmp_path / "before")
    ready_made(folder, val="hi", test="jklm")
    after = built(folder, tmp_path / "after", split_from=before.path)
    assert after.splits == {
        "train": ("b", "c", "d", "train_a"),  # as before, though test holds the same image
        "val": ("e", "f", "h", "i"),
        "test": ("g", "j", "k", "l", "m", "test_a"),
    }


def test_groups_that_an_earlier_split_divides_are_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = built(folder, tmp_path / "before", split="40/30/30")
    capsys.readouterr()
    after = built(folder, tmp_path / "after", split_from=before.path, group_by=r"\d+")
    assert after.splits == before.splits
    assert re.search(r"warning: \d+ groups, .*--split-from", capsys.readouterr().err)
