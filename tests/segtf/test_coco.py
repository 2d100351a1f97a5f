"""pycocotools reads what is gathered, and finds every area pixel for pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as rle
from pycocotools.coco import COCO

from segtf.coco import CocoDocument
from segtf.polygons import find_regions
from tests.segtf.drawn_masks import any_masks, blobs
from voc_builder.errors import UserError

CLASSES = ("__background__", "chip", "дефект")


def opened(document: CocoDocument, folder: Path) -> COCO:
    path = folder / "coco.json"
    path.write_bytes(document.encode())
    return COCO(str(path))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("coco")


@settings(deadline=None, max_examples=60)
@given(any_masks(), st.sampled_from(["polygon", "rle"]))
def test_every_area_is_read_back_pixel_for_pixel(
    folder: Path, mask: NDArray[np.uint8], segmentation: str
) -> None:
    document = CocoDocument(CLASSES, segmentation=segmentation)
    document.add("a.jpg", mask)
    coco = opened(document, folder)
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


def test_photos_are_added_one_after_the_other(folder: Path) -> None:
    document = CocoDocument(CLASSES)
    masks = {f"{i}/фото.jpg": blobs(i, 20 + i, 30) for i in range(3)}
    masks["empty.jpg"] = np.zeros((4, 5), np.uint8)
    for name, mask in masks.items():
        document.add(name, mask)
    coco = opened(document, folder)
    photos = coco.loadImgs(coco.getImgIds())
    assert [photo["id"] for photo in photos] == [1, 2, 3, 4]
    assert sorted(coco.anns) == list(range(1, len(coco.anns) + 1)), "0 is none to COCOeval"
    for photo, (name, mask) in zip(photos, masks.items(), strict=True):
        assert (photo["file_name"], photo["height"], photo["width"]) == (name, *mask.shape)
        found = np.zeros(mask.shape, np.uint8)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=photo["id"])):
            found[coco.annToMask(annotation) > 0] = annotation["category_id"]
        np.testing.assert_array_equal(found, mask)


def test_a_prediction_equal_to_the_truth_scores_one(folder: Path) -> None:
    """`iscrowd` 1 would leave the areas with holes out of the score."""
    from pycocotools.cocoeval import COCOeval

    document = CocoDocument(CLASSES, segmentation="rle")
    mask = np.zeros((60, 60), np.uint8)
    mask[5:50, 5:50] = 1
    mask[20:30, 20:30] = 0
    document.add("a.jpg", mask)
    truth = opened(document, folder)
    predicted = truth.loadRes([{**annotation, "score": 1.0} for annotation in truth.anns.values()])
    scores = COCOeval(truth, predicted, "segm")
    scores.evaluate()
    scores.accumulate()
    scores.summarize()
    assert scores.stats[0] == pytest.approx(1)


def test_categories_are_class_ids_without_the_background() -> None:
    mask = np.array([[0, 1, 255]], np.uint8)
    document = CocoDocument(CLASSES)
    document.add("a.jpg", mask)
    assert names(document) == {1: "chip", 2: "дефект"}
    assert boxes(document) == [(1, [1, 0, 1, 1])]
    document = CocoDocument(("roof", "car"))
    document.add("a.jpg", mask)
    assert names(document) == {0: "roof", 1: "car"}
    assert boxes(document) == [(0, [0, 0, 1, 1]), (1, [1, 0, 1, 1])]


def names(document: CocoDocument) -> dict[int, str]:
    return {one["id"]: one["name"] for one in json.loads(document.encode())["categories"]}


def boxes(document: CocoDocument) -> list[tuple[int, list[int]]]:
    annotations = json.loads(document.encode())["annotations"]
    return [(one["category_id"], one["bbox"]) for one in annotations]


def test_the_same_photos_give_the_same_bytes() -> None:
    documents = [CocoDocument(CLASSES) for _ in range(2)]
    for document in documents:
        document.add("a.jpg", blobs(1, 30, 30))
    assert documents[0].encode() == documents[1].encode()


def test_another_segmentation_and_ids_without_a_class_are_refused() -> None:
    with pytest.raises(UserError, match="Received: box"):
        CocoDocument(CLASSES, segmentation="box")
    with pytest.raises(ValueError, match=r"ids \[3\]"):
        CocoDocument(CLASSES).add("a.jpg", np.array([[0, 3, 255]], np.uint8))
