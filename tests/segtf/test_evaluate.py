"""A run, its SavedModel and its ONNX file get the same numbers, and several answer together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtf import evaluate as command
from segtf.evaluate import EvaluateConfig, evaluate
from segtf.inference.backends import Engine
from segtf.run.config import TrainConfig
from segtf.run.folder import write_json
from segtf.run.provenance import find_trained_on, trained_on
from segtf.scoring import metrics
from segtf.scoring.split_scores import read_scores
from segtf.scoring.tables import result_tables
from tests.segtf.tiny_onnx import INFO, write_channels_model
from tests.voc_builder.folders import write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

CLASSES = ("__background__", "fishka", "defect")


@pytest.mark.parametrize("split", ["val", "test"])
def test_run_saved_model_and_onnx_score_the_same(run: Path, split: str) -> None:
    models = (run, run / "saved_model", run / "model.onnx")
    found = [evaluate(EvaluateConfig(model, split=split)) for model in models]  # type: ignore[arg-type]
    pixels = np.array(found[0].confusion).sum()
    for other in found[1:]:
        moved = np.abs(np.array(other.confusion) - np.array(found[0].confusion)).sum()
        # the export's own tolerance, and a pixel whose classes tie, which counts in two cells
        assert moved <= 2e-4 * pixels + 2
        assert other.miou == pytest.approx(found[0].miou, abs=1e-3)
    for scores, name in zip(found, ("", "_saved_model", "_onnx"), strict=True):
        assert read_scores(run / f"metrics_{split}{name}.json") == scores


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


def write_channels_run(folder: Path, dataset: Dataset, **about: Any) -> Path:
    """The ONNX file of a run folder that was trained on a data set; `about` goes into `data.json`
    or, where it is a field of `ModelInfo`, into the file.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("size: 32\n")
    of_model = {key: about.pop(key) for key in ("classes", "mode", "shape") if key in about}
    classes = of_model.get("classes", dataset.classes)
    known = {"path": str(dataset.path), "sha256": dataset.sha256, "classes": list(classes)}
    own = dataset.in_fold(about["fold"]) if "fold" in about else dataset
    known["trained_on"] = trained_on(TrainConfig(), own)
    said = {key: value for key, value in {**known, **about}.items() if value is not None}
    write_json(said, folder / "data.json")
    info = dataclasses.replace(INFO, **{"shape": (32, 32), "classes": dataset.classes, **of_model})
    return write_channels_model(folder / "model.onnx", info=info)


@pytest.fixture(scope="module")
def chips(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """10, 5 and 5 images, chips and defects in each split."""
    return build(BuildConfig(images, tmp_path_factory.mktemp("chips") / "voc", split="50/25/25"))


@pytest.fixture
def channels(chips: Dataset, tmp_path: Path) -> Path:
    """An ONNX file in a run folder, for which the channels are the probabilities."""
    return write_channels_run(tmp_path / "run", chips)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_objects_outlines_intervals_and_the_point_are_written_with_their_picture(
    channels: Path,
) -> None:
    scores = evaluate(EvaluateConfig(channels, batch=1))
    assert read_scores(channels.parent / "metrics_test_onnx.json") == scores
    assert scores.objects and scores.boundary_iou and scores.intervals and scores.operating_point
    assert list(scores.objects.classes) == ["fishka", "defect"]
    assert set(scores.boundary_iou) == set(scores.intervals.iou) == set(CLASSES)
    assert set(scores.rows[0].objects or {}) == {"fishka", "defect"}
    assert scores.operating_point.class_name == "defect"
    for picture in ("objects", "thresholds"):
        path = channels.parent / f"{picture}_test_onnx.png"
        assert path.read_bytes().startswith(b"\x89PNG")
    tables = result_tables(scores)
    assert "false alarms" in tables.split("\n\n")[1]
    assert "chosen on 1 object in val" in tables.split("\n\n")[2]


def test_the_threshold_for_test_images_is_chosen_on_val(channels: Path) -> None:
    test = evaluate(EvaluateConfig(channels)).operating_point
    val = evaluate(EvaluateConfig(channels, split="val")).operating_point
    assert test and val and val.chosen
    assert test.split == val.split == "val"
    assert (test.threshold, test.chosen) == (val.threshold, val.chosen)
    assert (val.chosen.true, val.chosen.f1) == (val.objects.true, val.objects.f1)
    assert test.curve != val.curve, "that of the images that are scored"


def test_a_threshold_that_is_given_needs_no_val(
    channels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = []
    whole = command._evaluate_split
    monkeypatch.setattr(
        command, "_evaluate_split", lambda *how: (scored.append(how[3]), whole(*how))[1]
    )
    config = EvaluateConfig(channels, defect_threshold="0.25", defect="fishka")
    point = evaluate(config).operating_point
    assert scored == ["test"]
    assert point and (point.threshold, point.class_name) == (0.25, "fishka")
    assert (channels.parent / "thresholds_test_onnx.png").is_file()
    assert evaluate(EvaluateConfig(channels, defect_threshold="none")).operating_point is None
    assert not (channels.parent / "thresholds_test_onnx.png").is_file(), "it would be out of date"
    recalled = evaluate(EvaluateConfig(channels, split="val", defect_recall=0.5)).operating_point
    assert recalled and (recalled.objects.recall or 0) >= 0.5
    assert scored == ["test", "test", "val"], "val is scored once where it is wanted itself"


def test_images_cut_into_tiles_count_as_whole_ones(
    channels: Path, chips: Dataset, tmp_path: Path
) -> None:
    """96 x 96: as tiles of 32, as tiles of 64 that overhang, and as the image itself."""
    of_tiles, overhanging = (
        evaluate(
            EvaluateConfig(
                write_channels_run(tmp_path / str(side), chips, shape=(side, side), mode="tile"),
                split=split,  # type: ignore[arg-type]
            )
        )
        for side, split in ((32, "train"), (64, "train"))
    )
    whole = evaluate(
        EvaluateConfig(write_channels_run(tmp_path / "whole", chips, shape=(96, 96)), split="train")
    )
    assert whole.objects and whole.objects.classes["fishka"].true >= 8
    for tiles in (of_tiles, overhanging):
        assert dataclasses.replace(tiles, origin=whole.origin) == whole


def test_turned_images_and_several_networks_have_a_name_of_their_own(
    channels: Path, chips: Dataset, tmp_path: Path
) -> None:
    run = channels.parent
    evaluate(EvaluateConfig(channels))
    before = (run / "metrics_test_onnx.json").read_bytes()
    turned = evaluate(EvaluateConfig(channels, tta="flips"))
    plain = read_scores(run / "metrics_test_onnx.json")
    assert turned.confusion == plain.confusion, "channels have no direction"
    assert read(run / "metrics_test_onnx_flips.json")["tta"] == "flips"
    twice = Path(f"{channels},{channels}")
    evaluate(EvaluateConfig(twice, ensemble="vote", tta="d4"))
    written = read(run / "metrics_test_onnx_vote_d4.json")
    assert written["models"] == [str(channels)] * 2
    assert (run / "metrics_test_onnx.json").read_bytes() == before


def test_networks_of_several_runs_are_written_where_out_says_alone(
    channels: Path, chips: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = write_channels_run(tmp_path / "other", chips)
    both = Path(f"{channels},{other}")
    scores = evaluate(EvaluateConfig(both))
    assert "not written: name a folder for them with --out" in capfd.readouterr().err
    assert not list(tmp_path.rglob("metrics_*"))
    assert scores.confusion == evaluate(EvaluateConfig(channels)).confusion
    evaluate(EvaluateConfig(both, out=tmp_path / "scores"))
    assert (tmp_path / "scores/objects_test_onnx_mean.png").is_file()
    written = read_scores(tmp_path / "scores/metrics_test_onnx_mean.json")
    assert written.confusion == scores.confusion


def test_networks_that_know_other_classes_are_scored_on_data_of_all_of_them(
    chips: Dataset, tmp_path: Path
) -> None:
    from segtf.data.records import Loading, load_splits

    background, fishka, defect = chips.classes
    one = write_channels_run(tmp_path / "one", chips, classes=(background, defect, fishka))
    both = Path(f"{one},{one}")
    scores = evaluate(EvaluateConfig(both, ensemble="per-class"))
    (split,) = load_splits(chips, ("test",), Loading((32, 32)))
    by_hand = [
        metrics.confusion(mask, image[..., [0, 2, 1]].argmax(-1).astype(np.uint8), 3)
        for image, mask in zip(split.images, split.masks, strict=True)
    ]
    np.testing.assert_array_equal(scores.confusion, np.sum(by_hand, axis=0))
    wrong = write_channels_run(tmp_path / "wrong", chips, classes=(background, "cat", fishka))
    with pytest.raises(UserError, match=r"cat; .* score it on data of its own classes"):
        evaluate(EvaluateConfig(Path(f"{one},{wrong}"), ensemble="per-class"))
    with pytest.raises(UserError, match="take networks of the same classes"):
        evaluate(EvaluateConfig(Path(f"{one},{wrong}")))


def test_the_background_of_such_networks_counts_not_where_the_data_have_none(
    chips: Dataset, tmp_path: Path
) -> None:
    from segtf.data.records import Loading, load_splits

    belt = tmp_path / "belt"
    shutil.copytree(chips.path, belt)
    about = (belt / "dataset.json").read_text().replace(chips.classes[0], "belt")
    (belt / "dataset.json").write_text(about)
    runs = [
        write_channels_run(tmp_path / name, chips, classes=("background", "belt", name))
        for name in ("fishka", "defect")
    ]
    both = Path(",".join(map(str, runs)))
    scores = evaluate(EvaluateConfig(both, data=belt, ensemble="per-class"))
    (split,) = load_splits(chips, ("test",), Loading((32, 32)))
    by_hand = [  # blue is a chip for one and as probably a defect for the other, red is neither
        metrics.confusion(mask, (image[..., 2] > image[..., 1]).astype(np.uint8), 3)
        for image, mask in zip(split.images, split.masks, strict=True)
    ]
    np.testing.assert_array_equal(scores.confusion, np.sum(by_hand, axis=0))


def test_networks_of_several_folds_are_scored_on_test_alone(
    images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folds = build(BuildConfig(images, tmp_path / "voc", folds=3))
    models = [write_channels_run(tmp_path / f"{i}", folds, fold=i) for i in (1, 2)]
    both = Path(",".join(map(str, models)))
    of_val = len(folds.in_fold(1).splits["val"])
    said = f"/2 was trained on {of_val} of the {of_val} val images of "
    with pytest.raises(UserError, match=f"--split val: .*{said}"):
        evaluate(EvaluateConfig(both, split="val"))
    scores = evaluate(EvaluateConfig(both))
    assert scores.operating_point is None
    assert re.search(f"no threshold of defect: .*{said}", scores.no_operating_point or "")
    assert evaluate(EvaluateConfig(models[1])).images == scores.images
    assert "was trained on" not in capfd.readouterr().err


def test_images_that_a_network_was_trained_on_are_no_test_of_it(
    images: Path, chips: Dataset, channels: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = build(BuildConfig(images, tmp_path / "other", split="50/25/25", seed=1))
    seen = sorted({*chips.splits["train"]} & {*other.splits["test"]})
    assert seen
    named = ", ".join([*seen[:3], *(["..."] if len(seen) > 3 else [])])
    said = (
        f"was trained on {len(seen)} of the 5 test images of {other.path} ({named}): score images"
    )
    with pytest.raises(UserError, match=re.escape(said)):
        evaluate(EvaluateConfig(channels, data=other.path, out=tmp_path / "scores"))
    assert not (tmp_path / "scores").exists()
    capfd.readouterr()
    of_train = EvaluateConfig(channels, data=other.path, split="train", defect_threshold="none")
    assert evaluate(of_train).images == 10
    assert "was trained on" not in capfd.readouterr().err

    older = write_channels_run(tmp_path / "older", chips, trained_on=None)
    with pytest.raises(UserError, match=re.escape(said)):  # as its data set tells
        evaluate(EvaluateConfig(older, data=other.path))
    for number, change in enumerate(({"trained_on": None}, {"path": "gone"})):
        silent = write_channels_run(tmp_path / f"silent{number}", chips, trained_on=None)
        about = read(silent.parent / "data.json")
        write_json({**about, **change}, silent.parent / "data.json")
        capfd.readouterr()
        assert evaluate(EvaluateConfig(silent, data=other.path)).images == 5
        told = f"{silent.parent}: its run folder, which tells what it was trained on, does not know"
        assert capfd.readouterr().err.count(told) == 1


def test_a_file_away_from_its_run_says_nothing_of_the_images_of_other_data(
    images: Path, chips: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = build(BuildConfig(images, tmp_path / "other", split="50/25/25", seed=1))
    info = dataclasses.replace(
        INFO, shape=(32, 32), classes=chips.classes, dataset_sha256=chips.sha256
    )
    model = write_channels_model(tmp_path / "away.onnx", info=info)
    told = f"{model}: its run folder, which tells what it was trained on, is not at hand"
    for dataset, count in ((chips, 0), (other, 1)):
        evaluate(EvaluateConfig(model, data=dataset.path))
        assert capfd.readouterr().err.count(told) == count


def test_images_that_lie_in_train_and_test_are_a_matter_of_the_data_set(tmp_path: Path) -> None:
    for split, names in {"train": "abcd", "val": "e", "test": "af"}.items():
        for name in names:
            write_image(tmp_path / split / f"{name}.jpg")
            write_mask(tmp_path / f"{split}_mask" / f"{name}.png", [0, 1])
    dataset = build(BuildConfig(tmp_path, tmp_path.with_name("voc")))
    twins = hashlib.sha256(dataset.image("test_a").read_bytes()).hexdigest()
    assert twins == hashlib.sha256(dataset.image("train_a").read_bytes()).hexdigest()
    write_channels_run(tmp_path / "run", dataset)
    assert find_trained_on([tmp_path / "run"], dataset, "test") == {}
    elsewhere = dataclasses.replace(dataset, splits={**dataset.splits, "train": ()})
    assert find_trained_on([tmp_path / "run"], elsewhere, "test") == {tmp_path / "run": ("test_a",)}


def test_networks_of_several_data_sets_need_one_named(chips: Dataset, tmp_path: Path) -> None:
    one = write_channels_run(tmp_path / "one", chips)
    two = write_channels_run(tmp_path / "two", chips, sha256="other")
    with pytest.raises(UserError, match="different data sets: name the one to score on"):
        evaluate(EvaluateConfig(Path(f"{one},{two}")))


def test_without_defects_in_val_no_threshold_is_chosen(dataset: Dataset, tmp_path: Path) -> None:
    assert not dataset.images["val"].get("defect")
    model = write_channels_run(tmp_path / "run", dataset)
    scores = evaluate(EvaluateConfig(model))
    assert scores.operating_point is None
    assert scores.no_operating_point == "no threshold of defect: val shows none"
    assert scores.no_operating_point in result_tables(scores)


def test_a_network_of_a_fold_is_scored_on_that_fold_of_the_data_named_again(
    images: Path, tmp_path: Path
) -> None:
    folds = build(BuildConfig(images, tmp_path / "voc", folds=3))
    own = folds.in_fold(2)
    about = {"path": str(folds.path), "sha256": folds.sha256, "classes": [], "fold": 2}
    write_json(about, tmp_path / "data.json")
    engine = Engine(
        "keras", folds.classes, (32, 32), False, lambda images: images, tmp_path, tmp_path
    )
    for data in (None, folds.path):
        found = command._dataset_for(EvaluateConfig(tmp_path, data=data), [engine])
        assert found.splits["val"] == own.splits["val"] != folds.splits["val"]


def test_an_onnx_file_away_from_its_run_is_scored_on_named_data(
    run: Path, dataset, tmp_path: Path
) -> None:  # type: ignore[no-untyped-def]
    model = Path(shutil.copy(run / "model.onnx", tmp_path))
    scores = evaluate(EvaluateConfig(model, data=dataset.path, out=tmp_path / "scores"))
    assert scores.images == 2
    assert (tmp_path / "scores/confusion_test_onnx.png").is_file()


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        ("nowhere", [], "nowhere: no such file"),
        ("", ["--split", "tset"], "--split takes one of train, val, test"),
        ("", ["--batch", "0"], "--batch 0: must be at least 1"),
        ("overlays", [], "neither a run folder"),
        ("", ["--data", "OTHER"], "score it on data of its own classes"),
        ("", ["--defect", "cat"], "--defect takes one of fishka, defect. Received: cat"),
        ("", ["--defect-threshold", "2"], "--defect-threshold takes auto, none or a number"),
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
