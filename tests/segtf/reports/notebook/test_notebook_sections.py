"""What a notebook calls: counts from the lists, sentences from the numbers."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import albumentations as A
import h5py
import numpy as np
import pytest
from PIL import Image

from segtf.data.pipelines import write_pipeline
from segtf.reports.notebook import data, failures, findings, network, runs, show, training
from segtf.reports.runs import Run
from segtf.run.config import TrainConfig
from segtf.run.folder import write_json
from segtf.run.typed_json import to_json
from segtf.scoring.intervals import Interval
from segtf.scoring.metrics import confusion
from segtf.scoring.split_scores import (
    ImageScores,
    Intervals,
    ObjectCounts,
    ShownScores,
    SplitScores,
)
from tests.segtf.split_scores import image_scores, split_scores
from voc_builder.tree.voc import Dataset

CLASSES = ["__background__", "fishka", "defect"]


def a_run(name: str = "tiny", *, val: float | None = 0.8, test: float | None = 0.7) -> Run:
    """A run of four epochs; `test` None: without that split."""

    def scores(miou: float | None) -> SplitScores:
        interval = Interval(0.6, 0.9, images=4, few=True)
        of_classes = dict.fromkeys(CLASSES, interval)
        return split_scores(
            dict(zip(CLASSES, (0.95, 0.8, 0.17), strict=True)),
            miou,
            dice_mean=0.8,
            confusion=((900, 10, 0), (5, 300, 0), (40, 60, 20)),
            intervals=Intervals(0.95, 9, interval, of_classes, interval, of_classes, {}, {}),
        )

    rising = np.array([0.2, 0.5, 0.8, 0.7])
    return Run(
        path=Path("runs", name),
        settings={"size": 64, "seed": 1, "loss": "ce"},
        about={"classes": CLASSES, "sha256": "ab" * 32},
        log={
            "epoch": np.arange(4.0),
            "val_miou": rising,
            "miou": rising + 0.15,
            "data_wait": np.array([0.9, 0.5, 0.5, 0.5]),
        },
        scores={"val": scores(val)} | ({} if test is None else {"test": scores(test)}),
        environment={"seconds": 60.0},
    )


def test_a_group_and_an_image_in_two_splits_are_found_in_the_lists(
    dataset: Dataset, tmp_path: Path
) -> None:
    about = json.loads((dataset.path / "dataset.json").read_text())
    first, second = dataset.splits["train"][:2]
    third = dataset.splits["test"][0]
    about["groups"] = {"a": {"train": [first, second]}, "b": {"train": [second, third]}}
    about["groups_in_two_splits"] = []  # what the file claims
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    found = data.separation(dataclasses.replace(dataset, path=tmp_path))
    assert (found.images, found.images_twice, found.groups) == (20, (), 2)
    assert found.groups_twice == ("b",)
    splits = dataset.splits | {"val": (*dataset.splits["val"], first)}
    twice = data.separation(dataclasses.replace(dataset, splits=splits))
    assert twice.images_twice == (first,)
    assert "1, b" in str(data.separation_table(dataclasses.replace(dataset, path=tmp_path)))


def test_shares_of_pixels_are_of_those_that_are_labelled(dataset: Dataset) -> None:
    pixels = {"__background__": 50, "fishka": 30, "defect": 20, "__ignore__": 100}
    every = dataclasses.replace(dataset, pixels=dict.fromkeys(dataset.splits, pixels))
    rows = {row[0]: row[1:] for row in data.split_table(every).rows}
    assert rows["photos"] == ("16", "2", "2")
    assert [cell.split(" in ")[0] for cell in rows["fishka"]] == ["30 %"] * 3
    assert [cell.split(" in ")[0] for cell in rows["void"]] == ["50 %"] * 3


def test_telling_images_show_every_class_first(dataset: Dataset) -> None:
    [first, second] = data.telling_images(dataset, "train", 2)
    shown = set(np.unique(data.load_mask(dataset, first)).tolist())
    assert shown >= {1, 2}
    assert first != second
    assert data.telling_images(dataset, "train", 2) == [first, second]


def test_how_many_samples_a_change_reaches_is_told_where_the_pipeline_tells_it(
    tmp_path: Path,
) -> None:
    one_of = A.OneOf([A.GaussianBlur(p=0.5), A.RandomGamma((80, 120), p=1.5 / 3)], p=0.4)
    some = A.SomeOf([A.HueSaturationValue(p=1.0), A.ToGray(p=1.0)], n=1, p=0.9)
    pipeline = A.Compose([A.HorizontalFlip(p=0.25), one_of, some, A.RandomGamma((60, 90), p=1)])
    write_pipeline(pipeline, tmp_path / "own.yaml")
    found = training.changes(str(tmp_path / "own.yaml"), (64, 64))
    shares = [(change.name, change.share) for change in found]
    assert shares == [
        ("HorizontalFlip", 0.25),
        ("GaussianBlur", pytest.approx(0.2)),
        ("RandomGamma", pytest.approx(0.2)),
        ("HueSaturationValue", None),
        ("ToGray", None),
        ("RandomGamma", 1.0),
    ]
    assert training.untouched(str(tmp_path / "own.yaml"), (64, 64)) == 0
    assert training.untouched("light", (64, 64)) == pytest.approx(0.5**3)
    assert training.untouched("medium", (64, 64)) == pytest.approx(0.5 * 0.5 * 0.3 * 0.5)
    assert found[-1].settings == {"gamma_limit": (60.0, 90.0)}
    table = training.pipeline_table(tmp_path, TrainConfig(augment=str(tmp_path / "own.yaml")))
    assert table.rows[-1] == ("RandomGamma", "100 %", "gamma_limit 60 to 90")


@pytest.mark.parametrize("settings", [{"size": "64x96"}, {"crop": 32, "mosaic": 1.0}])
def test_an_image_is_augmented_as_the_run_would(
    settings: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    config = TrainConfig(**settings)
    image_id = dataset.splits["train"][0]
    picture = training.augmented_image(tmp_path, config, dataset, image_id)
    assert Image.open(io.BytesIO(picture.encoded)).width == round(show.WIDTH * show.DPI)
    image, mask = data.load_image(dataset, image_id), data.load_mask(dataset, image_id)
    seen = training.sample_of(config, dataset, (image, mask), np.random.default_rng(0))
    assert seen[0].shape == (*config.shape, 3)
    assert seen[1].shape == config.shape


def test_weights_are_counted_without_those_of_the_optimiser(tmp_path: Path) -> None:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/conv/vars/0"] = np.zeros((3, 3, 4, 8))
        file["layers/conv/vars/1"] = np.zeros(8)
        file["optimizer/vars/0"] = np.zeros(1000)
    with zipfile.ZipFile(tmp_path / "best.keras", "w") as file:
        file.writestr("model.weights.h5", weights.getvalue())
    assert network.count_weights(tmp_path / "best.keras") == 3 * 3 * 4 * 8 + 8


def test_a_failure_says_which_class_was_missed_and_which_over_marked() -> None:
    truth = np.zeros((20, 20), np.uint8)
    truth[:10, :10], truth[12:14, 12:14] = 1, 2
    prediction = truth.copy()
    prediction[:5, :10] = 0  # half of the 100
    prediction[14:17, 14:17] = 2
    counts = confusion(truth, prediction, 3)
    assert failures.missed(counts, CLASSES) == (
        r"Missed: **fishka**, 50 % of its 100 pixels, all taken for \_\_background\_\_."
    )
    assert failures.over_marked(counts, CLASSES) == (
        r"Over-marked: **defect**, 9 pixels beside its 4 true ones, all on \_\_background\_\_."
    )
    right = confusion(truth, truth, 3)
    assert failures.missed(right, CLASSES) == failures.over_marked(right, CLASSES) == ""
    assert str(failures.failure_picture([], CLASSES)) == "No image has a fault."
    image = np.zeros((20, 20, 3), np.uint8)
    objects = {"defect": ObjectCounts(true=2, found=1, predicted=3, false_positives=2)}
    row = image_scores("a_b", objects=objects, wrong=0.02)
    one = failures.Failure("a_b", row, image, truth, None)
    assert failures.sentence(one, CLASSES) == (
        r"a\_b: 1 missed, 2 false alarms, 2.0 % wrong. "
        "1 of 2 objects of defect missed, 2 false alarms of defect."
    )


def test_a_faultless_image_is_no_failure_however_low_its_mean_iou(
    dataset: Dataset, tmp_path: Path
) -> None:
    first, second, third = (*dataset.splits["test"], dataset.splits["val"][0])
    missed = {"defect": ObjectCounts(true=1, found=0, predicted=0, false_positives=0)}
    rows = (
        image_scores(first, 0.33, objects={}, wrong=0.0),
        image_scores(second, 0.5, objects={}, wrong=0.001),
        image_scores(third, 0.9, objects=missed, wrong=0.0001),
    )
    run = dataclasses.replace(a_run(), path=tmp_path)

    def worst(count: int, rows: tuple[ImageScores, ...] = rows) -> list[str]:
        run.scores["test"] = dataclasses.replace(run.scores["test"], rows=rows)
        return [one.image_id for one in failures.worst_images(run, dataset, count=count)]

    assert (worst(1), worst(4)) == ([third], [third, second])
    older = tuple(dataclasses.replace(row, wrong=None) for row in rows)
    assert worst(4, older) == [third, first, second]
    shown = ShownScores("test", (rows[0], dataclasses.replace(rows[1], wrong=0.0)))
    write_json(to_json(shown), tmp_path / "overlays/scores.json")  # what is shown counts
    assert worst(4) == []


def test_the_conclusions_follow_the_numbers(dataset: Dataset) -> None:
    run = a_run()
    said = findings.weakest(run, dataset)
    assert said.startswith("**The weakest class is defect**, IoU 0.170 on test.")
    assert "rather missed than over-marked: 83.3 % of its pixels are, most of them taken" in said
    assert "taken for fishka" in said
    assert findings.val_and_test(run).startswith("**Test lies 0.100 below val**")
    assert "**Val holds on test**" in findings.val_and_test(a_run(test=0.79))
    assert "no test split" in findings.val_and_test(a_run(test=None))
    assert "the 1 after it gained nothing" in findings.course(run)
    assert "0.150 more than val" in findings.course(run)
    assert "among the last" in findings.course(
        dataclasses.replace(run, log=run.log | {"val_miou": np.array([0.1, 0.2, 0.3, 0.4])})
    )
    assert findings.pace(run).startswith("**Input held training back**: 50 %")
    assert "a rough guess, as it rests on 4 images" in findings.overall(run)
    assert "small differences between networks mean nothing" in findings.overall(run)


def test_what_was_chosen_is_told_by_val_and_its_interval() -> None:
    best, close, far = a_run("best"), a_run("close", val=0.75), a_run("far", val=0.2)
    assert "a hint, no proof" in findings.choice([close, best], best)
    assert "a hint" not in findings.choice([far, best], best)
    assert findings.choice([close, best], close).startswith(
        "By the mean IoU on val the best is **best** (0.8000), not **close** (0.7500)"
    )
    none = a_run("none", val=None)
    assert [run.name for run in runs.ranked([none, far, best])] == ["best", "far", "none"]
    assert not runs.run_doubts([best, far])
    larger = dataclasses.replace(far, settings=far.settings | {"size": 128, "fold": 2})
    assert runs.run_doubts([best, larger]) == [
        "they are scored at other sizes (64 x 64: best; 128 x 128: far)",
        "they are scored on other images (val: best; fold 2: far)",
    ]


def test_tables_keep_numbers_at_the_right_and_escape_names() -> None:
    table = show.Table(("class", "IoU", "verdict"), (("a<b", "0.5", "good"), ("c", "–", "bad")))
    assert str(table) == "class  IoU  verdict\na<b    0.5  good\nc        –  bad"
    html = table._repr_html_()
    assert "a&lt;b" in html
    assert html.count('style="text-align: right"') == 3


def test_small_images_keep_their_pixels_and_names_are_drawn_as_they_are() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 48, 3), np.uint8)
    shown = show.view(image, None, CLASSES)
    assert shown.shape == (show.VIEW // 2, show.VIEW, 3)
    np.testing.assert_array_equal(shown[5::10, 5::10], image)
    picture = show.sheet([[("$\\frac{a$ _b", image)]], ["$x_", "_y"])
    assert Image.open(io.BytesIO(picture.encoded)).format == "JPEG"
    assert re.fullmatch(r"a picture of \d+ kB", repr(picture))
