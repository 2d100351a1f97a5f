"""A run is exported as SavedModel and ONNX, and the command adds precisions."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from segtf import export
from segtf.export import main
from segtf.inference.onnx_model import OnnxModel
from segtf.run.folder import read_data


@pytest.mark.slow
def test_the_export_of_a_training_chooses_post_processing_and_times_the_network(run: Path) -> None:
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
