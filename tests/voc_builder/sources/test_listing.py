"""Files get names without clashes."""

from __future__ import annotations

from pathlib import Path

from voc_builder.sources.listing import unique_ids


def test_stems_are_ids_and_clashing_ones_get_their_folders() -> None:
    paths = ["one.json", "a/two.json", "b/two.json", "b/c/фишка.json"]
    assert unique_ids([Path(path) for path in paths]) == ["one", "a_two", "b_two", "фишка"]


def test_ids_stay_unique_when_the_folders_clash_too() -> None:
    paths = ["a/b_c.json", "a_b/c.json", "x/c.json", "b_c.json"]
    ids = unique_ids([Path(path) for path in paths])
    assert ids == ["a_b_c", "a_b_c_2", "x_c", "b_c"]


def test_names_that_a_disk_may_take_for_one_are_kept_apart() -> None:
    assert unique_ids([Path("a/IMG.json"), Path("b/img.json")]) == ["a_IMG", "b_img"]
    composed, apart = "caf\u00e9", "cafe\u0301"
    assert unique_ids([Path(f"a/{composed}.json"), Path(f"b/{apart}.json")]) == [
        f"a_{composed}",
        f"b_{apart}",
    ]


def test_an_id_never_ends_like_an_image() -> None:
    paths = [Path("a.jpg.json"), Path("b.PNG.jpg.json"), Path("c.tiff.json"), Path("x/c.json")]
    assert unique_ids(paths) == ["a", "b", "c", "x_c"]
