"""Values and colours of masks get the classes that their owner names; others are errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.voc_builder.folders import built, read_mask, write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.check import CheckConfig, check
from voc_builder.sources.mask_meaning import name_values, read_colours

PAINTED = ((0, 0, 0), (255, 0, 0), (0, 128, 255), (9, 9, 9))
COLOURS = "ground 0 0 0\nred house,255,0,0\nwater\t#0080ff\nvoid 9 9 9\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "colours").write_text(COLOURS)
    for number in range(10):
        write_image(tmp_path / f"land/images/{number}.jpg")
    (tmp_path / "land/masks").mkdir()
    return tmp_path / "land"


def paint(path: Path, colours: tuple[tuple[int, ...], ...], mode: str = "RGB") -> None:
    """A mask of the colours in turn."""
    image = Image.fromarray(np.resize(np.array(colours, np.uint8), (6, 8, 3)))
    image = image.quantize(len(colours)) if mode == "P" else image.convert(mode)
    image.save(path)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_become_the_classes_that_the_file_names(folder: Path, mode: str) -> None:
    for number in range(10):
        paint(folder / f"masks/{number}.png", PAINTED, mode)
    dataset = built(folder, colors=folder.parent / "colours")
    assert dataset.classes == ("ground", "red house", "water")
    expected = np.resize(np.array([0, 1, 2, 255], np.uint8), (6, 8))
    np.testing.assert_array_equal(read_mask(dataset.mask("3")), expected)


def test_colours_that_fit_no_class_are_named_with_their_fraction(folder: Path) -> None:
    paint(folder / "masks/0.png", (*PAINTED, (1, 2, 3), (1, 2, 3), (4, 5, 6)))
    found, _ = check(CheckConfig(folder, colors=folder.parent / "colours"))
    (problem,) = (one for one in found if one.severity == "error")
    assert (problem.file.name, problem.rule) == ("0.png", "mask-values")
    assert problem.value.startswith("#010203 (29 %), #040506 (12 %) fit no class, 42 %")


def test_a_jpeg_is_no_mask_of_colours_either(folder: Path) -> None:
    for number in range(10):
        write_mask(folder / f"masks/{number}.jpg", [0, 255])
    found, _ = check(CheckConfig(folder, source="masks", colors=folder.parent / "colours"))
    assert {problem.rule for problem in found} == {"mask-unreadable", "class-unused"}


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("ground 0 0\n", "line 1 .*'ground 0 0'"),
        ("ground 0 0 256\n", "line 1 .*'ground 0 0 256'"),
        ("a 1 2 3\nb #010203\n", "line 2 names #010203 again.* 'a'"),
        ("a 1 2 3\nbackground 0 0 0\n", "'background' must be the first line"),
        ("\n", "no colours"),
    ],
)
def test_a_wrong_file_of_colours_is_refused(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "colours").write_text(text)
    with pytest.raises(UserError, match=wrong):
        read_colours(tmp_path / "colours")


def test_a_heading_comments_and_several_colours_of_a_class_are_read(tmp_path: Path) -> None:
    file = tmp_path / "colours.csv"
    file.write_text("name,r,g,b\n# of the camera\nsky,1,1,1\nroad,2,2,2\nsky,3,3,3\n")
    meaning = read_colours(file)
    assert meaning.classes == ("sky", "road")
    assert meaning.ids == {0x010101: 0, 0x020202: 1, 0x030303: 0}


def test_named_values_give_the_classes_with_the_background_first(folder: Path) -> None:
    for number in range(10):
        write_mask(folder / f"masks/{number}.png", [1, 2, 3])
    values = "1=pet,2=background,3=void"
    dataset = built(folder, mask_values=values)
    assert dataset.classes == ("background", "pet")
    assert dataset.pixels["val"] == {"background": 16, "pet": 16, "__ignore__": 16}
    write_mask(folder / "masks/0.png", [1, 7])
    (problem,), _ = check(CheckConfig(folder, mask_values=values))
    assert problem.rule == "mask-values" and problem.value.startswith("7 (50 %) fit no class")
    assert "--mask-values names 1, 2, 3" in problem.cure


def test_255_may_be_a_class_and_is_void_unless_it_is_named() -> None:
    assert name_values("0=background,255=person", None, Path()).ids == {0: 0, 255: 1}
    assert name_values("0=background,1=person", None, Path()).ids == {0: 0, 1: 1, 255: 255}


def test_a_class_file_orders_the_classes_of_named_values() -> None:
    meaning = name_values("5=dog,6=cat", ("background", "cat", "dog"), Path("names"))
    assert meaning.classes == ("background", "cat", "dog") and meaning.ids[5] == 2


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("0=background,0=pet", "Received: 0=background,0=pet"),
        ("background=0", "Received: background=0"),
        ("1=pit", r"'pit' \(rather 'pet'\?\) .* background, pet of names"),
    ],
)
def test_wrong_values_are_refused(text: str, wrong: str) -> None:
    with pytest.raises(UserError, match=wrong):
        name_values(text, ("background", "pet"), Path("names"))
