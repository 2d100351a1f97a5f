"""Values and colours of masks get the classes that their owner names, and strangers are told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.voc_builder.folders import write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.check import CheckConfig, check
from voc_builder.sources.mask_meaning import name_values, read_colours

PAINTED = ((0, 0, 0), (255, 0, 0), (0, 128, 255), (9, 9, 9))
COLOURS = "ground 0 0 0\nred house,255,0,0\nwater\t#0080ff\nvoid 9 9 9\n"


def with_images(folder: Path) -> Path:
    for number in range(10):
        write_image(folder / f"images/{number}.jpg")
    return folder


def painted(folder: Path, *more: tuple[int, int, int], mode: str = "RGB") -> Path:
    """Ten masks that hold the colours by turns."""
    for number in range(10):
        colours = np.array([*PAINTED, *more], np.uint8)
        pixels = np.resize(colours, (6, 8, 3))
        (folder / "masks").mkdir(exist_ok=True)
        image = Image.fromarray(pixels)
        image = image.quantize(len(colours)) if mode == "P" else image.convert(mode)
        image.save(folder / f"masks/{number}.png")
    return folder


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_become_the_classes_that_the_file_names(tmp_path: Path, mode: str) -> None:
    folder = painted(with_images(tmp_path / "land"), mode=mode)
    (tmp_path / "colours").write_text(COLOURS)
    config = BuildConfig(folder, tmp_path / "out", records=False, colors=tmp_path / "colours")
    dataset = build(config)
    assert dataset.classes == ("ground", "red house", "water")
    with Image.open(dataset.mask("3")) as mask:
        expected = np.resize(np.array([0, 1, 2, 255], np.uint8), (6, 8))
        np.testing.assert_array_equal(np.array(mask), expected)


def test_colours_that_fit_no_class_are_named_with_their_share(tmp_path: Path) -> None:
    folder = painted(with_images(tmp_path / "land"), (1, 2, 3), (1, 2, 3), (4, 5, 6))
    for number in range(1, 10):
        (folder / f"images/{number}.jpg").unlink()
        (folder / f"masks/{number}.png").unlink()
    (tmp_path / "colours").write_text(COLOURS)
    ((problem,), _) = check(CheckConfig(folder, colors=tmp_path / "colours"))
    assert str(problem) == (
        "error: #010203 (29 %), #040506 (12 %) fit no class, 42 % of the pixels: colours names 4 "
        "colours: add these there, or paint it again [mask-values]"
    )


def test_a_jpeg_is_no_mask_of_colours_either(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "land")
    for number in range(10):
        write_mask(folder / f"masks/{number}.jpg", [0, 255])
    (tmp_path / "colours").write_text(COLOURS)
    found, _ = check(CheckConfig(folder, source="masks", colors=tmp_path / "colours"))
    assert {problem.value for problem in found if problem.severity == "error"} == {
        "a JPEG, which changes ids"
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ground 0 0\n", "line 1 is no NAME R G B or NAME #RRGGBB: 'ground 0 0'"),
        ("ground 0 0 256\n", "line 1 is no NAME R G B"),
        ("a 1 2 3\nb #010203\n", "line 2 names #010203 again, which is 'a'"),
        ("a 1 2 3\nbackground 0 0 0\n", "'background' must be the first line"),
        ("\n", "no colours in it"),
    ],
)
def test_a_wrong_file_of_colours_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "colours").write_text(text)
    with pytest.raises(UserError) as caught:
        read_colours(tmp_path / "colours")
    assert said in str(caught.value)


def test_a_heading_comments_and_several_colours_of_a_class_are_read(tmp_path: Path) -> None:
    file = tmp_path / "colours.csv"
    file.write_text("name,r,g,b\n# of the camera\nsky,1,1,1\nroad,2,2,2\nsky,3,3,3\n")
    meaning = read_colours(file)
    assert meaning.classes == ("sky", "road")
    assert meaning.ids == {0x010101: 0, 0x020202: 1, 0x030303: 0}


def test_named_values_give_the_classes_with_the_background_first(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "pets")
    for number in range(10):
        write_mask(folder / f"masks/{number}.png", [1, 2, 3])
    values = "1=pet,2=background,3=void"
    dataset = build(BuildConfig(folder, tmp_path / "out", records=False, mask_values=values))
    assert dataset.classes == ("background", "pet")
    assert dataset.pixels["val"] == {"background": 16, "pet": 16, "__ignore__": 16}
    write_mask(folder / "masks/0.png", [1, 7])
    found, _ = check(CheckConfig(folder, mask_values=values))
    assert str(found[0]) == (
        "error: 7 (50 %) fit no class, 50 % of the pixels: --mask-values names 1, 2, 3: name these "
        "too, or paint it again [mask-values]"
    )


def test_255_may_be_a_class_and_is_void_unless_it_is_named() -> None:
    assert name_values("0=background,255=person", None, Path()).ids == {0: 0, 255: 1}
    assert name_values("0=background,1=person", None, Path()).ids == {0: 0, 1: 1, 255: 255}


def test_a_class_file_orders_the_classes_of_named_values() -> None:
    meaning = name_values("5=dog,6=cat", ("background", "cat", "dog"), Path("names"))
    assert meaning.classes == ("background", "cat", "dog") and meaning.ids[5] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0=background,0=pet", "takes each value once"),
        ("background=0", "takes each value once"),
        ("1=pit", "'pit' (rather 'pet'?) is none of the classes background, pet of names"),
    ],
)
def test_wrong_values_are_refused(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        name_values(text, ("background", "pet"), Path("names"))
    assert said in str(caught.value)
