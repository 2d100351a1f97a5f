from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.make_fishki import draw_photo, kinds, labelme_json, main, plan_photo

SHIPPED = Path(__file__).parents[2] / "fishki_labelme"


def fishki(out: Path, *more: str) -> int:
    return main([str(out), "--count", "10", "--size", "96", *more])


def labels(path: Path) -> list[str]:
    return [shape["label"] for shape in json.loads(path.read_text(encoding="utf-8"))["shapes"]]


def test_the_same_seed_draws_the_same_bytes_and_another_seed_does_not(tmp_path: Path) -> None:
    assert fishki(tmp_path / "a") == fishki(tmp_path / "b") == 0
    assert fishki(tmp_path / "c", "--seed", "2") == 0
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(files) == 21
    first, again, other = (
        [(tmp_path / folder / name).read_bytes() for name in files] for folder in "abc"
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("count", [10, 40, 200])
def test_a_fifth_is_empty_half_is_clean_and_the_rest_has_one_or_two_defects(count: int) -> None:
    shapes = [
        tuple(label for label, _ in plan_photo(index, kind, seed=3).shapes)
        for index, kind in enumerate(kinds(count, seed=3))
    ]
    found = Counter(shapes)
    assert found[()] == count / 5
    assert found[("fishka",)] == count / 2
    defective = found[("fishka", "defect")] + found[("fishka", "defect", "defect")]
    assert defective == count - count / 5 - count / 2


def test_defects_range_from_a_few_pixels_to_most_of_the_disc() -> None:
    areas = []
    for index, kind in enumerate(kinds(100, seed=1)):
        shapes = dict(plan_photo(index, kind, seed=1).shapes)
        if "defect" in shapes:
            polygons = (np.float32(shapes[label]) for label in ("defect", "fishka"))
            defect, disc = (cv2.contourArea(polygon) for polygon in polygons)
            areas.append(defect / disc)
    assert min(areas) < 0.002
    assert max(areas) > 0.7
    assert 0.02 < np.median(areas) < 0.4


def test_annotations_are_those_of_labelme_and_as_coarse_as_a_hand_s(tmp_path: Path) -> None:
    fishki(tmp_path / "out")
    assert (tmp_path / "out/obj.names").read_text() == "__background__\nfishka\ndefect\n"
    for path in (tmp_path / "out").glob("*.json"):
        annotation = json.loads(path.read_text())
        image = cv2.imread(str(path.with_name(annotation["imagePath"])))
        assert image.shape == (annotation["imageHeight"], annotation["imageWidth"], 3)
        assert annotation["version"].startswith("5.")
        assert annotation["imageData"] is None
        for shape in annotation["shapes"]:
            points = np.array(shape["points"])
            assert shape["shape_type"] == "polygon"
            assert 5 <= len(points) <= 24
            assert points.min() >= 0
            assert points.max() <= 96
            assert cv2.contourArea(points.astype(np.float32)) > 0


def test_a_large_defect_is_rougher_than_a_clean_disc_seen_from_near() -> None:
    size = 408
    roughness: dict[str, list[float]] = {"clean": [], "large": []}
    for index, kind in enumerate(kinds(40, seed=1)):
        plan = plan_photo(index, kind, seed=1)
        if kind in roughness:
            image = draw_photo(index, plan, size, seed=1)[..., 0]
            area = np.zeros((size, size), np.uint8)
            cv2.fillPoly(area, [np.rint(plan.shapes[-1][1] * size).astype(int)], 1)
            inside = cv2.erode(area, np.ones((41, 41), np.uint8)) == 1
            roughness[kind].append(float(image[inside].std()))
    assert np.median(roughness["large"]) > 1.5 * np.median(roughness["clean"])
    assert max(roughness["clean"]) > min(roughness["large"])  # or it would be too easy


def test_an_existing_folder_is_refused_and_kept_unless_overwrite_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "00000010.jpg"
    kept.write_bytes(b"a photo")
    assert fishki(tmp_path) == 2
    assert "exists: choose another folder or add --overwrite" in capsys.readouterr().err
    assert kept.exists()
    assert fishki(tmp_path, "--overwrite") == 0
    assert not kept.exists()
    assert len(list(tmp_path.glob("*.jpg"))) == 10


@pytest.mark.parametrize("name", ["mine.jpg", "00000000.png", "000000000.jpg", ".hidden", "sub"])
def test_a_folder_with_files_of_the_user_s_own_is_never_overwritten(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "00000000.jpg").write_bytes(b"a photo")
    (tmp_path / name).write_bytes(b"mine")
    assert fishki(tmp_path, "--overwrite") == 2
    error = capsys.readouterr().err
    assert f"not overwritten: choose another folder or move them. Received: ['{name}']" in error
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    assert fishki(tmp_path / "mine", "--overwrite") == 2
    assert (tmp_path / "mine").read_bytes() == b"mine"


def skip_unless_shipped(folder: Path) -> None:
    """Skip where the shipped photos gave place to others, as the README invites to do."""
    drawn = {f"{index:08d}{suffix}" for index in range(40) for suffix in (".jpg", ".json")}
    if {path.name for path in folder.iterdir()} != {*drawn, "obj.names"}:
        pytest.skip(f"{folder.name} holds other photos than the shipped ones")


def test_photos_of_the_user_s_own_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "mine.jpg").touch()
    with pytest.raises(pytest.skip.Exception, match="other photos than the shipped ones"):
        skip_unless_shipped(tmp_path)


def test_the_shipped_set_is_what_the_command_draws() -> None:
    skip_unless_shipped(SHIPPED)
    for index, kind in enumerate(kinds(40, seed=1)):
        path = SHIPPED / f"{index:08d}.json"
        plan = plan_photo(index, kind, seed=1)
        assert json.loads(path.read_text()) == labelme_json(f"{path.stem}.jpg", plan, 816)
        if index in (0, 4):
            drawn = draw_photo(index, plan, 816, seed=1).astype(int)
            shipped = cv2.imread(str(path.with_suffix(".jpg"))).astype(int)
            # the JPEG loses a little, and sines differ in their last bit between processors
            assert np.abs(drawn - shipped).mean() < 2


def test_the_shipped_set_is_light() -> None:
    skip_unless_shipped(SHIPPED)
    assert len(list(SHIPPED.glob("*.jpg"))) == 40
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8_000_000


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder that takes no files")
def test_a_place_that_cannot_be_written_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/proc/none/out"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "/proc/none: No such file or directory: check" in error
