"""Images are found where the command line says, and each gets an id of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from segtf.inference.find_images import find_images, image_ids
from voc_builder.base.errors import UserError


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path, *images: str, leave_out: str = "out") -> list[str]:
    photos = find_images([folder / name for name in images], leave_out=[folder / leave_out])
    return [image.relative_to(folder).as_posix() for image in photos]


def test_a_folder_is_searched_with_its_subfolders_for_images_alone(tmp_path: Path) -> None:
    fill(tmp_path, "b.JPG", "a.tiff", "z/деталь.PnG", "a.json", "b.txt", ".x.jpg", ".t/a.jpg")
    assert found(tmp_path, ".") == ["a.tiff", "b.JPG", "z/деталь.PnG"]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    fill(tmp_path, "photos/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "photos/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/circle").symlink_to(tmp_path / "photos")
    assert found(tmp_path, "photos") == ["photos/a.jpg", "photos/link/b.jpg"]


def test_results_inside_the_folder_are_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "out/overlays/a.jpg")
    assert found(tmp_path, ".", leave_out="other") == ["a.jpg", "out/overlays/a.jpg"]
    assert found(tmp_path, ".", "**/*.jpg") == ["a.jpg"]


def test_a_pattern_finds_images_and_two_stars_go_through_folders(tmp_path: Path) -> None:
    fill(tmp_path, "a1.jpg", "a2.jpg", "a3.json", "b.jpg", "s/t/a4.jpg")
    assert found(tmp_path, "a*") == ["a1.jpg", "a2.jpg"]
    assert found(tmp_path, "**/a*") == ["a1.jpg", "a2.jpg", "s/t/a4.jpg"]


def test_a_named_file_is_taken_whatever_its_suffix_and_none_twice(tmp_path: Path) -> None:
    fill(tmp_path, "a.webp", "b [1].jpg")
    assert found(tmp_path, "a.webp", "b [1].jpg", ".") == ["a.webp", "b [1].jpg"]


def test_everything_that_brings_no_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a.jpg", "empty/a.json")
    with pytest.raises(UserError, match=r"no images at .*empty, .*none\.jpg, .*\*\.bmp: name"):
        found(tmp_path, "a.jpg", "empty", "none.jpg", "*.bmp")


def test_ids_are_stems_where_these_differ() -> None:
    assert image_ids([Path("x/a.jpg"), Path("y/b.png")]) == ["a", "b"]


def test_images_of_one_stem_get_the_folders_in_which_they_differ() -> None:
    images = [Path("d/x/in/a.jpg"), Path("d/y/in/A.jpg"), Path("d/b.jpg")]
    assert image_ids(images) == ["x_in_a", "y_in_A", "b"]


def test_images_of_one_stem_in_one_folder_get_their_suffix() -> None:
    assert image_ids([Path("a.jpg"), Path("a.png"), Path("a.bmp")]) == ["a", "a_png", "a_bmp"]


def test_a_longer_id_does_not_meet_the_stem_of_another() -> None:
    images = [Path("x/a.jpg"), Path("y/a.jpg"), Path("x_a.jpg"), Path("x_a_jpg.jpg")]
    assert image_ids(images) == ["x_a_jpg_2", "y_a", "x_a", "x_a_jpg"]
