"""labelme files and images are found in any folder."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.voc_builder.folders import (
    image_bytes,
    square,
    write_annotated,
    write_badly_named,
    write_json,
)
from voc_builder.base.errors import UserError
from voc_builder.sources.labelme_folder import find_labelme, labelme_samples


def test_images_without_json_are_found_in_any_case_and_hidden_files_are_not(tmp_path: Path) -> None:
    write_annotated(tmp_path / "sub/a.json")
    for name in ("b.JPG", "c.Png", "d.tif", ".e.jpg", "f.txt", ".hidden/g.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image_bytes())
    found = find_labelme(tmp_path)
    assert [path.name for path in found.unlabelled] == ["b.JPG", "c.Png", "d.tif"]
    assert [one.path.name for one in found.annotations] == ["a.json"]
    assert [sample.id for sample in labelme_samples(found, tmp_path, empty=False)] == ["a"]
    assert len(labelme_samples(found, tmp_path, empty=True)) == 4


def test_an_image_that_another_file_describes_is_not_unlabelled(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(image_bytes())
    write_json(tmp_path / "shapes.json", [square("chip")], imagePath="photo.jpg")
    assert find_labelme(tmp_path).unlabelled == ()


def test_images_of_annotations_that_cannot_be_used_are_not_unlabelled(tmp_path: Path) -> None:
    for name in ("flawed", "inside", "broken", "told", "free"):
        (tmp_path / f"img/{name}.jpg").parent.mkdir(exist_ok=True)
        (tmp_path / f"img/{name}.jpg").write_bytes(image_bytes())
    (tmp_path / "ann").mkdir()
    flawed = square("chip", points=[[0, 0], [1, 1]])
    write_json(tmp_path / "ann/1.json", [flawed], imagePath="../img/flawed.jpg")
    data = base64.b64encode(image_bytes(1)).decode()
    write_json(tmp_path / "ann/2.json", imagePath="../img/inside.jpg", imageData=data)
    (tmp_path / "ann/broken.json").write_text("{")
    (tmp_path / "ann/4.json").write_text('{"shapes": 0, "imagePath": "..\\\\img\\\\told.jpg"}')
    found = find_labelme(tmp_path)
    assert [path.name for path in found.unlabelled] == ["free.jpg"]
    assert [one.path.name for one in found.annotations] == ["1.json", "2.json"]
    assert [(one.file.name, one.severity) for one in found.problems] == [
        ("4.json", "error"),
        ("broken.json", "error"),
    ]


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_annotated(tmp_path / "closed/a.json")
    listed = Path.iterdir

    def refuse(path: Path) -> Iterator[Path]:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"closed: .*\(Permission denied\)"):
        find_labelme(tmp_path)


def test_other_json_is_a_warning_unless_it_has_the_name_of_an_image(tmp_path: Path) -> None:
    write_annotated(tmp_path / "a.json")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "b.jpg").write_bytes(image_bytes())
    (tmp_path / "b.json").write_text("{}")
    problems = find_labelme(tmp_path).problems
    assert [(one.file.name, one.severity) for one in problems] == [
        ("b.json", "error"),
        ("settings.json", "warning"),
    ]


def test_a_name_that_is_not_utf_8_is_an_error_and_the_file_is_not_used(tmp_path: Path) -> None:
    write_annotated(tmp_path / "a.json")
    write_badly_named(tmp_path, ".jpg")
    write_badly_named(tmp_path, ".json")
    write_badly_named(tmp_path, ".txt")
    found = find_labelme(tmp_path)
    assert len(found.annotations) == 1 and found.unlabelled == ()
    named = [(one.file.name, one.rule) for one in found.problems]
    assert named == [(rf"caf\udce9{suffix}", "file-name") for suffix in (".jpg", ".json")]


def test_the_image_of_a_json_whose_name_is_not_utf_8_is_not_unlabelled(tmp_path: Path) -> None:
    (tmp_path / "cafe.jpg").write_bytes(image_bytes())
    write_badly_named(tmp_path, ".json").write_text('{"shapes": [], "imagePath": "cafe.jpg"}')
    found = find_labelme(tmp_path)
    assert (found.annotations, found.unlabelled) == ((), ())
    assert [one.rule for one in found.problems] == ["file-name"]


def test_a_second_image_of_a_name_is_reported_and_never_taken_as_empty(tmp_path: Path) -> None:
    write_annotated(tmp_path / "a.json")
    data = base64.b64encode(image_bytes(1)).decode()
    write_annotated(tmp_path / "inside.json", imageData=data)
    write_annotated(tmp_path / "lost.json", imagePath="none.jpg")
    for name in ("a.png", "inside.png", "lost.png"):
        (tmp_path / name).write_bytes(image_bytes(kind="PNG"))
    found = find_labelme(tmp_path)
    assert found.unlabelled == ()
    (problem,) = found.problems
    assert (problem.file.name, problem.severity, problem.rule) == ("a.png", "warning", "unlabelled")


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write_annotated(tmp_path / "real/a.json")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link").symlink_to(tmp_path / "real")
    (tmp_path / "folder/circle").symlink_to(tmp_path / "folder")
    assert [one.path.name for one in find_labelme(tmp_path / "folder").annotations] == ["a.json"]


@pytest.mark.parametrize("name", ["", "missing", "file"])
def test_a_folder_without_anything_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no such folder|neither labelme JSON nor images"):
        find_labelme(tmp_path / (name or "empty"))
