"""A network runs from its ONNX file, and the file says all that must be known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from segtf.inference.onnx_model import OnnxModel, find_model, metadata_of, read_info, write_metadata
from segtf.inference.postprocess import Postprocess, Rule
from tests.segtf.tiny_onnx import INFO, write_channels_model
from voc_builder.base.errors import UserError


def test_metadata_are_json_under_our_prefix_and_come_back_the_same() -> None:
    metadata = metadata_of(INFO)
    assert metadata["segtf.classes"] == '["red", "green", "синий"]'
    assert metadata["segtf.fixed"] == "false"
    assert read_info({**metadata, "other": "x"}, "a.onnx") == INFO


def test_precision_and_rules_come_back_and_older_files_have_neither() -> None:
    rules = Postprocess(
        (Rule("green", "share", 0.001, 0.0), Rule("red", "pixels", 8, 16)), 0.8, 0.9
    )
    info = dataclasses.replace(INFO, precision="int8", postprocess=rules)
    assert read_info(metadata_of(info), "a.onnx") == info
    older = metadata_of(INFO)
    assert "segtf.postprocess" not in older
    del older["segtf.precision"], older["segtf.mode"]
    assert read_info(older, "a.onnx") == INFO


def test_a_square_is_written_as_before_and_a_rectangle_as_height_and_width() -> None:
    assert metadata_of(INFO)["segtf.size"] == "4"
    tall = dataclasses.replace(INFO, shape=(320, 240))
    assert metadata_of(tall)["segtf.size"] == "[320, 240]"
    assert read_info(metadata_of(tall), "a.onnx") == tall


RULE = '{"label": "green", "unit": "share", "smallest": 0.1, "hole": 0}'


def test_missing_metadata_are_all_named_with_the_cure() -> None:
    metadata = metadata_of(INFO)
    del metadata["segtf.classes"], metadata["segtf.size"]
    rule = r"^a\.onnx: .* segtf\.classes, segtf\.size: .*python -m segtf\.export RUN"
    with pytest.raises(UserError, match=rule):
        read_info(metadata, "a.onnx")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", "red, green"),
        ("classes", "null"),
        ("classes", '["red"]'),
        ("colours", "[[0, 0], [1, 1], [2, 2]]"),
        ("size", '"large"'),
        ("size", "5"),
        ("size", "[4, 5]"),
        ("size", "[4]"),
        ("size", "[4, 4, 4]"),
        ("size", "[0, 4]"),
        ("multiple", "0"),
        ("precision", '"int4"'),
        ("postprocess", '{"rules": [], "miou": null}'),
        (
            "postprocess",
            f'{{"rules": [{RULE.replace("green", "grey")}], "miou": 0, "miou_after": 0}}',
        ),
        (
            "postprocess",
            f'{{"rules": [{RULE.replace("share", "mm")}], "miou": 0, "miou_after": 0}}',
        ),
        ("postprocess", f'{{"rules": [{RULE.replace("0.1", "-1")}], "miou": 0, "miou_after": 0}}'),
    ],
)
def test_metadata_that_make_no_sense_are_refused(key: str, value: str) -> None:
    with pytest.raises(UserError, match=r"^a\.onnx: metadata that segtf did not write"):
        read_info({**metadata_of(INFO), f"segtf.{key}": value}, "a.onnx")


def test_write_metadata_keeps_what_others_wrote_and_replaces_ours(tmp_path: Path) -> None:
    path = write_channels_model(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.metadata_props.add(key="author", value="x")
    onnx.save(model, path)
    larger = dataclasses.replace(INFO, shape=(8, 8))
    write_metadata(path, larger)
    assert OnnxModel(path).info == larger
    assert {p.key: p.value for p in onnx.load(path).metadata_props}["author"] == "x"
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("dtype", [TensorProto.UINT8, TensorProto.FLOAT])
def test_probabilities_come_from_raw_pixels_whatever_the_graph_takes(
    tmp_path: Path, dtype: int
) -> None:
    model = OnnxModel(write_channels_model(tmp_path / "сеть.onnx", dtype=dtype), threads=1)
    images = np.zeros((2, 2, 4, 3), np.uint8)
    images[1, 0, 3] = (255, 0, 51)
    probabilities = model.probabilities(images)
    assert probabilities.shape == (2, 2, 4, 3)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities[1, 0, 3], [1, 0, 0.2], rtol=1e-6)
    assert np.count_nonzero(probabilities) == 2
    assert model.provider == "CPUExecutionProvider"


def test_a_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    path = write_channels_model(tmp_path / "model.onnx")
    assert OnnxModel(tmp_path).path == path


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.onnx: no such file"):
        OnnxModel(tmp_path / "none.onnx")
    (tmp_path / "config.yaml").touch()
    with pytest.raises(UserError, match=rf"python -m segtf\.export {tmp_path}$"):
        OnnxModel(tmp_path)


def test_a_saved_model_leads_to_the_onnx_file_of_its_run(tmp_path: Path) -> None:
    folder = tmp_path / "saved_model"
    folder.mkdir()
    (folder / "saved_model.pb").touch()

    def advised() -> str:
        with pytest.raises(UserError) as raised:
            find_model(folder)
        return str(raised.value)

    assert "segtf.export" not in advised()
    (tmp_path / "config.yaml").touch()
    assert advised().endswith(f"python -m segtf.export {tmp_path} writes")
    (tmp_path / "model.onnx").touch()
    assert advised().endswith(f"name {tmp_path / 'model.onnx'}")


def test_a_graph_that_contradicts_its_metadata_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(UserError, match="one input image"):
        OnnxModel(write_channels_model(path, names=("x", "probabilities")))
    with pytest.raises(UserError, match="one input image"):
        OnnxModel(write_channels_model(path, shape=(6, 6)))
    with pytest.raises(UserError, match="output probabilities"):
        OnnxModel(write_channels_model(path, names=("image", "y")))
    two = dataclasses.replace(INFO, classes=INFO.classes[:2], colours=INFO.colours[:2])
    with pytest.raises(UserError, match="output probabilities"):
        OnnxModel(write_channels_model(path, info=two))


def test_a_rectangle_wants_a_graph_of_its_height_and_width(tmp_path: Path) -> None:
    tall = dataclasses.replace(INFO, shape=(6, 4), fixed=True)
    model = OnnxModel(write_channels_model(tmp_path / "a.onnx", info=tall, shape=(6, 4)))
    assert model.probabilities(np.zeros((1, 6, 4, 3), np.uint8)).shape == (1, 6, 4, 3)
    with pytest.raises(UserError, match=r"free height and width or 6 x 4 \(height x width\)"):
        OnnxModel(write_channels_model(tmp_path / "b.onnx", info=tall, shape=(4, 6)))


def test_images_that_do_not_fit_a_fixed_graph_are_named(tmp_path: Path) -> None:
    model = OnnxModel(write_channels_model(tmp_path / "a.onnx", shape=(4, 4)))
    assert model.probabilities(np.zeros((3, 4, 4, 3), np.uint8)).shape == (3, 4, 4, 3)
    with pytest.raises(UserError, match=r"cannot run on images of shape \(1, 2, 4, 3\)") as raised:
        model.probabilities(np.zeros((1, 2, 4, 3), np.uint8))
    assert "\n" not in str(raised.value)
