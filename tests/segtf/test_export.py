"""SavedModel and ONNX answer as Keras does, and a difference is not passed over."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from segtf import export
from segtf.export import main
from segtf.exporting import export_precision, quality
from segtf.exporting.export_precision import add_precision, training_images
from segtf.exporting.quality import (
    milliseconds,
    quality_rows,
    quality_table,
    require_quality,
    timed,
)
from segtf.exporting.run import parity, require_parity
from segtf.exporting.writers import model_info
from segtf.inference.onnx_model import OnnxModel
from segtf.run.config import TrainConfig
from segtf.run.folder import read_data
from tests.segtf.tiny_onnx import INFO, write_channels_model, write_convolutions_model
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image, resize_image

IMAGES = np.zeros((2, 10, 10, 3), np.uint8)


def steady(images: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.float32([0.6, 0.4]), (*images.shape[:3], 2)).copy()


def test_engines_that_agree_pass() -> None:
    report = parity({"a": steady, "b": steady, "c": steady}, IMAGES)
    assert report["passed"]
    assert [(c["a"], c["b"]) for c in report["comparisons"]] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert {c["largest_difference"] for c in report["comparisons"]} == {0.0}


def test_a_probability_that_is_off_by_more_than_the_tolerance_fails() -> None:
    report = parity({"a": steady, "b": lambda images: steady(images) + np.float32(2e-4)}, IMAGES)
    (comparison,) = report["comparisons"]
    assert comparison["largest_difference"] == pytest.approx(2e-4, rel=1e-3)
    assert comparison["equal_argmax"] == 1
    assert not report["passed"]


def test_one_pixel_of_another_class_among_two_hundred_fails() -> None:
    def other(images: np.ndarray) -> np.ndarray:
        answer = steady(images) * 0 + np.float32(0.5)
        answer[:, 0, 0, 1] += 1e-5
        return answer

    def even(images: np.ndarray) -> np.ndarray:
        return steady(images) * 0 + np.float32(0.5)

    report = parity({"a": even, "b": other}, IMAGES)
    assert report["comparisons"][0]["equal_argmax"] == 0.99
    assert not report["passed"]


def test_classes_that_rounding_alone_tells_apart_are_equal() -> None:
    def answer(second: float) -> Callable[[np.ndarray], np.ndarray]:
        return lambda images: np.broadcast_to(
            np.float32([0.5, second, 0.1]), (*images.shape[:3], 3)
        )

    report = parity({"a": answer(0.5 - 3e-7), "b": answer(0.5 + 3e-7)}, IMAGES)
    assert report["comparisons"][0]["equal_argmax"] == 1
    assert parity({"a": answer(0.49999), "b": answer(0.50001)}, IMAGES)["passed"] is False


def test_a_nan_is_no_agreement_and_no_agreement_is_an_error() -> None:
    report = parity({"a": steady, "b": lambda images: steady(images) * np.nan}, IMAGES)
    with pytest.raises(UserError, match=r"differ by more than 0\.0001 or in more than 0\.01% of"):
        require_parity(report, Path("run"))


def test_the_network_of_a_run_is_described_in_full() -> None:
    data = {"classes": ["back", "chip"], "sha256": "abc"}
    config = TrainConfig(arch="pspnet", encoder="resnet34", size=96)
    info = model_info(config, data)
    assert (info.classes, info.colours) == (("back", "chip"), ((0, 0, 0), (128, 0, 0)))
    assert (info.shape, info.multiple, info.fixed) == ((96, 96), 48, True)
    plain = model_info(dataclasses.replace(config, arch="unet_plain"), data)
    assert (plain.encoder, plain.multiple, plain.fixed) == ("", 32, False)


def test_a_network_that_pads_itself_takes_its_size_and_no_other() -> None:
    data = {"classes": ["back", "chip"], "sha256": "abc"}
    info = model_info(TrainConfig(size="320x240"), data)
    assert (info.shape, info.multiple, info.fixed) == ((320, 240), 1, True)
    whole = model_info(TrainConfig(size="320x256"), data)
    assert (whole.shape, whole.multiple, whole.fixed) == ((320, 256), 32, False)


class Val(SimpleNamespace):
    """Stands for the split."""

    def __len__(self) -> int:
        return len(self.images)


@pytest.fixture
def exported(tmp_path: Path) -> tuple[Path, Any]:
    """A run folder with a float32 network that is right about every pixel of val, and val."""
    write_convolutions_model(tmp_path / "model.onnx")
    images = np.random.default_rng(3).integers(0, 256, (6, 16, 16, 3), np.uint8)
    brightest = OnnxModel(tmp_path).probabilities(images).argmax(-1).astype(np.uint8)
    shapes = dict.fromkeys("abcdef", (16, 16))
    val = Val(name="val", ids=tuple("abcdef"), images=images, masks=brightest, shapes=shapes)
    scores = {"miou": 1.0, "iou": dict.fromkeys(INFO.classes, 1.0)}
    entry = {"file": "model.onnx", "bytes": 9, "ms": 1e9, "kept": True}
    entry |= {"miou_change": 0.0, "iou_change": dict.fromkeys(INFO.classes, 0.0)}
    report = {"val": scores, "precisions": {"float32": entry}}
    (tmp_path / "export.json").write_text(json.dumps(report))
    return tmp_path, val


def test_a_precision_is_written_beside_float32_and_measured_on_val(
    exported: tuple[Path, Any],
) -> None:
    folder, val = exported
    report = add_precision(folder, "float16", val, iter(()))
    assert report == json.loads((folder / "export.json").read_text())
    entry = report["precisions"]["float16"]
    path = folder / "model_float16.onnx"
    assert OnnxModel(path).info.precision == "float16"
    assert (entry["file"], entry["bytes"]) == (path.name, path.stat().st_size)
    assert entry["kept"]
    assert -0.01 < entry["miou_change"] <= 0
    assert set(entry["iou_change"]) == set(INFO.classes)
    assert entry["ms"] > 0
    require_quality(entry, path, 1.0)
    table = quality_table(report)
    assert table.splitlines()[0].split()[-3:] == list(INFO.classes)
    assert "model_float16.onnx" in table


def test_int8_is_calibrated_on_the_images_given(exported: tuple[Path, Any]) -> None:
    folder, val = exported
    report = add_precision(folder, "int8", val, iter(list(val.images)), accept_loss=True)
    assert -0.2 < report["precisions"]["int8"]["miou_change"] < 0
    dark = iter([np.full_like(image, 9) for image in val.images])
    worse = add_precision(folder, "int8", val, dark, accept_loss=True)
    assert worse["precisions"]["int8"]["miou_change"] < -0.4, "what is brighter is cut off"


def test_a_precision_that_loses_too_much_is_not_kept_unless_the_loss_is_accepted(
    exported: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, val = exported
    path = folder / "model_int8.onnx"
    path.write_bytes(b"of an earlier export")

    def turned(source: Path, out: Path, images: object) -> None:
        write_channels_model(out, info=dataclasses.replace(INFO, precision="int8"))

    monkeypatch.setattr(export_precision, "write_int8", turned)
    val.masks = (val.masks + 1) % 3
    report = add_precision(folder, "int8", val, iter(()))
    entry = report["precisions"]["int8"]
    assert not entry["kept"]
    assert not path.exists()
    assert "not kept" in quality_table(report)
    rule = (
        r"model_int8\.onnx: loses \d\.\d{4} mIoU on val, where float32 has 1\.0000; .*--accept-loss"
    )
    with pytest.raises(UserError, match=rule) as raised:
        require_quality(entry, path, 1.0)
    assert "\n" not in str(raised.value)
    report = add_precision(folder, "int8", val, iter(()), accept_loss=True)
    assert path.exists()
    require_quality(report["precisions"]["int8"], path, 1.0)


def test_networks_take_turns_when_their_speed_is_measured() -> None:
    turns: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def probabilities(self, images: np.ndarray) -> None:
            turns.append(self.name)

    found = milliseconds([Named("a"), Named("b")], IMAGES[0])  # type: ignore[list-item]
    assert len(found) == 2
    assert turns[:6] == list("ababab")


def test_all_precisions_are_timed_together_whenever_one_is_added(
    exported: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, val = exported
    asked: list[list[str]] = []

    def in_turn(models: Any, image: Any) -> list[float]:
        asked.append([model.info.precision for model in models])
        return [20.0, 25.0, 10.0][: len(models)]

    monkeypatch.setattr(quality, "milliseconds", in_turn)
    add_precision(folder, "float16", val, iter(()))
    report = add_precision(folder, "int8", val, iter(list(val.images)), accept_loss=True)
    assert asked == [["float32", "float16"], ["float32", "float16", "int8"]]
    assert [entry["ms"] for entry in report["precisions"].values()] == [20.0, 25.0, 10.0]
    assert [row[3:5] for row in quality_rows(report)] == [
        ["20.0", "x 1.00"],
        ["25.0", "x 0.80"],
        ["10.0", "x 2.00"],
    ]
    (folder / "model_float16.onnx").unlink()
    report = add_precision(folder, "int8", val, iter(list(val.images)), accept_loss=True)
    assert asked[-1] == ["float32", "int8"]
    assert report["precisions"]["float16"]["ms"] is None
    assert quality_rows(report)[1][3:5] == ["–", "–"]


def test_times_of_an_older_export_are_those_of_each_measurement() -> None:
    entry = {"file": "a", "bytes": 9, "kept": True, "miou_change": None, "iou_change": None}
    old = {
        "float32": {**entry, "ms": 93.4, "ms_float32": 93.4},
        "float16": {**entry, "ms": 31.8, "ms_float32": 26.4},
    }
    assert [row[4] for row in quality_rows({"precisions": old})] == ["x 1.00", "x 0.83"]

    class Quick:
        provider = "CPUExecutionProvider"

        def probabilities(self, images: np.ndarray) -> None:
            """Takes no time."""

    models = {name: Quick() for name in old}
    anew = timed(old, models, IMAGES[0])  # type: ignore[arg-type]
    assert not any("ms_float32" in entry for entry in anew.values())
    assert quality_rows({"precisions": anew})[0][4] == "x 1.00"


@pytest.mark.parametrize("crop", [None, 32])
def test_int8_sees_images_of_train_as_the_network_does(dataset: Any, crop: int | None) -> None:
    config = TrainConfig(size="64x40") if crop is None else TrainConfig(crop=crop)
    found = list(training_images(dataset, config))
    assert len(found) == len(dataset.splits["train"]) == 16
    assert {image.shape for image in found} == {(*config.shape, 3)}
    whole = [decode_image(dataset.image(i).read_bytes(), i) for i in dataset.splits["train"]]
    if crop is None:
        np.testing.assert_array_equal(found[3], resize_image(whole[3], 64, 40))
    else:
        windows = np.lib.stride_tricks.sliding_window_view(whole[3], (32, 32, 3))
        assert (windows == found[3]).all((-1, -2, -3)).any(), "a part of the image as it is"


@pytest.mark.slow
def test_the_export_of_a_training_chooses_what_is_swept_and_times_the_network(run: Path) -> None:
    report = json.loads((run / "export.json").read_text())
    chosen = OnnxModel(run).info.postprocess
    assert chosen is not None
    assert dataclasses.asdict(chosen)["miou"] == report["postprocess"]["miou"]
    val = json.loads((run / "metrics_val.json").read_text())
    assert chosen.miou == pytest.approx(val["miou"])
    assert report["val"]["iou"] == val["iou"]
    float32 = report["precisions"]["float32"]
    assert float32["bytes"] == (run / "model.onnx").stat().st_size
    assert float32["ms"] > 0
    assert report["network"] == hashlib.sha256((run / "best.keras").read_bytes()).hexdigest()


@pytest.mark.slow
def test_the_command_adds_a_precision_without_exporting_float32_again(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = (copy / "model.onnx").read_bytes()
    monkeypatch.delattr(export, "export_run")  # nobody may ask for it
    assert main([str(copy), "--precision", "float16"]) == 0
    out = capsys.readouterr().out
    assert "model_float16.onnx" in out
    assert "post-processing: " in out
    assert (copy / "model.onnx").read_bytes() == before
    assert OnnxModel(copy / "model_float16.onnx").info.precision == "float16"
    assert "model_float16.onnx" in (copy / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_export_of_a_run_passes_on_real_images_and_takes_any_size(run: Path) -> None:
    report = json.loads((run / "export.json").read_text())
    assert report["passed"]
    assert report["photos"] == 2
    model = OnnxModel(run)
    assert model.info.dataset_sha256 == read_data(run)["sha256"]
    assert model.probabilities(np.zeros((3, 96, 160, 3), np.uint8)).shape == (3, 96, 160, 3)


@pytest.mark.slow
def test_the_onnx_file_names_its_input_its_output_and_the_sizes_left_open(run: Path) -> None:
    import onnx

    graph = onnx.load(run / "model.onnx").graph
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    free = ["batch", "height", "width", 3]
    assert shapes == {"image": free, "probabilities": free}


@pytest.mark.slow
def test_the_saved_model_stands_alone(run: Path) -> None:
    from voc_builder.base.tensorflow import import_tensorflow

    tf = import_tensorflow()
    serve = tf.saved_model.load(str(run / "saved_model")).signatures["serving_default"]
    answer = serve(image=tf.zeros((1, 64, 96, 3), tf.uint8))["probabilities"]
    assert answer.shape == (1, 64, 96, 3)
    np.testing.assert_allclose(answer.numpy().sum(-1), 1, atol=1e-5)
