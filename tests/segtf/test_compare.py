"""Groups of runs, their means and spreads, and warnings about runs that are not comparable."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from segtf.compare import main
from segtf.reports import draw_comparison
from segtf.scoring.split_scores import read_scores
from tests.segtf.reports.run_folders import CLASSES, read_picture, write_log, write_run
from tests.segtf.split_scores import change_scores


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skips the picture, which takes most of a second."""
    monkeypatch.setattr(draw_comparison, "draw_comparison", lambda *_: None)


def compared(tmp_path: Path, runs: list[Path], *flags: str) -> list[dict[str, str]]:
    """The rows of the table as dictionaries by column."""
    out = tmp_path / "compare"
    assert main([*map(str, runs), "--out", str(out), *flags]) == 0
    lines = (out / "compare.md").read_text(encoding="utf-8").splitlines()
    cells = [
        [cell.strip() for cell in line.replace("\\|", "/").strip("|").split("|")]
        for line in lines
        if line.startswith("|")
    ]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def refused(capsys: pytest.CaptureFixture[str], *runs: Path) -> str:
    assert main([*map(str, runs), "--out", str(runs[0].parent / "refused")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not (runs[0].parent / "refused").exists()
    return error


@pytest.mark.usefixtures("unpainted")
def test_runs_that_differ_only_in_seed_are_one_row_of_mean_and_spread(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"s{n}", 0.8 + 0.02 * n, seed=n) for n in range(3)]
    for run, epochs in zip(runs, (4, 6, 8), strict=True):
        write_log(run / "log.csv", CLASSES, [0.1 * (n + 1) for n in range(epochs)])
    runs += [write_run(tmp_path / "m", 0.9, mosaic=0.5, loss="0.5*ce + 0.5*dice")]
    first, second = compared(tmp_path, runs)
    assert first[""] == "1" and second[""] == "2"
    assert first["settings"] == "loss ce + dice, mosaic 0.0"
    assert second["settings"] == r"loss 0.5\*ce + 0.5\*dice, mosaic 0.5"
    assert (first["over"], second["over"]) == ("3 runs", "1 run")
    assert first["test mIoU"] == "0.8200 ± 0.0200"
    assert first["val mIoU"] == "0.8100 ± 0.0200"
    assert first["IoU def/ect"] == first["Dice"] == "0.8200 ± 0.0200"
    assert second["test mIoU"] == "0.9000"
    assert (first["epochs"], first["best epoch"], second["best epoch"]) == (
        "6.0 ± 2.0",
        "6.0 ± 2.0",
        "4",
    )
    assert (first["minutes"], second["minutes"]) == ("2.0 ± 0.0", "2.0")


@pytest.mark.usefixtures("unpainted")
def test_rows_are_labelled_with_their_differences_from_most_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [{}, {"loss": "ce"}, {"loss": "dice"}, {"mosaic": 0.5}, {"loss": "ce", "mosaic": 0.5}]
    changes += [{"balance": True}]
    runs = [
        write_run(tmp_path / f"{n}-{seed}", 0.8, **{"balance": False, **change}, seed=seed)
        for n, change in enumerate(changes)
        for seed in range(3 if n else 1)  # most groups, not most runs
    ]
    rows = compared(tmp_path, runs)
    assert [row["settings"] for row in rows] == [
        "loss ce + dice",
        "loss ce",
        "loss dice",
        "loss ce + dice, mosaic 0.5",
        "loss ce, mosaic 0.5",
        "balance true, loss ce + dice",
    ]  # half of the groups are no more than the others
    said = "Where the settings do not say otherwise: "
    assert f"{said}balance false, mosaic 0.0.\n" in capsys.readouterr().out
    rows = compared(tmp_path, runs[:4] + runs[7:10])
    assert [row["settings"] for row in rows] == ["default", "loss ce", "mosaic 0.5"]
    assert f"{said}loss ce + dice, mosaic 0.0.\n" in capsys.readouterr().out
    rows = compared(tmp_path, runs[:2])
    assert [row["settings"] for row in rows] == ["loss ce + dice", "loss ce"]
    assert said not in capsys.readouterr().out


@pytest.mark.usefixtures("unpainted")
def test_spread_is_over_folds_and_each_fold_counts_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fold 1 has two seeds: its mean is one value of the two."""
    scored = {(1, 1): 0.70, (1, 2): 0.80, (2, 1): 0.85}
    runs = [
        write_run(tmp_path / f"f{fold}s{seed}", miou, folds=2, fold=fold, seed=seed)
        for (fold, seed), miou in scored.items()
    ]
    (row,) = compared(tmp_path, runs)
    assert row["settings"] == "all runs"
    assert row["over"] == "2 folds of 3 runs"
    assert row["test mIoU"] == "0.8000 ± 0.0707"
    output = capsys.readouterr()
    assert "over the folds, each the mean of its runs" in output.out
    assert "warning" not in output.err


@pytest.mark.usefixtures("unpainted")
def test_repeats_over_folds_and_over_runs_are_both_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = [write_run(tmp_path / f"f{n}", 0.8, fold=n, mosaic=0.5) for n in (1, 2)]
    seeds = [write_run(tmp_path / f"s{n}", 0.7 + 0.1 * n, fold=1, seed=n) for n in (1, 2, 3)]
    rows = compared(tmp_path, [*folds, *seeds])
    assert [row["over"] for row in rows] == ["2 folds", "3 runs"]
    assert rows[1]["test mIoU"] == "0.9000 ± 0.1000"
    assert "over the runs of a row, or over its folds" in capsys.readouterr().out
    compared(tmp_path, [*folds, seeds[0]])
    assert "sample standard deviation over the folds;" in capsys.readouterr().out


@pytest.mark.usefixtures("unpainted")
def test_a_run_on_val_is_no_fold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [write_run(tmp_path / f"{fold}", 0.8, folds=3, fold=fold) for fold in (1, 2, 3, None)]
    rows = compared(tmp_path, runs)
    assert [row["settings"] for row in rows] == ["validation folds", "validation val"]
    assert [row["over"] for row in rows] == ["3 folds", "1 run"]
    assert "different folds (group 1: 1, 2, 3; group 2: val)" in capsys.readouterr().err


@pytest.mark.usefixtures("unpainted")
def test_the_csv_has_every_run_with_both_splits(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / n, 0.8, loss=n, seed=s) for s, n in enumerate(("ce", "dice"))]
    for run, epochs in zip(runs, (20, 40), strict=True):  # asked for; 4 are logged
        settings = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**settings, "epochs": epochs}))
    compared(tmp_path, runs)
    with (tmp_path / "compare/compare.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["run"], first["seed"], first["loss"]) == (str(runs[0]), "0", "ce")
    assert (first["epochs"], second["epochs"]) == ("20", "40")
    assert (second["group"], second["fold"], second["loss"]) == ("2", "", "dice")
    assert float(first["val_miou"]) == pytest.approx(0.79)
    assert float(first["test_iou_def|ect"]) == 0.8
    assert (first["epochs_done"], first["minutes"]) == ("4.0", "2.0")
    assert first["command"] == "python -m segtf.train --run ce"


@pytest.mark.usefixtures("unpainted")
def test_the_table_has_the_chosen_scores_and_the_csv_all_of_both_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "one", 0.8)
    counted = ["epochs", "best epoch", "minutes"]
    ends = ["", "settings", "over"]
    (row,) = compared(tmp_path, [run])
    classes = ["IoU \\_\\_background\\_\\_", "IoU fishka", "IoU def/ect"]
    scores = ["val mIoU", "test mIoU", "micro imagewise", "Dice", *classes]
    assert list(row) == [*ends, *scores, *counted]
    (row,) = compared(tmp_path, [run], "--scores", "pixel_accuracy,iou_micro_imagewise,miou")
    asked = ["pixel accuracy", "micro imagewise", "val mIoU", "test mIoU"]
    assert list(row) == [*ends, *asked, *counted]
    assert [row[name] for name in asked] == ["0.2000", "0.4000", "0.7900", "0.8000"]
    with (tmp_path / "compare/compare.csv").open(encoding="utf-8") as file:
        (values,) = csv.DictReader(file)
    assert float(values["val_iou_micro_imagewise"]) == pytest.approx(0.395)
    assert float(values["test_iou_micro_imagewise"]) == pytest.approx(0.4)
    assert float(values["val_pixel_accuracy"]) == pytest.approx(0.1975)
    assert float(values["test_pixel_accuracy"]) == pytest.approx(0.2)
    capsys.readouterr()
    assert main([str(run), "--scores", "miou,micro"]) == 2
    assert "--scores miou,micro: 'micro': must be some of miou, iou_" in capsys.readouterr().err


@pytest.mark.usefixtures("unpainted")
def test_scores_that_a_run_lacks_are_empty(tmp_path: Path) -> None:
    old, new = (write_run(tmp_path / name, 0.8, loss=name) for name in ("ce", "dice"))
    for split in ("val", "test"):
        path = old / f"metrics_{split}.json"
        scores = json.loads(path.read_text())
        del scores["iou_micro_imagewise"], scores["pixel_accuracy"]
        path.write_text(json.dumps(scores))
    rows = compared(tmp_path, [old, new])
    assert [row["micro imagewise"] for row in rows] == ["–", "0.4000"]
    with (tmp_path / "compare/compare.csv").open(encoding="utf-8") as file:
        assert [row["test_pixel_accuracy"] for row in csv.DictReader(file)] == ["", "0.2"]


@pytest.mark.usefixtures("unpainted")
def test_the_commands_of_the_runs_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(
        tmp_path, [write_run(tmp_path / "one", 0.8), write_run(tmp_path / "two", 0.8, size=64)]
    )
    output = capsys.readouterr().out
    assert output == (tmp_path / "compare/compare.md").read_text(encoding="utf-8")
    assert "- 2, two: `python -m segtf.train --run two`\n" in output


@pytest.mark.usefixtures("unpainted")
def test_without_test_images_the_scores_are_those_of_val(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / "one", 0.8, test=False), write_run(tmp_path / "two", 0.9, size=64)]
    first, second = compared(tmp_path, runs)
    assert first["test mIoU"] == "–" and second["test mIoU"] == "0.9000"
    assert (first["Dice"], second["Dice"]) == ("0.7900", "0.8900")
    (row,) = compared(tmp_path, runs[:1])
    assert "test mIoU" not in row
    assert row["settings"] == "one"


@pytest.mark.usefixtures("unpainted")
def test_a_class_absent_in_a_fold_is_left_out_of_the_mean(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"{n}", 0.6 + 0.1 * n, folds=3, fold=n) for n in (1, 2, 3)]
    iou = read_scores(runs[0] / "metrics_test.json").iou
    change_scores(runs[0], "test", iou={**iou, "fishka": None})
    (row,) = compared(tmp_path, runs)
    assert row["IoU fishka"] == "0.8500 ± 0.0707 (n = 2)"
    assert row["IoU def/ect"] == "0.8000 ± 0.1000"


@pytest.mark.usefixtures("unpainted")
def test_runs_that_are_not_comparable_give_warnings_on_screen_and_in_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_run(tmp_path / "one", 0.8)
    other = write_run(tmp_path / "other", 0.9, sha256="ffff" * 16, ids=("b", "c"))
    again = write_run(tmp_path / "again", 0.8)
    rows = compared(tmp_path, [one, other, again])
    assert [row["settings"] for row in rows] == [
        "data fishki (0a1b0a1b0a)",
        "data fishki (ffffffffff)",
    ]
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert "data sets differ (SHA-256 0a1b0a1b0a: one, again; ffffffffff: other)" in said[0]
    assert "test images differ (2 images: one, again; 2 images: other)" in said[1]
    assert "one, again have the same settings, seed and fold" in said[2]
    page = (tmp_path / "compare/compare.md").read_text(encoding="utf-8")
    assert page.count("Warning: ") == 3


@pytest.mark.usefixtures("unpainted")
def test_groups_with_different_folds_are_not_comparable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_run(tmp_path / f"a{fold}", 0.8, fold=fold) for fold in (1, 2)]
    compared(tmp_path, [*runs, write_run(tmp_path / "b1", 0.8, fold=1, size=64)])
    assert "different folds (group 1: 1, 2; group 2: 1): val scores" in capsys.readouterr().err


@pytest.mark.usefixtures("unpainted")
def test_scores_at_different_sizes_are_not_comparable_but_those_of_crops_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiles of any size show each pixel of an image once, at the image's own size."""
    crops = [write_run(tmp_path / f"crop{crop}", 0.8, crop=crop) for crop in (64, 128)]
    small, large = (write_run(tmp_path / f"{size}", 0.8, size=size) for size in (128, 256))
    compared(tmp_path, crops)
    assert "own size" not in capsys.readouterr().err
    compared(tmp_path, [small, large, crops[0]])
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "own size" in line]
    assert "(group 1: 128 x 128; group 2: 256 x 256; group 3: the images' own)" in said


@pytest.mark.usefixtures("unpainted")
def test_unfinished_and_damaged_runs_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_run(tmp_path / "runs/good", 0.8)
    (tmp_path / "empty").mkdir()
    assert "empty: not a run folder (no config.yaml)" in refused(capsys, good, tmp_path / "empty")
    stopped = write_run(tmp_path / "runs/stopped", 0.8)
    (stopped / "metrics_test.json").unlink()
    said = refused(capsys, good, stopped)
    assert (
        "stopped: an unfinished run (no metrics_test.json): resume it with python -m segtf.train"
        in said
    )
    assert f"--run stopped --artifacts {tmp_path} --resume" in said
    (stopped / "metrics_test.json").write_text("{")
    assert "metrics_test.json: damaged" in refused(capsys, good, stopped)
    (stopped / "metrics_test.json").write_text('{"miou": "high", "images": []}')
    assert "metrics_test.json: damaged" in refused(capsys, good, stopped)


@pytest.mark.usefixtures("unpainted")
def test_runs_of_different_classes_duplicates_and_missing_splits_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = write_run(tmp_path / "one", 0.8, test=False)
    two = write_run(tmp_path / "two", 0.8, classes=["__background__", "fishka"])
    assert "two: has the classes __background__, fishka, " in refused(capsys, one, two)
    assert "one: named twice" in refused(capsys, one, tmp_path / "two/../one")
    assert main([str(one), "--split", "test"]) == 2
    assert "one: no test images: compare with --split val" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 3, 12, 25])
def test_the_picture_has_room_for_any_number_of_groups(tmp_path: Path, count: int) -> None:
    runs = [
        write_run(
            tmp_path / f"{n}-{seed}", 0.9 - 0.01 * n + 0.002 * seed, loss=f"{n}*$ce", seed=seed
        )
        for n in range(count)
        for seed in (1, 2)
    ]
    compared(tmp_path, runs)
    height, width, _ = read_picture(tmp_path / "compare/compare.png").shape
    assert 1200 < width < 1900
    assert 600 < height < 1000 + 45 * count


def painted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runs: list[Path]) -> Figure:
    """The picture before it is a file."""
    figures: list[Figure] = []
    monkeypatch.setattr(draw_comparison, "save_chart", lambda figure, _: figures.append(figure))
    compared(tmp_path, runs)
    FigureCanvasAgg(figures[0]).draw()
    return figures[0]


def test_long_labels_of_groups_differ_and_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = "0.5*ce + 0.3*focal_tversky(beta=0.7, gamma=0.75) + 0.2*lovasz"
    runs = [
        write_run(tmp_path / f"{n}", 0.8, loss=loss, class_weights=f"1.0,1.0,{n / 10}", mosaic=0.5)
        for n in range(10, 14)
    ]
    runs += [write_run(tmp_path / f"m{n}", 0.8, class_weights="none") for n in (1, 2, 3)]
    figure = painted(monkeypatch, tmp_path, runs)
    first = figure.get_axes()[1]
    named = [text for text in first.texts if text.get_text()]
    assert len({text.get_text() for text in named}) == len(named) == 5
    boxes = sorted((text.get_window_extent() for text in named), key=lambda box: box.y0)
    assert all(low.y1 <= high.y0 for low, high in pairwise(boxes))
    numbers = [tick.get_window_extent() for tick in first.get_yticklabels()]
    assert max(box.x1 for box in boxes) < min(box.x0 for box in numbers)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 40])
def test_numbers_beside_the_curves_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    runs = [write_run(tmp_path / f"{n}", 0.9 - 0.0001 * n, mosaic=n / 100) for n in range(count)]
    curves = painted(monkeypatch, tmp_path, runs).get_axes()[0]
    room = curves.get_window_extent()
    heights = sorted(curves.transAxes.transform(text.get_position())[1] for text in curves.texts)
    assert len(heights) == count
    assert room.y0 - 0.01 <= heights[0] and heights[-1] <= room.y1 + 0.01
    points = curves.figure.figure.dpi / 72
    assert min(high - low for low, high in pairwise(heights)) > 9.5 * points  # letters are 9 high


def test_help_needs_no_heavy_import() -> None:
    command = [sys.executable, "-m", "segtf.compare", "--help"]
    help_text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "Run folders" in help_text
    loaded = "import segtf.compare, sys; print({'matplotlib', 'tensorflow'} & {*sys.modules})"
    modules = subprocess.run([sys.executable, "-c", loaded], capture_output=True, check=True)
    assert modules.stdout == b"set()\n"


def test_labels_move_apart_as_little_as_possible() -> None:
    places = draw_comparison._apart([0.1, 0.5, 0.5, 0.52, 0.99], gap=0.1)
    assert places == pytest.approx([0.1, 0.4067, 0.5067, 0.6067, 0.99], abs=1e-3)
    assert draw_comparison._apart([0.9, 1.0], gap=0.2) == pytest.approx([0.8, 1.0])
    assert draw_comparison._apart([], gap=0.1).size == 0
