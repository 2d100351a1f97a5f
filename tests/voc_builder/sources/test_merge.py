"""Old classes become new ones, pixel by pixel, and each is named once."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.voc_builder.folders import built, rules, write_image, write_mask
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.sources.merge import merge_classes, parse_merge
from voc_builder.sources.sample import Found

OLD = ("building", "clutter", "ground", "car")
FOUND = Found(OLD, (), (), (), 0)


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
    if {*new} == {"void"}:
        with pytest.raises(UserError, match="no class but void"):
            merge_classes(FOUND, text)
        return
    merged = merge_classes(FOUND, text)
    sample = Drawn(np.array([ids], np.uint8))
    mask = merged.draw_mask(sample, 1, len(ids))  # type: ignore[arg-type]
    names = {**dict(enumerate(merged.classes)), VOID: "void"}
    assert [names[i] for i in mask[0].tolist()] == ["void" if i == VOID else new[i] for i in ids]
    assert "background" not in merged.classes[1:]


def test_new_classes_are_in_the_order_given_with_the_background_first() -> None:
    merged = merge_classes(FOUND, "thing=car,stuff=building,background=*")
    assert merged.classes == ("background", "thing", "stuff")
    assert merged.original_classes == OLD


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("background=ground+clutter,object=building", "car not named"),
        ("background=ground,object=buildng+*", "'buildng' (rather 'building'?)"),
        ("background=ground,object=ground+*", "'ground' comes twice"),
        ("background=*,object=*", "* comes twice"),
        ("background", "Received: background"),
    ],
)
def test_a_wrong_merge_is_refused(text: str, wrong: str) -> None:
    with pytest.raises(UserError, match=re.escape(wrong)):
        merge_classes(FOUND, text)


def test_the_background_may_be_written_in_any_of_its_ways() -> None:
    merged = parse_merge("background=background,object=*", ("__background__", "a", "b"))
    assert merged == {"__background__": "background", "a": "object", "b": "object"}


def test_a_merged_set_is_built_and_checked_by_its_old_names(tmp_path: Path) -> None:
    land = tmp_path / "land"
    for number in range(10):
        write_image(land / f"images/{number}.jpg")
        write_mask(land / f"masks/{number}.png", [0, 1, 2, 3])
    (land / "classes.txt").write_text("\n".join(OLD))
    merge = "background=clutter+ground,object=building+car"
    dataset = built(land, merge=merge)
    assert dataset.classes == ("background", "object")
    assert dataset.pixels["val"] == {"background": 24, "object": 24, "__ignore__": 0}
    write_image(land / "images/bare.jpg")
    with pytest.raises(UserError, match="class 0 is 'building'"):
        built(land, tmp_path / "b", merge=merge, unlabelled="background")
    write_mask(land / "masks/0.png", [7])
    assert rules(land, merge=merge)[-1][:3] == ("0.png", "error", "mask-values")
