from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.make_fishki import draw_image, kinds, labelme_json, main, plan_image

SHIPPED = Path(__file__).parents[2] / "fishki_labelme"


@pytest.mark.parametrize("count", [10, 40, 200])
def test_a_fifth_is_empty_half_is_clean_and_the_rest_has_one_or_two_defects(count: int) -> None:
    shapes = [
        tuple(label for label, _ in plan_image(index, kind, seed=3).shapes)
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
        shapes = dict(plan_image(index, kind, seed=1).shapes)
        if "defect" in shapes:
            polygons = (np.float32(shapes[label]) for label in ("defect", "fishka"))
            defect, disc = (cv2.contourArea(polygon) for polygon in polygons)
            areas.append(defect / disc)
    assert min(areas) < 0.002
    assert max(areas) > 0.7
    assert 0.02 < np.median(areas) < 0.4


def test_annotations_are_those_of_labelme_and_as_coarse_as_a_hand_s(tmp_path: Path) -> None:
    assert main([str(tmp_path / "out"), "--count", "10", "--size", "96"]) == 0
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


@pytest.mark.slow
def test_a_large_defect_is_rougher_than_a_clean_disc_seen_from_near() -> None:
    size = 408
    roughness: dict[str, list[float]] = {"clean": [], "large": []}
    for index, kind in enumerate(kinds(40, seed=1)):
        plan = plan_image(index, kind, seed=1)
        if kind in roughness:
            image = draw_image(index, plan, size, seed=1)[..., 0]
            area = np.zeros((size, size), np.uint8)
            cv2.fillPoly(area, [np.rint(plan.shapes[-1][1] * size).astype(int)], 1)
            inside = cv2.erode(area, np.ones((41, 41), np.uint8)) == 1
            roughness[kind].append(float(image[inside].std()))
    assert np.median(roughness["large"]) > 1.5 * np.median(roughness["clean"])
    assert max(roughness["clean"]) > min(roughness["large"])  # or it would be too easy


def skip_unless_shipped(folder: Path) -> None:
    """Skip where other images have replaced the shipped ones, as the README suggests."""
    drawn = {f"{index:08d}{suffix}" for index in range(40) for suffix in (".jpg", ".json")}
    if {path.name for path in folder.iterdir()} != {*drawn, "obj.names", "README.md"}:
        pytest.skip(f"{folder.name} holds other images than the shipped ones")


@pytest.mark.slow
def test_the_shipped_set_is_what_the_command_draws() -> None:
    skip_unless_shipped(SHIPPED)
    for index, kind in enumerate(kinds(40, seed=1)):
        path = SHIPPED / f"{index:08d}.json"
        plan = plan_image(index, kind, seed=1)
        assert json.loads(path.read_text()) == labelme_json(f"{path.stem}.jpg", plan, 816)
        if index in (0, 4):
            drawn = draw_image(index, plan, 816, seed=1).astype(int)
            shipped = cv2.imread(str(path.with_suffix(".jpg"))).astype(int)
            # JPEG is lossy, and the last bit of a sine differs between processors
            assert np.abs(drawn - shipped).mean() < 2


def test_the_shipped_set_is_light() -> None:
    skip_unless_shipped(SHIPPED)
    assert len(list(SHIPPED.glob("*.jpg"))) == 40
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 8_000_000
