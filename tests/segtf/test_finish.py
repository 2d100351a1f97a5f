"""What the end of a training scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segtf import engines
from segtf.config import TrainConfig
from segtf.finish import finish
from segtf.run_folder import write_json
from segtf.train import train
from tests.segtf.test_figures import write_log
from voc_builder.build import BuildConfig, build
from voc_builder.errors import UserError


def test_val_and_test_are_scored_at_the_threshold_that_was_chosen_on_val(
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    chips = build(BuildConfig(photos, tmp_path / "voc", split="50/25/25"))
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("size: 32\nexport: false\n")
    write_json(
        {"path": str(chips.path), "sha256": chips.sha256, "classes": list(chips.classes)},
        run / "data.json",
    )
    write_log(run / "log.csv", list(chips.classes), [0.5, 0.6])
    (run / "best.keras").touch()
    # the channels are the probabilities
    monkeypatch.setattr(
        engines, "keras_predict", lambda path: lambda images: images / np.float32(255)
    )
    finish(run)
    val, test = (
        json.loads((run / f"metrics_{split}.json").read_text()) for split in ("val", "test")
    )
    assert val["images"] == test["images"] == 5
    assert test["operating_point"]["threshold"] == val["operating_point"]["threshold"]
    assert test["operating_point"]["chosen"] == val["operating_point"]["chosen"]
    assert val["operating_point"]["chosen"]["f1"] == val["operating_point"]["objects"]["f1"]
    assert test["objects"]["classes"]["defect"]["true"] == 1
    pictures = {path.name for path in run.glob("*.png")}
    assert pictures >= {
        f"{what}_{split}.png" for what in ("objects", "thresholds") for split in ("val", "test")
    }
    said = capfd.readouterr().out
    assert said.count("false alarms") == 4, "a table of objects and one of the point, twice"


@pytest.mark.slow
def test_photos_that_the_settings_name_are_predicted_beside_their_annotation(run: Path) -> None:
    out = run / "predictions/3_jpg"
    for folder, suffix in (("masks", "png"), ("overlays", "jpg")):
        found = sorted(path.name for path in (out / folder).iterdir())
        assert found == [f"00000003.{suffix}", f"00000013.{suffix}"]
    assert "mIoU" in (out / "index.html").read_text(encoding="utf-8"), "the truth is known"


def test_places_without_photos_are_named_before_anything_is_trained(
    photos: Path, tmp_path: Path
) -> None:
    def config(**settings: object) -> TrainConfig:
        return TrainConfig(data=photos, artifacts=tmp_path / "new", **settings)  # type: ignore[arg-type]

    with pytest.raises(UserError, match=rf"no photos at {photos}/none, {photos}/\*\.tif: "):
        train(config(predict="none,*3.jpg,*.tif"))
    with pytest.raises(UserError, match=r"--predict-save takes a list of .* Received: masks"):
        train(config(predict="*3.jpg", predict_save="masks"))
    with pytest.raises(UserError, match=r"--predict: .* leave out --no-export"):
        config(predict="*3.jpg", export=False)
    assert not (tmp_path / "new").exists()
