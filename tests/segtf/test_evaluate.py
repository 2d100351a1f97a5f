"""A run, its SavedModel and its ONNX file get the same numbers."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from segtf import evaluate as command
from segtf.engines import Engine
from segtf.evaluate import EvaluateConfig, Evaluation, evaluate, score_table, scores
from segtf.run_folder import write_json
from voc_builder.build import BuildConfig, build

COUNTS = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]])


def test_scores_of_a_split_are_those_of_all_photos_together() -> None:
    first, second = COUNTS // 2, COUNTS - COUNTS // 2
    values = scores(Evaluation(COUNTS, (("a", first), ("b", second))), ("back", "chip", "flaw"))
    assert values["iou"] == {
        "back": pytest.approx(6 / 9),
        "chip": pytest.approx(3 / 6),
        "flaw": None,
    }
    assert values["dice"]["chip"] == pytest.approx(6 / 9)
    assert values["miou"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert values["pixel_accuracy"] == pytest.approx(9 / 12)
    assert values["confusion"] == COUNTS.tolist()
    assert [photo["id"] for photo in values["photos"]] == ["a", "b"]
    json.dumps(values, allow_nan=False)


def test_the_table_names_a_class_without_score_by_a_dash() -> None:
    values = scores(Evaluation(COUNTS, ()), ("back", "chip", "flaw"))
    assert score_table(values).splitlines() == [
        "class                IoU    Dice",
        "back              0.6667  0.8000",
        "chip              0.5000  0.6667",
        "flaw                   -       -",
        "mean              0.5833  0.7333",
        "pixel accuracy    0.7500",
        "micro, imagewise       -",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("split", ["val", "test"])
def test_run_saved_model_and_onnx_score_the_same(run: Path, split: str) -> None:
    models = (run, run / "saved_model", run / "model.onnx")
    found = [evaluate(EvaluateConfig(model, split=split)) for model in models]  # type: ignore[arg-type]
    pixels = np.array(found[0]["confusion"]).sum()
    for other in found[1:]:
        moved = np.abs(np.array(other["confusion"]) - found[0]["confusion"]).sum()
        assert moved <= 2e-4 * pixels, "the export's own tolerance"
        assert other["miou"] == pytest.approx(found[0]["miou"], abs=1e-3)
    for values, name in zip(found, ("", "_saved_model", "_onnx"), strict=True):
        written = json.loads((run / f"metrics_{split}{name}.json").read_text())
        assert {key: written[key] for key in values} == values


@pytest.mark.slow
def test_scores_on_other_data_do_not_take_the_place_of_the_run_s_own(
    run: Path, dataset, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    other = tmp_path / "other"
    shutil.copytree(dataset.path, other)
    about = json.loads((other / "dataset.json").read_text())
    (other / "dataset.json").write_text(json.dumps({**about, "sha256": "other"}))
    before = (run / "metrics_test.json").read_bytes()
    evaluate(EvaluateConfig(run, data=other, out=tmp_path / "scores"))
    evaluate(EvaluateConfig(run, data=other))
    assert (run / "metrics_test.json").read_bytes() == before
    assert (tmp_path / "scores/metrics_test.json").is_file()


def test_a_network_of_a_fold_is_scored_on_that_fold_of_the_data_named_again(
    photos: Path, tmp_path: Path
) -> None:
    folds = build(BuildConfig(photos, tmp_path / "voc", folds=3))
    trained_on = folds.in_fold(2)
    about = {"path": str(folds.path), "sha256": folds.sha256, "classes": [], "fold": 2}
    write_json(about, tmp_path / "data.json")
    engine = Engine("keras", folds.classes, 32, False, lambda images: images, tmp_path)
    for data in (None, folds.path):
        found = command._dataset_for(EvaluateConfig(tmp_path, data=data), engine)
        assert found.splits["val"] == trained_on.splits["val"] != folds.splits["val"]


@pytest.mark.slow
def test_an_onnx_file_away_from_its_run_is_scored_on_named_data(
    run: Path, dataset, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    model = Path(shutil.copy(run / "model.onnx", tmp_path))
    values = evaluate(EvaluateConfig(model, data=dataset.path, out=tmp_path / "scores"))
    assert values["images"] == 2
    assert (tmp_path / "scores/confusion_test_onnx.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        ("nowhere", [], "nowhere: no such file"),
        ("", ["--split", "tset"], "--split takes one of train, val, test"),
        ("", ["--batch", "0"], "--batch 0: must be at least 1"),
        ("overlays", [], "neither a run folder"),
        ("", ["--data", "OTHER"], "knows the classes"),
        ("", ["--data", "."], "not a data set"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    run: Path,
    dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    model: str,
    arguments: list[str],
    says: str,
) -> None:  # type: ignore[no-untyped-def]
    other = tmp_path / "other"
    shutil.copytree(dataset.path, other)
    about = json.loads((other / "dataset.json").read_text())
    about["classes"] = ["background", "cat", "dog"]
    (other / "dataset.json").write_text(json.dumps(about))
    given = [str(other) if a == "OTHER" else a for a in arguments]
    monkeypatch.setattr(sys, "argv", ["segtf.evaluate", str(run / model), *given])
    with pytest.raises(SystemExit) as exit_code:
        raise SystemExit(command.main())
    assert exit_code.value.code == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert says in line
