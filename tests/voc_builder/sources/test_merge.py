"""Old classes become new ones, pixel by pixel, and each is named once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.voc_builder.folders import write_image, write_mask
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import find_samples
from voc_builder.sources.merge import merge_classes, parse_merge
from voc_builder.sources.sample import Found

OLD = ("building", "clutter", "ground", "car")


class Drawn:
    """A sample of given ids."""

    def __init__(self, ids: np.ndarray) -> None:
        self.ids = ids

    def draw_mask(self, classes: object, height: int, width: int) -> np.ndarray:
        return self.ids


@given(
    st.lists(st.sampled_from(["background", "object", "void", "plant"]), min_size=4, max_size=4),
    st.lists(st.sampled_from([0, 1, 2, 3, VOID]), min_size=1, max_size=30),
)
def test_every_pixel_gets_the_new_class_of_its_old_one(new: list[str], ids: list[int]) -> None:
    text = ",".join(f"{name}={old}" for name, old in zip(new, OLD, strict=True))
    found = Found(OLD, (Drawn(np.array([ids], np.uint8)),), (), (), 1)  # type: ignore[arg-type]
    if {*new} == {"void"}:
        with pytest.raises(UserError, match="no class but void"):
            merge_classes(found, text)
        return
    merged = merge_classes(found, text)
    mask = merged.samples[0].draw_mask(merged.classes, 1, len(ids))
    names = {**dict(enumerate(merged.classes)), VOID: "void"}
    assert [names[i] for i in mask[0].tolist()] == ["void" if i == VOID else new[i] for i in ids]
    assert "background" not in merged.classes[1:]


def test_new_classes_stand_as_given_with_the_background_first() -> None:
    found = Found(OLD, (), (), (), 0)
    assert merge_classes(found, "thing=car,stuff=building,background=*").classes == (
        "background",
        "thing",
        "stuff",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("background=ground+clutter,object=building", "car not named: name each class, or all"),
        ("background=ground,object=buildng+*", "'buildng' (rather 'building'?) is none of the"),
        ("background=ground,object=ground+*", "'ground' comes twice"),
        ("background=*,object=*", "* comes twice"),
        ("background", "--merge takes NEW=OLD+OLD"),
        ("void=*", "leaves no class but void"),
    ],
)
def test_a_wrong_merge_is_refused_with_its_cure(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        merge_classes(Found(OLD, (), (), (), 0), text)
    assert said in str(caught.value)


def test_the_background_may_be_written_in_any_of_its_ways() -> None:
    merged = parse_merge("background=background,object=*", ("__background__", "a", "b"))
    assert merged == {"__background__": "background", "a": "object", "b": "object"}


def test_a_merged_set_is_built_and_checked_by_its_old_names(tmp_path: Path) -> None:
    for number in range(10):
        write_image(tmp_path / f"land/images/{number}.jpg")
        write_mask(tmp_path / f"land/masks/{number}.png", [0, 1, 2, 3])
    (tmp_path / "land/classes.txt").write_text("\n".join(OLD))
    merge = "background=clutter+ground,object=building+car"
    dataset = build(BuildConfig(tmp_path / "land", tmp_path / "out", records=False, merge=merge))
    assert dataset.classes == ("background", "object")
    assert {**dataset.pixels["val"]} == {"background": 24, "object": 24, "__ignore__": 0}
    write_image(tmp_path / "land/images/bare.jpg")
    config = BuildConfig(tmp_path / "land", tmp_path / "b", merge=merge, unlabelled="background")
    with pytest.raises(UserError, match="class 0 is 'building', no background"):
        build(config)
    write_mask(tmp_path / "land/masks/0.png", [7])
    found = find_samples(tmp_path / "land", SourceConfig(merge=merge), empty=False)
    (wrong,) = found.samples[0].problems(found.classes, (6, 8))
    assert "7 (100 %) fit no class" in wrong.value and "0 to 3" in wrong.cure
