"""The whole job at a rectangular size that the network pads: every part knows height and width."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from segtf.evaluate import EvaluateConfig, evaluate
from segtf.exporting.precision import write_float16, write_int8
from segtf.inference.backends import open_engine
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import open_predictor
from segtf.run.config import TrainConfig
from segtf.train import train
from voc_builder.base.errors import UserError
from voc_builder.pixels.images import decode_image
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow


def test_a_rectangle_is_trained_scored_exported_and_predicted(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(
        TrainConfig(
            data=dataset.path,
            arch="tiny",
            size="40x57",
            epochs=1,
            batch=4,
            mosaic=0.5,
            artifacts=tmp_path,
        )
    )
    said = capsys.readouterr().err
    seen = "40 x 57 (height x width), padded to 64 x 64 inside the network"
    assert said.count(seen) == 1
    assert run.name == "voc-tiny-40x57"
    assert yaml.safe_load((run / "config.yaml").read_text())["size"] == "40x57"
    sizing = json.loads((run / "sizing.json").read_text())
    assert sizing["size"] == "40x57"
    assert seen in sizing["paragraph"]
    scores = json.loads((run / "metrics_test.json").read_text())
    assert (scores["size"], scores["height"], scores["width"]) == ("40x57", 40, 57)
    assert np.sum(scores["confusion"]) <= 2 * 40 * 57, "no pixel of the padding is scored"
    report = json.loads((run / "export.json").read_text())
    assert report["passed"]
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "images resized to 40 x 57 (height x width) pixels" in page
    assert "2 test images at 40 x 57 (height x width) pixels" in page

    model = OnnxModel(run)
    assert (model.info.shape, model.info.multiple, model.info.fixed) == ((40, 57), 1, True)
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 57, 3), np.uint8)
    answers = model.probabilities(images)
    for path in (run, run / "saved_model"):
        engine = open_engine(path)
        assert engine.shape == (40, 57)
        np.testing.assert_allclose(engine.predict(images), answers, atol=1e-4)
    write_float16(run / "model.onnx", tmp_path / "float16.onnx")
    half = OnnxModel(tmp_path / "float16.onnx").probabilities(images)
    np.testing.assert_allclose(half, answers, atol=0.02)
    write_int8(run / "model.onnx", tmp_path / "int8.onnx", list(images))
    assert OnnxModel(tmp_path / "int8.onnx").probabilities(images).shape == answers.shape

    again = evaluate(EvaluateConfig(run / "model.onnx"))
    assert again.miou == pytest.approx(scores["miou"], abs=1e-3)
    image = decode_image(dataset.image(dataset.splits["test"][0]).read_bytes(), "photo")[:70]
    for mode in ("resize", "tile"):
        assert open_predictor([run], mode=mode).mask(image).shape == (70, 96)
    with pytest.raises(UserError, match=r"--tta d4: .* --tta flips"):
        evaluate(EvaluateConfig(run, tta="d4"))
