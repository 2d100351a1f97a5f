"""The COCO file of predictions is a source of annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from segtf.outputs.coco import CocoWriter, coco_annotations
from voc_builder.sources.config import SourceConfig
from voc_builder.sources.detect import find_samples


def test_predictions_are_read_back(tmp_path: Path) -> None:
    ids = np.zeros((6, 8), np.uint8)
    ids[1:5, 1:7], ids[2:4, 2:5] = 1, 2
    classes = ["background", "chip", "defect"]
    with (tmp_path / "coco.json").open("w", encoding="utf-8") as file:
        writer = CocoWriter(file, classes)
        writer.add("a.jpg", ids.shape, coco_annotations(ids, classes))
        writer.end()
    Image.new("RGB", (8, 6)).save(tmp_path / "a.jpg")
    found = find_samples(tmp_path / "coco.json", SourceConfig(), empty=False)
    np.testing.assert_array_equal(found.samples[0].draw_mask(found.classes, 6, 8), ids)
