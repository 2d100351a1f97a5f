"""What lies in a folder decides how it is read, and a folder that leaves it open is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.voc_builder.folders import image_bytes, square, write_annotated, write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import choose_source, files_of, find_samples


def pairs(folder: Path, images: str = "images", masks: str = "masks") -> Path:
    for name in ("a", "b"):
        write_image(folder / images / f"{name}.jpg")
        write_mask(folder / masks / f"{name}.png", [0, 1])
    (folder / "obj.names").write_text("background\nchip\n")
    return folder


def test_json_is_labelme_and_two_folders_of_pictures_are_masks(tmp_path: Path) -> None:
    write_annotated(tmp_path / "chips/a.json")
    assert choose_source(tmp_path / "chips", SourceConfig()) == "labelme"
    assert choose_source(pairs(tmp_path / "masks"), SourceConfig()) == "masks"
    assert (
        choose_source(pairs(tmp_path / "voc", "JPEGImages", "SegmentationClass"), SourceConfig())
        == "masks"
    )


def test_folders_of_images_and_of_json_are_labelme(tmp_path: Path) -> None:
    write_annotated(tmp_path / "images/a.json")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "images/a.json").rename(tmp_path / "annotations/a.json")
    assert choose_source(tmp_path, SourceConfig()) == "labelme"


def test_json_that_is_not_labelmes_does_not_stand_against_masks(tmp_path: Path) -> None:
    (pairs(tmp_path) / "info.json").write_text("{}")
    assert choose_source(tmp_path, SourceConfig()) == "masks"


def test_both_is_refused_until_one_is_named(tmp_path: Path) -> None:
    write_annotated(pairs(tmp_path) / "images/a.json", [square("chip")])
    message = (
        r"both masks \(masks\) and labelme JSON \(images/a\.json\) in it: choose with --source"
    )
    with pytest.raises(UserError, match=message):
        choose_source(tmp_path, SourceConfig())
    found = {
        name: find_samples(tmp_path, SourceConfig(source=name), empty=False) for name in SOURCES
    }
    assert [sample.path.name for sample in found["labelme"].samples] == ["a.json"]
    assert [sample.path.name for sample in found["masks"].samples] == ["a.jpg", "b.jpg"]


SOURCES: Any = ("labelme", "masks")


def test_neither_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(image_bytes())
    with pytest.raises(UserError, match="neither labelme JSON nor folders of images and masks"):
        choose_source(tmp_path, SourceConfig())


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
        ({"mask_pattern": r".*_\d"}, "--mask-pattern has no bracket"),
        ({"masks": Path("none")}, "none: no such folder: --masks is seen from"),
        ({"masks": Path("images")}, "both images and masks: keep them in two folders"),
        ({"source": "masks"}, "several of annotations, masks in it of the names .* with --masks"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    write_mask(pairs(tmp_path) / "annotations/a.png", [0])
    with pytest.raises(UserError, match=message) as caught:
        find_samples(tmp_path, SourceConfig(**settings), empty=False)
    assert "\n" not in str(caught.value)


def test_files_that_decide_are_the_pictures_of_both_folders_and_the_names(tmp_path: Path) -> None:
    write_image(pairs(tmp_path) / "elsewhere/a.jpg")
    names = [str(path.relative_to(tmp_path)) for path in files_of(tmp_path, SourceConfig())]
    assert names == ["images/a.jpg", "images/b.jpg", "masks/a.png", "masks/b.png", "obj.names"]
