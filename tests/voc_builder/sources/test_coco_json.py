"""Objects of COCO files have the pixels that pycocotools gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as oracle
from pycocotools.coco import COCO

from tests.voc_builder.folders import built, rules, sizes, write_image
from voc_builder.base.errors import UserError
from voc_builder.sources.coco_json import CocoObject, parse_segmentation
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import files_of, find_samples

HEIGHT, WIDTH = 6, 8
TRIANGLE = [1.0, 1.0, 6.5, 1.5, 3.0, 5.0]


def runs(rows: tuple[int, int], columns: tuple[int, int], *, compressed: bool) -> dict[str, Any]:
    """A box as run lengths."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[slice(*rows), slice(*columns)] = 1
    if compressed:
        encoded = oracle.encode(mask)
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = mask.ravel(order="F")
    turns = np.flatnonzero(np.diff(flat, prepend=0))
    counts = np.diff(turns, prepend=0, append=flat.size)
    return {"size": [HEIGHT, WIDTH], "counts": counts.tolist()}


def annotation(number: int, image: int, category: int, segmentation: Any, **more: Any) -> Any:
    entry = {"id": number, "image_id": image, "category_id": category, "bbox": [0, 0, 1, 1]}
    return {**entry, "segmentation": segmentation, "iscrowd": 0, **more}


def coco_file(root: Path, annotations: list[Any], *, images: int = 10) -> Path:
    for number in range(images):
        write_image(root / f"images/{number}.jpg")
    content = {
        "images": [
            {"id": 100 + number, "file_name": f"{number}.jpg", "height": HEIGHT, "width": WIDTH}
            for number in range(images)
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": annotations,
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations/instances.json").write_text(json.dumps(content))
    return root / "annotations/instances.json"


ANNOTATIONS = [
    annotation(1, 100, 7, [TRIANGLE]),
    annotation(2, 100, 3, runs((2, 3), (2, 4), compressed=True)),
    annotation(3, 101, 3, runs((0, 4), (1, 5), compressed=False)),
    annotation(4, 101, 7, runs((1, 2), (2, 3), compressed=False), iscrowd=1),
    annotation(5, 102, 7, [TRIANGLE, [0, 0, 2, 0, 2, 2]]),
]


def test_masks_are_those_of_pycocotools_the_small_over_the_large(tmp_path: Path) -> None:
    file = coco_file(tmp_path / "pets", ANNOTATIONS)
    found = find_samples(file, SourceConfig(), empty=False)
    assert found.classes == ("__background__", "cat", "dog") and len(found.samples) == 10
    reference = COCO(str(file))
    for sample, image in zip(found.samples, sorted(reference.imgs), strict=True):
        expected = np.zeros((HEIGHT, WIDTH), np.uint8)
        drawn = [(reference.annToMask(one), one) for one in reference.imgToAnns[image]]
        for mask, one in sorted(drawn, key=lambda pair: -int(pair[0].sum())):
            expected[mask == 1] = 255 if one["iscrowd"] else {3: 1, 7: 2}[one["category_id"]]
        np.testing.assert_array_equal(sample.draw_mask(found.classes, HEIGHT, WIDTH), expected)


corners = st.tuples(
    st.integers(0, 40).map(lambda n: n / 5), st.integers(0, 30).map(lambda n: n / 5)
)


@given(st.lists(st.lists(corners, min_size=3, max_size=6), min_size=1, max_size=3))
@settings(max_examples=50)
def test_any_polygons_have_the_pixels_that_pycocotools_gives_them(
    polygons: list[list[tuple[float, float]]],
) -> None:
    flat = [[value for point in polygon for value in point] for polygon in polygons]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    CocoObject("a", 0, parse_segmentation(flat)).paint(mask, 1)
    expected = oracle.decode(oracle.frPyObjects(flat, HEIGHT, WIDTH)).any(2)
    np.testing.assert_array_equal(mask, expected)


def test_a_set_is_built_and_images_without_annotations_are_empty(tmp_path: Path) -> None:
    file = coco_file(tmp_path / "pets", ANNOTATIONS)
    assert sizes(built(file, tmp_path / "out")) == (8, 1, 1)
    names = [path.name for path in files_of(file, SourceConfig())]
    assert names == ["instances.json", *(f"{number}.jpg" for number in range(10))]


@pytest.mark.parametrize(
    ("segmentation", "wrong"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ([[1, 2, 3, 4]], "4 numbers"),
        ([[1, 2, 3, 4, 5, "6"]], "not a list of polygons"),
        ([[1, 2, 3, 4, 5, 1e9]], "1000000 pixels"),
        ({"size": [6, 8], "counts": [3, 4]}, "7 pixels for a size of 48"),
        ({"size": [6, 8], "counts": [-3, 51]}, "counts"),
        ({"size": [6], "counts": [6]}, r"size \[6\]"),
        ({"size": [6, 8], "counts": "é"}, "letters"),
        ({"size": [6, 8], "counts": "zzz"}, "letters"),
    ],
)
def test_an_invalid_segmentation_never_reaches_pycocotools(segmentation: Any, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        parse_segmentation(segmentation)


def test_all_that_is_wrong_is_in_one_report(tmp_path: Path) -> None:
    wrong = [
        annotation(1, 100, 7, [[20, 20, 30, 20, 30, 30]]),
        annotation(2, 100, 99, [TRIANGLE]),
        annotation(3, 999, 7, [TRIANGLE]),
        annotation(4, 101, 3, {"size": [8, 6], "counts": [48]}),
        annotation(5, 101, 3, {"size": [6, 8], "counts": "oo0"}),
        annotation(6, 102, 3, None),
    ]
    file = coco_file(tmp_path / "pets", wrong)
    (tmp_path / "pets/images/9.jpg").unlink()
    assert [one for one in rules(file) if one[1] == "error"] == [
        ("instances.json", "error", "photo-missing", None),
        ("instances.json", "error", "coco-image", None),
        ("0.jpg", "error", "outside", 0),
        ("0.jpg", "error", "shape", 1),
        ("1.jpg", "error", "shape", 3),
        ("1.jpg", "error", "shape", 4),
        ("2.jpg", "error", "shape", 5),
    ]


def test_a_file_that_is_not_cocos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"shapes": []}')
    with pytest.raises(UserError, match="no list of images and of annotations and of categories"):
        find_samples(tmp_path / "a.json", SourceConfig(), empty=False)
