"""What the end of a training scores."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from segtf import finish as command
from segtf import train as training
from segtf.finish import finish
from segtf.inference import backends
from segtf.inference.postprocess import Postprocess, Rule
from segtf.run.config import TrainConfig
from segtf.run.folder import write_json
from segtf.scoring.faults import Faults, faults_of
from segtf.scoring.split_scores import read_run_scores, read_shown_scores
from segtf.train import train
from tests.segtf.reports.run_folders import write_log
from tests.segtf.tiny_onnx import INFO, write_channels_model
from tests.voc_builder.folders import write_image
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.pixels.png import encode_mask
from voc_builder.tree.voc import Dataset


@pytest.mark.slow
def test_val_and_test_are_scored_at_the_threshold_that_was_chosen_on_val(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    chips = build(BuildConfig(images, tmp_path / "voc", split="50/25/25"))
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
        backends, "keras_predict", lambda path: lambda images: images / np.float32(255)
    )
    finish(run)
    val, test = read_run_scores(run).values()
    assert val.images == test.images == 5
    point, other = val.operating_point, test.operating_point
    assert point and other and point.chosen
    assert (other.threshold, other.chosen) == (point.threshold, point.chosen)
    assert point.chosen.f1 == point.objects.f1
    assert test.objects and test.objects.classes["defect"].true == 1
    pictures = {path.name for path in run.glob("*.png")}
    assert pictures >= {
        f"{what}_{split}.png" for what in ("objects", "thresholds") for split in ("val", "test")
    }
    said = capfd.readouterr().out
    assert said.count("false alarms") == 4, "a table of objects and one of the point, twice"


@pytest.mark.slow
def test_what_predictions_leave_out_is_said_and_is_exit_code_1(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    info = replace(INFO, classes=dataset.classes)
    write_channels_model(tmp_path / "model.onnx", info=info)
    places = tmp_path / "photos"
    write_image(places / "good/a.jpg")
    write_image(places / "bad/b.jpg")
    (places / "bad/c.jpg").write_text("no image")
    settings = f"data: {places}\npredict: bad,good\npredict_save: mask\n"
    (tmp_path / "config.yaml").write_text(settings)
    about = {"path": str(dataset.path), "sha256": dataset.sha256, "classes": dataset.classes}
    write_json(about, tmp_path / "data.json")
    (tmp_path / "best.keras").touch()
    monkeypatch.setattr(command, "_write_all", lambda folder: {})
    monkeypatch.setattr(command, "require_parity", lambda report, folder: None)
    monkeypatch.setattr(sys, "argv", ["segtf.finish", str(tmp_path)])
    assert command.main() == 1
    assert (tmp_path / "predictions/good/masks/a.png").is_file(), "the place behind it is done"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"{tmp_path}/predictions/bad: ")
    assert f"python -m segtf.finish {tmp_path}" in last
    write_image(places / "bad/c.jpg")
    assert command.main() == 0


@pytest.mark.slow
def test_overlays_are_scored_by_the_masks_that_they_show(dataset: Dataset, tmp_path: Path) -> None:
    ids = dataset.splits["test"]
    rules = Postprocess(tuple(Rule(name, "share", 2.0) for name in dataset.classes[1:]), 0.5, 0.6)
    write_channels_model(
        tmp_path / "model.onnx", info=replace(INFO, classes=dataset.classes, postprocess=rules)
    )
    tree = replace(dataset, path=tmp_path / "voc")
    for image_id in ids:  # the network says background, but for specks that the rules sweep
        pixels = np.full((40, 40, 3), (250, 0, 0), np.uint8)
        pixels[8:12, 8:12] = (0, 250, 0)
        for file in (tree.image(image_id), tree.mask(image_id)):
            file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tree.image(image_id), quality=100)
        tree.mask(image_id).write_bytes(encode_mask(np.zeros((40, 40), np.uint8)))
    split = SimpleNamespace(name="test", ids=[*ids, *ids])
    command._draw_overlays(tmp_path, tree, split)  # type: ignore[arg-type]
    shown = read_shown_scores(tmp_path / "overlays/scores.json")
    assert shown and shown.split == "test"
    assert [row.id for row in shown.rows] == list(ids)
    assert [faults_of(row) for row in shown.rows] == [Faults(0, 0, 0.0)] * len(ids)


@pytest.mark.parametrize("left_out", [False, True])
def test_training_passes_on_that_its_end_left_something_out(
    left_out: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_train_together", lambda config, *_: config)
    monkeypatch.setattr(training, "finish", lambda folder: left_out)
    monkeypatch.setattr(sys, "argv", ["segtf.train", "--artifacts", str(tmp_path)])
    assert training.main() == int(left_out)


@pytest.mark.parametrize(("code", "fails"), [(0, False), (1, False), (2, True), (-9, True)])
def test_a_run_of_jax_learns_how_its_end_went_from_the_exit_code(
    code: int, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.CompletedProcess[str]([], code)
    monkeypatch.setattr(training.subprocess, "run", lambda *_, **__: ended)
    failing = pytest.raises(UserError, match=r"python -m segtf\.finish")
    with failing if fails else nullcontext():
        training._finish(TrainConfig(backend="jax"))


@pytest.mark.slow
def test_images_that_the_settings_name_are_predicted_beside_their_annotation(run: Path) -> None:
    out = run / "predictions/3_jpg"
    for folder, suffix in (("masks", "png"), ("overlays", "jpg")):
        found = sorted(path.name for path in (out / folder).iterdir())
        assert found == [f"00000003.{suffix}", f"00000013.{suffix}"]
    assert "IoU defect" in (out / "index.html").read_text(encoding="utf-8"), "the truth is known"


def test_places_without_images_are_named_before_anything_is_trained(
    images: Path, tmp_path: Path
) -> None:
    def config(**settings: object) -> TrainConfig:
        return TrainConfig(data=images, artifacts=tmp_path / "new", **settings)  # type: ignore[arg-type]

    with pytest.raises(UserError, match=rf"no images at {images}/none, {images}/\*\.tif: "):
        train(config(predict="none,*3.jpg,*.tif"))
    with pytest.raises(UserError, match=r"--predict-save takes a list of .* Received: masks"):
        train(config(predict="*3.jpg", predict_save="masks"))
    with pytest.raises(UserError, match=r"--predict: .* leave out --no-export"):
        config(predict="*3.jpg", export=False)
    assert not (tmp_path / "new").exists()
