"""Masks in a folder of their own become the masks of the tree, and what does not fit is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.voc_builder.folders import (
    SHARED,
    image_bytes,
    write_badly_named,
    write_image,
    write_mask,
)
from voc_builder import cache
from voc_builder.__main__ import main
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.cache import build_cached
from voc_builder.sources.mask_files import MaskFile
from voc_builder.sources.mask_meaning import white_is_one
from voc_builder.sources.pairing import pair_files
from voc_builder.tree.voc import Dataset

DATES = r"(.*)_\d+"
LAND = "building\nwater\nground\n"


@pytest.fixture
def land(tmp_path: Path) -> Path:
    """Ten places, each with one mask and images of three dates."""
    for place in range(10):
        for date in (1, 2, 3):
            write_image(tmp_path / f"land/images/{place:02d}_{date}.jpg")
        write_mask(tmp_path / f"land/annotations/{place:02d}.png", [0, 1 + place % 2, 255])
    (tmp_path / "land/class_names.txt").write_text(LAND)
    return tmp_path / "land"


def built(folder: Path, **settings: Any) -> Dataset:
    config = BuildConfig(folder, folder.parent / "out", records=False, mask_pattern=DATES)
    return build(replace(config, **settings))


def about(dataset: Dataset) -> Any:
    return json.loads((dataset.path / "dataset.json").read_text(encoding="utf-8"))


def pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.array(image)


def report(folder: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> list[str]:
    """What `check` says of the folder, without the folder's name and the last line."""
    main(["check", str(folder), *flags])
    return capsys.readouterr().out.replace(f"{folder}/", "").splitlines()[:-1]


def test_images_that_share_a_mask_have_its_pixels_and_stay_together(land: Path) -> None:
    dataset = built(land, split="60/20/20")
    assert dataset.classes == ("building", "water", "ground")
    ids = [image for split in dataset.splits.values() for image in split]
    assert len(ids) == 30
    for image in ids:
        source = land / f"annotations/{image[:2]}.png"
        np.testing.assert_array_equal(pixels(dataset.mask(image)), pixels(source))
        assert dataset.image(image).read_bytes() == (land / f"images/{image}.jpg").read_bytes()
    homes = {name: {image[:2] for image in split} for name, split in dataset.splits.items()}
    assert {name: len(places) for name, places in homes.items()} == {
        "train": 6,
        "val": 2,
        "test": 2,
    }
    assert len(set().union(*homes.values())) == 10
    said = about(dataset)
    assert len(said["groups"]) == 10 and said["groups_in_two_splits"] == []
    assert (said["mask_pattern"], said["left_out"], said["warnings"]) == (DATES, {}, {})


def test_a_changed_mask_changes_the_digest_and_its_images_alone(land: Path) -> None:
    first = built(land)
    before, digests = first.sha256, about(first)["annotations"]
    write_mask(land / "annotations/03.png", [2])
    again = built(land, overwrite=True)
    assert again.sha256 != before
    changed = {
        name for name, digest in about(again)["annotations"].items() if digest != digests[name]
    }
    assert changed == {"03_1", "03_2", "03_3"}


def test_class_0_is_shared_out_like_any_other_where_it_is_no_background(land: Path) -> None:
    for place in range(10):
        write_mask(land / f"annotations/{place:02d}.png", [0, 2] if place < 5 else [2])
    for seed in range(5):
        dataset = built(land, split="60/20/20", seed=seed, overwrite=True)
        shown = {name: counts["building"] for name, counts in dataset.images.items()}
        assert shown == {"train": 9, "val": 3, "test": 3}


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        ([[0, 255], [0]], "background\nperson", [0, 1]),
        ([[0, 255], [0, 1]], "background\nperson", [0, 255]),
        ([[0, 255], [0, 2]], "background\nperson\ndog", [0, 255]),
    ],
    ids=["two classes", "a 1 elsewhere", "three classes"],
)
def test_255_is_class_1_in_sets_of_0_and_255_alone(
    tmp_path: Path, values: list[list[int]], names: str, expected: list[int]
) -> None:
    for name, ids in zip("abcd", [*values, [0], [0]], strict=True):
        write_image(tmp_path / f"set/images/{name}.jpg")
        write_mask(tmp_path / f"set/masks/{name}.png", ids)
    (tmp_path / "set/obj.names").write_text(names)
    dataset = built(tmp_path / "set", mask_pattern=None)
    assert np.unique(pixels(dataset.mask("a"))).tolist() == expected


def test_a_grey_edge_does_not_make_255_void() -> None:
    files = [
        MaskFile(Path(name), counts=dict.fromkeys(values, 1)) for name, values in EDGES.items()
    ]
    assert white_is_one(files, ["background", "person"])


EDGES = {"a": (0, 255), "soft": (0, 1, 128, 254, 255)}


def test_masks_of_1_and_of_255_in_one_set_are_a_warning(
    land: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in range(10):
        write_mask(land / f"annotations/{place:02d}.png", [0, 1 if place else 255])
    (land / "class_names.txt").write_text("background\nperson\n")
    assert report(land, capsys, "--mask-pattern", DATES)[1:] == [
        "  warning: 255 is void, as 01.png holds 1, but 1 masks such as 00.png hold 255 and no 1: "
        "where 255 means 'person', save them with 1 instead [void-or-class]"
    ]


def test_all_that_is_wrong_is_in_one_report(land: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mask(land / "annotations/00.png", [0, 0, 7, 9, 9, 0])
    write_mask(land / "annotations/01.png", [0], size=(6, 8))
    (land / "annotations/02.png").write_bytes(b"none")
    Image.new("RGB", (8, 6), (1, 2, 3)).save(land / "annotations/03.png")
    (land / "images/04_2.jpg").write_bytes(image_bytes()[:-20])
    write_mask(land / "annotations/05.bmp", [0])
    write_mask(land / "annotations/lonely.png", [0])
    write_image(land / "images/odd.jpg")
    write_image(land / "images/77_1.jpg")
    cure = "save the mask at the size of its image, or pair it with another"
    turned = f"{cure} (turned by its EXIF after it was annotated?) [size]"
    shown = [
        "annotations/00.png",
        "  error: 9 (33 %), 7 (17 %) fit no class, 50 % of the pixels: the classes are 0 to 2 and "
        "255 is void: paint it again, or add the missing class names [mask-values]",
        "annotations/02.png",
        "  error: not a picture that can be decoded, or cut short: save it again as a grey or "
        "palette PNG [mask-unreadable]",
        "annotations/03.png",
        "  error: a mask of colours, not of class ids: save it as class ids, in a grey or palette "
        "PNG, or name them in --colors [mask-unreadable]",
        "annotations/lonely.png",
        f"  error: no image in {land}/images has this mask: put its image there, delete the mask, "
        "or correct --mask-pattern [photo-missing]".replace(f"{land}/", ""),
    ]
    for date in (1, 2, 3):
        shown += [
            f"images/01_{date}.jpg",
            f"  error: the mask 01.png is (8, 6), the image is (6, 8): {turned}",
        ]
    shown += [
        "images/04_2.jpg",
        "  error: the image cannot be decoded, or is cut short: save it again as JPEG or PNG "
        "[photo-unreadable]",
    ]
    for date in (1, 2, 3):
        shown += [
            f"images/05_{date}.jpg",
            "  error: it has 2 masks: 05.bmp, 05.png: delete all but one [two-masks]",
        ]
    for name in ("77_1", "odd"):
        shown += [
            f"images/{name}.jpg",
            "  warning: an image without mask: annotate it, or take such images as empty with "
            "build --unlabelled background [unlabelled]",
        ]
    assert report(land, capsys, "--mask-pattern", DATES) == shown


def test_a_build_stops_at_errors_or_leaves_out_their_images(land: Path) -> None:
    write_mask(land / "annotations/00.png", [7])
    with pytest.raises(UserError, match=r"land: 1 errors; .*\n .*00\.png: error: 7 \(100 %\) fit"):
        built(land)
    dataset = built(land, skip_bad=True)
    assert sum(map(len, dataset.splits.values())) == 27
    assert list(about(dataset)["left_out"]) == ["annotations/00.png"]


def test_images_without_a_mask_are_empty_where_class_0_is_the_background(land: Path) -> None:
    write_image(land / "images/new.jpg")
    assert list(about(built(land))["warnings"]) == ["images/new.jpg"]
    with pytest.raises(
        UserError, match=r"class 0 is 'building', no background: annotate .*new\.jpg"
    ):
        built(land, overwrite=True, unlabelled="background")
    (land / "class_names.txt").write_text("background\nwater\nground\n")
    dataset = built(land, overwrite=True, unlabelled="background")
    assert not pixels(dataset.mask("new")).any()


def test_two_images_of_one_mask_are_errors_without_a_pattern(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        write_image(tmp_path / "images" / name)
    for name in ("a", "b"):
        write_mask(tmp_path / f"masks/{name}.png", [0])
    pairs = pair_files(tmp_path / "images", tmp_path / "masks", None)
    assert [image.name for image in pairs.files] == ["b.jpg"]
    assert [(p.file.name, p.rule, p.severity) for p in pairs.problems] == [
        ("a.jpg", "two-photos", "error"),
        ("a.png", "two-photos", "error"),
    ]


def test_a_mask_lies_in_the_same_subfolder_or_in_none(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for name in ("x/a", "y/a", "x/b", "y/c"):
        write_image(images / f"{name}.jpg")
    for name in ("x/a", "y/a", "b", "x/c"):
        write_mask(masks / f"{name}.png", [0])
    pairs = pair_files(images, masks, None)
    assert {
        str(k.relative_to(images)): str(v.relative_to(masks)) for k, v in pairs.files.items()
    } == {
        "x/a.jpg": "x/a.png",
        "x/b.jpg": "b.png",
        "y/a.jpg": "y/a.png",
    }
    assert [path.name for path in pairs.unlabelled] == ["c.jpg"]
    assert [problem.rule for problem in pairs.problems] == ["photo-missing"]


def test_a_pattern_has_to_match_the_whole_stem(land: Path) -> None:
    write_image(land / "images/00_1_copy.jpg")
    pairs = pair_files(land / "images", land / "annotations", DATES)
    assert [path.name for path in pairs.unlabelled] == ["00_1_copy.jpg"]


def test_masks_inside_the_images_folder_are_no_images(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    write_mask(tmp_path / "masks/a.png", [0])
    pairs = pair_files(tmp_path, tmp_path / "masks", None)
    assert list(pairs.files) == [tmp_path / "a.jpg"] and not pairs.unlabelled


def test_a_name_that_is_not_utf_8_is_an_error(tmp_path: Path) -> None:
    write_image(tmp_path / "images/a.jpg")
    write_mask(tmp_path / "masks/a.png", [0])
    write_badly_named(tmp_path / "images", ".jpg")
    write_badly_named(tmp_path / "masks", ".png")
    pairs = pair_files(tmp_path / "images", tmp_path / "masks", None)
    assert [problem.rule for problem in pairs.problems] == ["file-name", "file-name"]


def test_no_pair_at_all_is_one_line_with_the_cure(land: Path) -> None:
    with pytest.raises(UserError) as caught:
        built(land, mask_pattern=None)
    assert str(caught.value) == (
        f"{land}/annotations: no image has a mask: 30 images such as 00_1.jpg, 10 masks such as "
        r"00.png: name them alike, or give --mask-pattern, as '(.*)_\d+' where 0001.png is the "
        "mask of 0001_1.jpg"
    )
    with pytest.raises(UserError, match=r"correct --mask-pattern x\(\.\), or give null where they"):
        built(land, mask_pattern="x(.)")


def test_without_class_names_the_values_are_told(land: Path) -> None:
    (land / "class_names.txt").unlink()
    with pytest.raises(
        UserError, match=r"no class names, .* The masks hold the values 0, 1, 2, 255"
    ):
        built(land)


def test_a_class_that_no_mask_shows_is_a_warning(
    land: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (land / "class_names.txt").write_text(f"{LAND}car\n")
    assert report(land, capsys, "--mask-pattern", DATES) == [
        "class_names.txt",
        "  warning: no mask shows 'car' (id 3): look whether the names stand in the order of the "
        "ids [class-unused]",
    ]


def test_the_check_that_a_build_names_can_be_run(
    land: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (land / "class_names.txt").write_text(f"{LAND}car\n")
    built(land)
    said = capsys.readouterr().err
    command = rf"python -m voc_builder check {land} --source masks --mask-pattern '(.*)_\d+'"
    assert f"1 warnings, which {command} lists" in said


def test_a_mask_that_changes_while_it_is_read_stops_the_build(
    land: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from voc_builder.sources import mask_folders

    read = mask_folders.read_mask_file

    def read_and_change(path: Path, *, coloured: bool) -> MaskFile:
        mask = read(path, coloured=coloured)
        write_mask(path, [2])
        return mask

    monkeypatch.setattr(mask_folders, "read_mask_file", read_and_change)
    with pytest.raises(UserError, match=r"\.png: changed while it was read: build again"):
        built(land)


def test_a_cached_set_is_built_again_for_another_pattern_or_mask(
    land: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def without_records(config: BuildConfig, **_: bool) -> Dataset:
        made.append(config.out)
        return build(replace(config, records=False))

    monkeypatch.setattr(cache, "build", without_records)
    out = land.parent / "datasets"
    build_cached(BuildConfig(land, out, mask_pattern=DATES))
    build_cached(BuildConfig(land, out, mask_pattern=DATES))
    assert len(made) == 1
    build_cached(BuildConfig(land, out, mask_pattern=r"(..)_\d"))
    write_mask(land / "annotations/00.png", [2])
    build_cached(BuildConfig(land, out, mask_pattern=DATES))
    assert len(set(made)) == 3


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")
def test_aerial_images_of_three_dates_have_the_pixels_of_their_mask(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("building\nclutter\nvegetation\nwater\nground\ncar\n")
    config = BuildConfig(SHARED / "aerial", tmp_path / "out", classes=names, records=False)
    dataset = build(replace(config, mask_pattern=DATES))
    assert {name: len(ids) for name, ids in dataset.splits.items()} == {
        "train": 240,
        "val": 30,
        "test": 30,
    }
    assert len(about(dataset)["groups"]) == 100
    for ids in dataset.splits.values():
        for image in ids:
            source = SHARED / f"aerial/annotations/{image.rsplit('_', 1)[0]}.png"
            np.testing.assert_array_equal(pixels(dataset.mask(image)), pixels(source))
