"""A class, a split or an object that is not there breaks no page, no picture and no table."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtf.compare import CompareConfig, compare
from segtf.data.pipelines import load_pipeline, write_pipeline
from segtf.experiment import advice, read_scores, score_columns
from segtf.finish import finish
from segtf.reports.mlflow import best_scores
from segtf.reports.notebook.notebook import cells
from segtf.reports.runs import read_run
from segtf.run.config import TrainConfig
from segtf.run.folder import AUGMENT, write_config, write_json
from segtf.scoring.evaluation import Predict
from segtf.show_batch import main as show_batch
from segtf.training.sizing import decide, write_sizing
from tests.segtf.reports.run_folders import read_picture, write_log
from tests.segtf.tiny_onnx import write_channels_model
from voc_builder.build import BuildConfig, build
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

SIDE = 32
CLASSES = ("background", "chip", "defect")
# ids that train, val and test do not show, and whether they are predicted there all the same; of
# None there is no image
ABSENT: list[tuple[set[int], set[int], set[int] | None, bool]] = [
    *(({0}, {1}, {2}, predicted) for predicted in (False, True)),
    *(({1}, {2}, {0}, predicted) for predicted in (False, True)),
    *(({2}, {0}, {1}, predicted) for predicted in (False, True)),
    (set(), set(), {2}, True),
    (set(), {1, 2}, set(), False),
    (set(), set(), {1, 2}, False),
    (set(), {2}, None, False),
]


def write_split(folder: Path, name: str, absent: set[int], *, predicted: bool) -> None:
    """Two images whose channels are the probabilities that a network gives, and their masks. What
    is `absent` is on no mask, and on the images only if it is to be `predicted`.
    """
    shown = [i for i in range(len(CLASSES)) if i not in absent]
    for number in range(2):
        mask = np.full((SIDE, SIDE), shown[0], np.uint8)
        answer = np.full((SIDE, SIDE), 0 if predicted else shown[0], np.uint8)
        for i in range(1, len(CLASSES)):
            place = np.s_[8 * i + number : 8 * i + number + 6, 4:14]
            mask[place] = i if i in shown else mask[0, 0]
            answer[place] = i if i in shown or predicted else answer[0, 0]
        photo = np.full((SIDE, SIDE, 3), 30 + number, np.uint8)
        np.put_along_axis(photo, answer[..., None].astype(np.int64), 200, axis=-1)
        if 2 in shown:  # a defect that is found by a lower threshold alone
            mask[20:28, 20:28] = 2
            photo[20:28, 20:28, 2] = 150
        for part, image in ((name, photo[..., ::-1]), (f"{name}_mask", mask)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / part / f"{name}{number}.png"), image)


def write_run(folder: Path, dataset: Dataset) -> Path:
    """What a training leaves for `segtf.finish`."""
    run = folder / "run"
    run.mkdir()
    config = TrainConfig(
        dataset.path,
        size=SIDE,
        predict="JPEGImages",
        artifacts=folder,
        arch="unet_plain",
        augment="none",
    )
    config, sizing = decide(config, dataset, gpu=False)
    write_config(config, run)
    write_sizing(run, sizing, batch=2)
    about = {"path": str(dataset.path), "sha256": dataset.sha256, "classes": list(CLASSES)}
    images = {name: len(ids) for name, ids in dataset.splits.items()}
    write_json({**about, "images": images, "pixels": dataset.pixels}, run / "data.json")
    write_pipeline(load_pipeline("none"), run / AUGMENT)
    write_json({"seconds": 1.0, "command": "python -m segtf.train"}, run / "environment.json")
    write_log(run / "log.csv", list(CLASSES), [0.5, float("nan")])
    (run / "best.keras").touch()
    return run


def answer_by_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of every kind answer with the channels of the image."""

    def predict(path: Path) -> Predict:
        return lambda images: images / np.float32(255)

    for where in (
        "segtf.inference.backends.keras_predict",
        "segtf.export.keras_predict",
        "segtf.exporting.run.keras_predict",
        "segtf.exporting.run.saved_model_predict",
    ):
        monkeypatch.setattr(where, predict)
    monkeypatch.setattr("segtf.exporting.run.write_saved_model", lambda network, out, info: None)
    monkeypatch.setattr(
        "segtf.exporting.run.write_onnx",
        lambda saved_model, out, info: write_channels_model(out, info=info),
    )


@pytest.mark.parametrize(("train", "val", "test", "predicted"), ABSENT)
def test_every_page_is_drawn(
    train: set[int],
    val: set[int],
    test: set[int] | None,
    predicted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, absent in (("train", train), ("valid", val), ("test", test)):
        if absent is not None:
            write_split(tmp_path / "photos", name, absent, predicted=predicted)
    (tmp_path / "names.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    source = BuildConfig(
        tmp_path / "photos", tmp_path / "voc", source="masks", classes=tmp_path / "names.txt"
    )
    dataset = build(source)
    run = write_run(tmp_path, dataset)
    answer_by_channels(monkeypatch)
    assert not finish(run), "nothing is left out"
    (run / "best.keras").unlink()  # it is none

    splits = ["val"] if test is None else ["val", "test"]
    for split in splits:
        scores = json.loads((run / f"metrics_{split}.json").read_text(encoding="utf-8"))
        absent = val if split == "val" else test
        for i, name in enumerate(CLASSES):
            there = i not in (absent or ()) or predicted
            assert (scores["iou"][name] is not None) == there
        for what in ("confusion", "objects"):
            assert read_picture(run / f"{what}_{split}.png").shape[0] > 100
        drawn = (run / f"thresholds_{split}.png").is_file()
        assert drawn == (scores["operating_point"] is not None)
    assert read_picture(run / "curves.png").shape[0] > 100
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "Operating point" in report
    shown = json.loads((run / "overlays/scores.json").read_text(encoding="utf-8"))
    assert shown["split"] == splits[-1]
    assert [f"{image['id']}.jpg" for image in shown["photos"]] == sorted(
        path.name for path in (run / "overlays").glob("*.jpg")
    )
    assert (run / "predictions/JPEGImages/index.html").is_file()
    assert compare(CompareConfig((run,), tmp_path / "compare")).count("\n") > 3
    assert (
        show_batch(
            ["--data", str(dataset.path), "--size", str(SIDE), "--out", str(tmp_path / "b.png")]
        )
        == 0
    )

    columns = score_columns(read_scores(run))
    assert all(name in columns for name in CLASSES)
    assert advice(read_scores(run)["val"], 0.5)
    assert all(np.isfinite(score) for score in best_scores(run).values())
    monkeypatch.chdir(run)
    namespace: dict[str, object] = {}
    for cell in cells(read_run(run), [run]):
        if cell.kind == "code":
            exec(cell.source, namespace)
