from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from segtf.reports.figures import draw_confusion, draw_curves, format_count
from tests.segtf.reports.run_folders import read_picture, write_log

NAN = math.nan


@pytest.mark.slow
@pytest.mark.parametrize(
    "scores", [[0.5], [NAN], [0.1, NAN, 0.9, NAN, 0.5], list(np.linspace(0, 1, 300))]
)
@pytest.mark.parametrize("count", [2, 25])
def test_draw_curves_draws_any_number_of_epochs_and_classes(
    scores: list[float], count: int, tmp_path: Path
) -> None:
    classes = ["__background__", "дефект $x_1$", *(f"class {i} " * 9 for i in range(count - 2))]
    log = write_log(tmp_path / "log.csv", classes, scores)
    draw_curves(log, tmp_path / "curves.png")
    height, width, _ = read_picture(tmp_path / "curves.png").shape
    assert 1000 < width < 2000
    assert 600 < height < 2000


def test_draw_curves_uses_the_colours_of_the_masks(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log.csv", ["background", "chip"], [0.2, 0.4, 0.6])
    draw_curves(log, tmp_path / "curves.png")
    assert (read_picture(tmp_path / "curves.png") == (128, 0, 0)).all(axis=2).sum() > 100


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_draw_confusion_draws_2_to_30_classes(count: int, tmp_path: Path) -> None:
    counts = np.diag(np.full(count, 10**9, np.int64))
    names = ["__background__", "$a$", *(f"имя {i} " * 10 for i in range(28))][:count]
    draw_confusion(counts, names, tmp_path / "confusion.png")
    height, width, _ = read_picture(tmp_path / "confusion.png").shape
    assert 0.6 < width / height < 1.8
    assert width < 3000


def test_draw_confusion_greys_a_class_without_pixels(tmp_path: Path) -> None:
    draw_confusion(np.array([[5, 0], [0, 0]], np.int64), ["a", "b"], tmp_path / "absent.png")
    draw_confusion(np.array([[5, 0], [0, 5]], np.int64), ["a", "b"], tmp_path / "present.png")
    grey = [
        (read_picture(tmp_path / name) == (217, 217, 217)).all(axis=2).mean()
        for name in ("absent.png", "present.png")
    ]
    assert grey[0] > 0.2
    assert grey[1] < 0.001


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (950, "950"), (12_345, "12.3k"), (4_560_000, "4.56M"), (1_200_000_000, "1.2G")],
)
def test_format_count_is_short(count: int, text: str) -> None:
    assert format_count(count) == text
