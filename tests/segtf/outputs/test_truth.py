"""An image is compared with its own annotation or with none."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segtf.outputs.truth import match_masks, read_truth, truth_finder
from tests.voc_builder.folders import square, write_annotated, write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build

CLASSES = ("background", "chip")


def laid(folder: Path, names: Sequence[str]) -> list[Path]:
    """Empty files."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def matched(folder: Path, images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    laid(folder / "masks", masks)
    found = match_masks(laid(folder / "photos", images), folder / "masks")
    return {
        image.relative_to(folder / "photos").as_posix(): mask.relative_to(
            folder / "masks"
        ).as_posix()
        for image, mask in found.items()
    }


@pytest.mark.parametrize(
    ("images", "masks", "wanted"),
    [
        (["00.jpg", "01.jpg"], ["00.png"], {"00.jpg": "00.png"}),
        (["a/00.jpg", "b/00.jpg"], ["a/00.png"], {"a/00.jpg": "a/00.png"}),
        (
            ["a/00.jpg", "b/00.jpg"],
            ["b/00.png", "a/00.png"],
            {"a/00.jpg": "a/00.png", "b/00.jpg": "b/00.png"},
        ),
        (["test/00.jpg"], ["train/00.png"], {}),
        (["test/00.jpg"], ["test/00.png"], {"test/00.jpg": "test/00.png"}),
        (["a/00.jpg"], ["00.png"], {"a/00.jpg": "00.png"}),  # the only one of its name
        (["00.jpg", "a/00.jpg"], ["00.png"], {"00.jpg": "00.png"}),  # at the same place
        (["a/00.jpg", "b/00.jpg"], ["00.png"], {}),
        (["00.jpg", "00.png"], ["00.png"], {}),
        (
            ["a/00.jpg", "b/00.jpg"],
            ["a/00.png", "00.png"],
            {"a/00.jpg": "a/00.png", "b/00.jpg": "00.png"},
        ),
        (["photos/a/00.jpg"], ["a/00.png", "00.png"], {"photos/a/00.jpg": "a/00.png"}),
    ],
)
def test_masks_of_a_folder_are_matched_by_path_and_by_stem_where_only_one_image_has_it(
    images: list[str], masks: list[str], wanted: dict[str, str], tmp_path: Path
) -> None:
    assert matched(tmp_path, images, masks) == wanted


def test_a_relative_path_upwards_leads_to_no_file_but_the_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid(
        tmp_path, ["photos/a.jpg", "photos/a.png", "photos/b/a.jpg", "masks/a.png", "masks/b/a.png"]
    )
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    images = [Path("../photos/a.jpg"), Path("../photos/b/a.jpg")]
    masks = Path("../masks")
    assert match_masks(images, masks) == {
        images[0]: masks / "a.png",
        images[1]: masks / "b/a.png",
    }


def test_masks_that_two_images_claim_are_named_with_both_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert matched(tmp_path, ["a/00.jpg", "b/00.jpg", "c.jpg"], ["00.png", "c.png"]) == {
        "c.jpg": "c.png"
    }
    (line,) = capsys.readouterr().err.splitlines()
    for named in ("masks/00.png", "photos/a/00.jpg", "photos/b/00.jpg"):
        assert str(tmp_path / named) in line


NAMES = st.sampled_from(["0", "1", "a/0", "a/1", "b/0", "a/b/0"])


@given(st.sets(NAMES, min_size=1), st.sets(NAMES))
def test_no_mask_is_that_of_two_images_or_of_one_with_another_name(
    tmp_path_factory: pytest.TempPathFactory, images: set[str], masks: set[str]
) -> None:
    folder = tmp_path_factory.mktemp("matched")
    found = matched(folder, [f"{p}.jpg" for p in sorted(images)], [f"{m}.png" for m in masks])
    assert len(set(found.values())) == len(found)
    for image, mask in found.items():
        assert f"/{image[:-4]}".endswith(f"/{mask[:-4]}")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of images called 00 and 01 in train and val, that of 00 a PNG."""
    folder = tmp_path_factory.mktemp("labelled")
    for split, name in (("train", "00.png"), ("val", "01.jpg")):
        image = write_image(folder / "photos" / split / name)
        write_mask(folder / "photos" / f"{split}_mask" / f"{image.stem}.png", [0, 1])
    return build(BuildConfig(folder / "photos", folder / "voc", records=False)).path


def test_masks_of_a_data_set_are_those_of_its_very_images(tree: Path, tmp_path: Path) -> None:
    images = tree.parent / "photos"
    other = tmp_path / "test/00.png"  # another image of the same name and size
    other.parent.mkdir()
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(other)
    renamed = tmp_path / "renamed.jpg"
    renamed.write_bytes((images / "val/01.jpg").read_bytes())
    masks = tree / "SegmentationClass"
    wanted = {
        images / "train/00.png": masks / "00.png",
        tree / "JPEGImages/00.jpg": masks / "00.png",
        renamed: masks / "01.png",
        other: None,
    }
    find = truth_finder(list(wanted), masks)
    assert {image: find(image) for image in wanted} == wanted


def test_a_data_set_without_its_images_cannot_be_compared_with(tree: Path, tmp_path: Path) -> None:
    image = tree / "JPEGImages/00.jpg"
    aside = image.rename(tmp_path / "00.jpg")
    try:
        with pytest.raises(UserError, match=r"00\.jpg: cannot be read"):
            truth_finder([aside], tree / "SegmentationClass")
    finally:
        aside.rename(image)


def shown(image: Path) -> bool:
    """Whether the labelme file beside an image is that of the image."""
    found = truth_finder([image])(image)
    assert found is not None
    return read_truth(found, image, CLASSES, 6, 8) is not None


def test_a_labelme_file_is_that_of_the_image_that_it_names(tmp_path: Path) -> None:
    own = write_annotated(tmp_path / "00.json", [square("chip")], imagePath="00.jpg")
    jpg, png = own.with_suffix(".jpg"), write_image(tmp_path / "00.png")
    assert (shown(jpg), shown(png)) == (True, False)
    content = json.loads(own.read_text())
    for named, wanted in (
        ("00.png", (False, True)),
        ("..\\elsewhere\\00.jpg", (True, False)),
        ("gone.jpg", (False, False)),  # nobody knows which
    ):
        own.write_text(json.dumps({**content, "imagePath": named}))
        assert (shown(jpg), shown(png)) == wanted
    png.unlink()
    assert shown(jpg)
