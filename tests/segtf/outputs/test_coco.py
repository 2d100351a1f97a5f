"""pycocotools reads what is gathered, and finds every area pixel for pixel."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO

from segtf.outputs.coco import CocoWriter, coco_annotations
from segtf.outputs.polygons import find_regions
from tests.segtf.drawn_masks import any_masks, blobs
from voc_builder.base.errors import UserError

CLASSES = ("__background__", "chip", "дефект")


def written(
    masks: Mapping[str, NDArray[np.uint8]],
    *,
    classes: Sequence[str] = CLASSES,
    segmentation: str = "polygon",
) -> str:
    """The COCO file of some images."""
    file = io.StringIO()
    writer = CocoWriter(file, classes)
    for name, mask in masks.items():
        writer.add(name, mask.shape, coco_annotations(mask, classes, segmentation=segmentation))
    writer.end()
    return file.getvalue()


def opened(text: str, folder: Path) -> COCO:
    path = folder / "coco.json"
    path.write_text(text, encoding="utf-8")
    return COCO(str(path))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coco")


@settings(deadline=None, max_examples=60)
@given(any_masks(), st.sampled_from(["polygon", "rle"]))
def test_every_area_is_read_back_pixel_for_pixel(
    folder: Path, mask: NDArray[np.uint8], segmentation: str
) -> None:
    coco = opened(written({"a.jpg": mask}, segmentation=segmentation), folder)
    regions = list(find_regions(mask, [1, 2]))
    annotations = coco.loadAnns(coco.getAnnIds())
    assert len(annotations) == len(regions)
    for annotation, region in zip(annotations, regions, strict=True):
        found = coco.annToMask(annotation)
        expected = np.zeros(mask.shape, bool)
        region.cut(expected)[region.pixels] = True
        np.testing.assert_array_equal(found, expected)
        assert annotation["category_id"] == region.class_id
        encoded = rle.encode(np.asfortranarray(found))
        assert annotation["area"] == rle.area(encoded)
        assert annotation["bbox"] == rle.toBbox(encoded).tolist()
        assert annotation["iscrowd"] == 0
        polygon = isinstance(annotation["segmentation"], list)
        assert polygon == (segmentation == "polygon" and not region.holes)


def test_images_are_added_one_after_the_other(folder: Path) -> None:
    masks = {f"{i}/фото.jpg": blobs(i, 20 + i, 30) for i in range(3)}
    masks["empty.jpg"] = np.zeros((4, 5), np.uint8)
    coco = opened(written(masks), folder)
    images = coco.loadImgs(coco.getImgIds())
    assert [image["id"] for image in images] == [1, 2, 3, 4]
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1)), "0 is none to COCOeval"
    for image, (name, mask) in zip(images, masks.items(), strict=True):
        assert (image["file_name"], image["height"], image["width"]) == (name, *mask.shape)
        found = np.zeros(mask.shape, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            found[coco.annToMask(annotation) > 0] = annotation["category_id"]
        np.testing.assert_array_equal(found, mask)


def test_a_prediction_equal_to_the_truth_scores_one(folder: Path) -> None:
    """`iscrowd` 1 would leave the areas with holes out of the score."""
    from pycocotools.cocoeval import COCOeval

    mask = np.zeros((60, 60), np.uint8)
    mask[5:50, 5:50] = 1
    mask[20:30, 20:30] = 0
    truth = opened(written({"a.jpg": mask}, segmentation="rle"), folder)
    predicted = truth.loadRes([{**annotation, "score": 1.0} for annotation in truth.anns.values()])
    scores = COCOeval(truth, predicted, "segm")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1)


def test_categories_are_class_ids_without_the_background() -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    text = written({"a.jpg": mask})
    assert names(text) == {1: "chip", 2: "дефект"}
    assert boxes(text) == [(1, [1, 0, 1, 1])]
    text = written({"a.jpg": mask}, classes=("roof", "car"))
    assert names(text) == {0: "roof", 1: "car"}
    assert boxes(text) == [(0, [0, 0, 1, 1]), (1, [1, 0, 1, 1])]


def names(text: str) -> dict[int, str]:
    return {one["id"]: one["name"] for one in json.loads(text)["categories"]}


def boxes(text: str) -> list[tuple[int, list[int]]]:
    return [(one["category_id"], one["bbox"]) for one in json.loads(text)["annotations"]]


def test_annotations_are_written_as_they_come() -> None:
    file = io.StringIO()
    writer = CocoWriter(file, CLASSES)
    writer.add("a.jpg", (4, 4), coco_annotations(np.ones((4, 4), np.uint8), CLASSES))
    before = len(file.getvalue())
    writer.add("b.jpg", (4, 4), coco_annotations(np.ones((4, 4), np.uint8), CLASSES))
    assert '"image_id":2,' in file.getvalue()[before:]


def test_a_file_of_no_images_is_one_too() -> None:
    assert json.loads(written({}))["images"] == json.loads(written({}))["annotations"] == []


def test_another_segmentation_and_ids_without_a_class_are_refused() -> None:
    with pytest.raises(UserError, match="Received: box"):
        coco_annotations(np.zeros((1, 1), np.uint8), CLASSES, segmentation="box")
    with pytest.raises(ValueError, match=r"ids \[3\]"):
        coco_annotations(np.array([[0, 3, 255]], np.uint8), CLASSES)
