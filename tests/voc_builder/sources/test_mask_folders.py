"""Images get the masks of their names, and images of one mask stay together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.voc_builder.folders import (
    SHARED,
    about,
    built,
    image_bytes,
    needs_shared,
    read_mask,
    rules,
    sizes,
    write_badly_named,
    write_image,
    write_mask,
)
from voc_builder.base.errors import UserError
from voc_builder.sources import mask_folders
from voc_builder.sources.mask_files import MaskFile
from voc_builder.sources.mask_meaning import white_is_one
from voc_builder.sources.pairing import pair_files

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


def built_land(land: Path, **settings: Any) -> Any:
    return built(land, **{"mask_pattern": DATES, "overwrite": True, **settings})


def test_images_that_share_a_mask_have_its_pixels_and_stay_together(land: Path) -> None:
    dataset = built_land(land, split="60/20/20")
    assert dataset.classes == ("building", "water", "ground")
    for image in (image for split in dataset.splits.values() for image in split):
        source = land / f"annotations/{image[:2]}.png"
        np.testing.assert_array_equal(read_mask(dataset.mask(image)), read_mask(source))
        assert dataset.image(image).read_bytes() == (land / f"images/{image}.jpg").read_bytes()
    homes = [{image[:2] for image in split} for split in dataset.splits.values()]
    assert sizes(dataset) == (18, 6, 6)
    assert [len(places) for places in homes] == [6, 2, 2] and len(set().union(*homes)) == 10
    said = about(dataset)
    assert len(said["groups"]) == 10 and said["groups_in_two_splits"] == []
    assert (said["mask_pattern"], said["left_out"], said["warnings"]) == (DATES, {}, {})


def test_a_changed_mask_changes_the_digest_and_its_images_alone(land: Path) -> None:
    first = built_land(land)
    before, digests = first.sha256, about(first)["annotations"]
    write_mask(land / "annotations/03.png", [2])
    again = built_land(land)
    assert again.sha256 != before
    changed = {name for name, one in about(again)["annotations"].items() if one != digests[name]}
    assert changed == {"03_1", "03_2", "03_3"}


def test_class_0_is_split_like_any_other_if_it_is_no_background(land: Path) -> None:
    for place in range(10):
        write_mask(land / f"annotations/{place:02d}.png", [0, 2] if place < 5 else [2])
    for seed in range(5):
        images = built_land(land, split="60/20/20", seed=seed).images
        assert [images[name]["building"] for name in ("train", "val", "test")] == [9, 3, 3]


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
    dataset = built(tmp_path / "set")
    assert np.unique(read_mask(dataset.mask("a"))).tolist() == expected


def test_a_grey_edge_does_not_make_255_void() -> None:
    values = {"a": (0, 255), "soft": (0, 1, 128, 254, 255)}
    files = [MaskFile(Path(name), counts=dict.fromkeys(of, 1)) for name, of in values.items()]
    assert white_is_one(files, ["background", "person"])


def test_masks_of_1_and_of_255_in_one_set_are_a_warning(land: Path) -> None:
    for place in range(10):
        write_mask(land / f"annotations/{place:02d}.png", [0, 1 if place else 255])
    (land / "class_names.txt").write_text("background\nperson\n")
    expected = [("annotations", "warning", "void-or-class", None)]
    assert rules(land, mask_pattern=DATES) == expected


def test_all_that_is_wrong_is_in_one_report(land: Path) -> None:
    write_mask(land / "annotations/00.png", [0, 0, 7, 9, 9, 0])
    write_mask(land / "annotations/01.png", [0], size=(6, 8))
    (land / "annotations/02.png").write_bytes(b"none")
    Image.new("RGB", (8, 6), (1, 2, 3)).save(land / "annotations/03.png")
    (land / "images/04_2.jpg").write_bytes(image_bytes()[:-20])
    write_mask(land / "annotations/05.bmp", [0])
    write_mask(land / "annotations/lonely.png", [0])
    write_image(land / "images/odd.jpg")
    (land / "class_names.txt").write_text(f"{LAND}car\n")
    dates = (1, 2, 3)
    assert [one[:3] for one in rules(land, mask_pattern=DATES)] == [
        ("00.png", "error", "mask-values"),
        ("02.png", "error", "mask-unreadable"),
        ("03.png", "error", "mask-unreadable"),
        ("lonely.png", "error", "photo-missing"),
        ("class_names.txt", "warning", "class-unused"),
        *[(f"01_{date}.jpg", "error", "size") for date in dates],
        ("04_2.jpg", "error", "photo-unreadable"),
        *[(f"05_{date}.jpg", "error", "two-masks") for date in dates],
        ("odd.jpg", "warning", "unlabelled"),
    ]


def test_a_build_stops_at_errors_or_leaves_out_their_images(land: Path) -> None:
    write_mask(land / "annotations/00.png", [7])
    with pytest.raises(UserError, match=r"00\.png: .*\[mask-values\]"):
        built_land(land)
    dataset = built_land(land, skip_bad=True)
    assert sum(sizes(dataset)) == 27
    assert list(about(dataset)["left_out"]) == ["annotations/00.png"]


def test_images_without_a_mask_are_empty_if_class_0_is_the_background(land: Path) -> None:
    write_image(land / "images/new.jpg")
    assert list(about(built_land(land))["warnings"]) == ["images/new.jpg"]
    with pytest.raises(UserError, match=r"class 0 is 'building'.*new\.jpg"):
        built_land(land, unlabelled="background")
    (land / "class_names.txt").write_text("background\nwater\nground\n")
    dataset = built_land(land, unlabelled="background")
    assert not read_mask(dataset.mask("new")).any()


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


def test_a_mask_is_in_the_same_subfolder_or_in_none(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for name in ("x/a", "y/a", "x/b", "y/c"):
        write_image(images / f"{name}.jpg")
    for name in ("x/a", "y/a", "b", "x/c"):
        write_mask(masks / f"{name}.png", [0])
    pairs = pair_files(images, masks, None)
    assert {
        str(k.relative_to(images)): str(v.relative_to(masks)) for k, v in pairs.files.items()
    } == {"x/a.jpg": "x/a.png", "x/b.jpg": "b.png", "y/a.jpg": "y/a.png"}
    assert [path.name for path in pairs.unlabelled] == ["c.jpg"]
    assert [problem.rule for problem in pairs.problems] == ["photo-missing"]


def test_a_pattern_must_match_the_whole_stem(land: Path) -> None:
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


@pytest.mark.parametrize("pattern", [None, "x(.)"])
def test_no_pair_at_all_is_one_line_with_the_cure(land: Path, pattern: str | None) -> None:
    with pytest.raises(UserError, match=r"00_1\.jpg.* 00\.png.*--mask-pattern") as caught:
        built_land(land, mask_pattern=pattern)
    assert "\n" not in str(caught.value)


def test_without_class_names_the_values_are_listed(land: Path) -> None:
    (land / "class_names.txt").unlink()
    with pytest.raises(UserError, match=r"--classes .*--mask-values .* 0, 1, 2, 255"):
        built_land(land)


def test_the_check_that_a_build_names_can_be_run(
    land: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (land / "class_names.txt").write_text(f"{LAND}car\n")
    built_land(land)
    command = rf"python -m voc_builder check {land} --source masks --mask-pattern '(.*)_\d+'"
    assert command in capsys.readouterr().err


def test_a_mask_that_changes_while_it_is_read_stops_the_build(
    land: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = mask_folders.read_mask_file

    def read_and_change(path: Path, *, coloured: bool) -> MaskFile:
        mask = read(path, coloured=coloured)
        write_mask(path, [2])
        return mask

    monkeypatch.setattr(mask_folders, "read_mask_file", read_and_change)
    with pytest.raises(UserError, match=r"\.png: changed while it was read"):
        built_land(land)


@pytest.mark.slow
@needs_shared
def test_aerial_images_of_three_dates_have_the_pixels_of_their_mask(tmp_path: Path) -> None:
    names = tmp_path / "names"
    names.write_text("building\nclutter\nvegetation\nwater\nground\ncar\n")
    dataset = built(SHARED / "aerial", tmp_path / "out", classes=names, mask_pattern=DATES)
    assert sizes(dataset) == (240, 30, 30)
    assert len(about(dataset)["groups"]) == 100
    for image in (image for ids in dataset.splits.values() for image in ids):
        source = SHARED / f"aerial/annotations/{image.rsplit('_', 1)[0]}.png"
        np.testing.assert_array_equal(read_mask(dataset.mask(image)), read_mask(source))
