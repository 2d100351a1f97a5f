from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scripts.show_pipes import fill_boxes, main, read_boxes
from segtf.inference.onnx_model import write_metadata
from tests.segtf.tiny_onnx import INFO, write_channels_model
from voc_builder.pixels.png import decode_mask, encode_mask

HEIGHT, WIDTH = 48, 64
CLASSES = ("background", "object")


def two_channels(path: Path) -> Path:
    """An ONNX file that names an object where there is more green than red."""
    value = helper.make_tensor_value_info
    shape = ["batch", "height", "width"]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["image", "both"], ["two"], axis=3),
            helper.make_node("Cast", ["two"], ["raw"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["raw", "scale"], ["probabilities"]),
        ],
        "channels",
        [value("image", TensorProto.UINT8, [*shape, 3])],
        [value("probabilities", TensorProto.FLOAT, [*shape, 2])],
        [
            helper.make_tensor("both", TensorProto.INT64, [2], [0, 1]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255]),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    colours = ((0, 0, 0), (128, 0, 0))
    info = replace(INFO, classes=CLASSES, colours=colours, shape=(HEIGHT, WIDTH))
    write_metadata(path, info)
    return path


@pytest.fixture
def pipes(tmp_path: Path) -> Path:
    """A test photo with two boxes, whose mask is the lower half of one."""
    out = tmp_path / "pipes"
    for name in ("masks/test", "masks/test_mask", "mask_boxes/test"):
        (out / name).mkdir(parents=True)
    photo = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(out / "masks/test/a.jpg"), photo)
    exact = np.zeros((HEIGHT, WIDTH), np.uint8)
    exact[20:40, 8:24] = 1
    (out / "masks/test_mask/a.png").write_bytes(encode_mask(exact))
    lines = ["0 0.25 0.416667 0.25 0.833333", "3 0.75 0.5 0.125 0.083333"]
    (out / "mask_boxes/test/a.txt").write_text("\n".join(lines))
    return out


def test_networks_and_filled_boxes_are_scored_on_exact_masks_and_drawn(
    pipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net").mkdir()
    model, out = two_channels(tmp_path / "net/model.onnx"), tmp_path / "sheet.jpg"
    assert main([str(pipes), str(model), "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == ["test, 1 photos", "object            IoU    Dice"]
    # 320 pixels in both, the boxes have 16 x 40 and 8 x 4
    assert said[2].split() == ["boxes,", "filled", f"{320 / 672:.4f}", f"{640 / 992:.4f}"]
    _, green, red = np.moveaxis(cv2.imread(str(pipes / "masks/test/a.jpg")), -1, 0)
    truth = decode_mask((pipes / "masks/test_mask/a.png").read_bytes()) == 1
    both, either = (truth & (green > red)).sum(), (truth | (green > red)).sum()
    assert said[3].split() == ["net", f"{both / either:.4f}", f"{2 * both / (both + either):.4f}"]
    picture = cv2.imread(str(out))
    assert picture.shape[1] > 2 * picture.shape[0]


def test_filled_boxes_are_the_pixels_in_them(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("5 0.5 0.5 0.5 0.5\n")
    boxes = read_boxes(file, 4, 8)
    assert boxes == ((2, 1, 6, 3),)
    expected = np.zeros((4, 8), np.uint8)
    expected[1:3, 2:6] = 1
    np.testing.assert_array_equal(fill_boxes(boxes, 4, 8), expected)


def test_other_data_and_networks_of_other_classes_are_refused(
    pipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_channels_model(tmp_path / "three.onnx")
    assert main([str(pipes), str(model)]) == 2
    assert "three.onnx: its classes are red, green, синий, not two" in capsys.readouterr().err
    assert main([str(tmp_path), str(model), "--split", "val"]) == 2
    assert "no photos of the split val in masks/valid" in capsys.readouterr().err
