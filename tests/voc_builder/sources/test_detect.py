"""The files in a folder decide how it is read, and an ambiguous folder is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from tests.voc_builder.folders import image_bytes, square, write_annotated, write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import choose_source, files_of, find_samples

AUTO = SourceConfig()


def pairs(folder: Path, images: str = "images", masks: str = "masks") -> Path:
    for name in ("a", "b"):
        write_image(folder / images / f"{name}.jpg")
        write_mask(folder / masks / f"{name}.png", [0, 1])
    (folder / "obj.names").write_text("background\nchip\n")
    return folder


def test_json_is_labelme_and_two_folders_of_images_are_masks(tmp_path: Path) -> None:
    write_annotated(tmp_path / "chips/a.json")
    assert choose_source(tmp_path / "chips", AUTO) == "labelme"
    assert choose_source(pairs(tmp_path / "masks"), AUTO) == "masks"
    assert choose_source(pairs(tmp_path / "voc", "JPEGImages", "SegmentationClass"), AUTO) == (
        "masks"
    )


def test_folders_of_images_and_of_json_are_labelme(tmp_path: Path) -> None:
    write_annotated(tmp_path / "images/a.json")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images/a.json").rename(tmp_path / "annotations/a.json")
    assert choose_source(tmp_path, AUTO) == "labelme"


def test_json_that_is_not_labelmes_does_not_count_against_masks(tmp_path: Path) -> None:
    (pairs(tmp_path) / "info.json").write_text("{}")
    assert choose_source(tmp_path, AUTO) == "masks"


def test_both_is_refused_until_one_is_named(tmp_path: Path) -> None:
    write_annotated(pairs(tmp_path) / "images/a.json", [square("chip")])
    with pytest.raises(UserError, match=r"\(masks\).*\(images/a\.json\).*--source"):
        choose_source(tmp_path, AUTO)
    sources: dict[Literal["labelme", "masks"], list[str]] = {
        "labelme": ["a.json"],
        "masks": ["a.jpg", "b.jpg"],
    }
    for source, names in sources.items():
        found = find_samples(tmp_path, SourceConfig(source=source), empty=False)
        assert [sample.path.name for sample in found.samples] == names


def test_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(image_bytes())
    with pytest.raises(UserError, match="neither labelme JSON nor folders"):
        choose_source(tmp_path, AUTO)


def test_folders_of_other_names_can_be_named(tmp_path: Path) -> None:
    pairs(tmp_path, "train", "train_mask")
    settings = SourceConfig(images=Path("train"), masks=Path("train_mask"))
    assert choose_source(tmp_path, settings) == "masks"
    assert len(find_samples(tmp_path, settings, empty=False).samples) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "labelme", "mask_pattern": "(.)"}, "--mask-pattern: not for --source labelme"),
        ({"mask_pattern": "("}, "--mask-pattern is no regular expression"),
        ({"mask_pattern": r".*_\d"}, "--mask-pattern has no group"),
        ({"masks": Path("none")}, "none: no such folder: --masks"),
        ({"masks": Path("images")}, "images: both images and masks"),
        ({"source": "masks"}, "several of annotations, masks .*--masks"),
        ({"source": "coco"}, r"--source coco reads a \.json file"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    write_mask(pairs(tmp_path) / "annotations/a.png", [0])
    with pytest.raises(UserError, match=message) as caught:
        find_samples(tmp_path, SourceConfig(**settings), empty=False)
    assert "\n" not in str(caught.value)


def test_files_that_decide_are_images_masks_and_class_names(tmp_path: Path) -> None:
    write_image(pairs(tmp_path) / "elsewhere/a.jpg")
    names = [str(path.relative_to(tmp_path)) for path in files_of(tmp_path, AUTO)]
    assert names == ["images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b.png", "obj.names"]
