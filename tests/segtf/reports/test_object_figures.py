"""The picture of found and missed objects and of the thresholds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtf.reports.object_figures import (
    FOUND,
    MISSED,
    OBJECTS,
    draw_objects,
    draw_thresholds,
    size_name,
)
from segtf.scoring.operating import Target, given, point_scores
from segtf.scoring.split_scores import (
    ClassObjects,
    ObjectRule,
    ObjectScores,
    PointScores,
    SizeCounts,
)
from segtf.scoring.thresholds import count_thresholds
from tests.segtf.reports.run_folders import read_picture


def row(
    size: str, true: int, found: int, *, up_to: int | None = None, false: int = 0
) -> SizeCounts:
    return SizeCounts(size, up_to, true, found, found + false, false)


def objects(**classes: list[SizeCounts]) -> ObjectScores:
    of = {
        name: ClassObjects(0, 0, 0, 0, 0, None, None, None, tuple(rows))
        for name, rows in classes.items()
    }
    return ObjectScores(ObjectRule(0.25, 0.1), of)


def point() -> PointScores:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:10, 5:10] = 1
    counts = count_thresholds(np.where(truth == 1, 0.7, 0.2).astype(np.float32), truth, 1)
    return point_scores("дефект $x_1$", given(Target(1, 0.5)), counts, images=1)


def pixels_of(path: Path, colour: str) -> int:
    return int((read_picture(path) == rgb(colour)).all(axis=2).sum())


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def test_bars_are_as_long_as_the_shares(tmp_path: Path) -> None:
    out = tmp_path / "objects.png"
    draw_objects(objects(chip=[row("large", 100, 25), row("small", 4, 1, up_to=40)]), out)
    found, missed = pixels_of(out, FOUND), pixels_of(out, MISSED)
    assert found > 10_000
    assert missed / found == pytest.approx(3, rel=0.1)  # the numbers take some pixels


def test_sizes_without_objects_and_false_alarms_are_left_out(tmp_path: Path) -> None:
    some, more = tmp_path / "some.png", tmp_path / "more.png"
    draw_objects(objects(chip=[row("large", 3, 2), row("small", 0, 0, up_to=9)]), some)
    draw_objects(objects(chip=[row("large", 3, 2), row("small", 0, 0, up_to=9, false=4)]), more)
    assert read_picture(more).shape[0] > read_picture(some).shape[0] + 20


def test_the_chosen_threshold_stands_on_the_curve(tmp_path: Path) -> None:
    """A recall of 1 stands at the right, of 0 at the left, and without marks there is none."""
    found = point()
    halves = {}
    for name, recall, precision in (("right", 1.0, 1.0), ("left", 0.0, 1.0), ("none", 0.0, None)):
        at = replace(
            found,
            objects=replace(found.objects, recall=recall, precision=precision),
            pixels=replace(found.pixels, precision=None),
        )
        draw_thresholds(at, "test", tmp_path / f"{name}.png")
        picture = (read_picture(tmp_path / f"{name}.png") == rgb(OBJECTS)).all(axis=2)
        half = picture.shape[1] // 2
        halves[name] = (int(picture[:, :half].sum()), int(picture[:, half:].sum()))
    assert halves["left"][0] > halves["none"][0] + 50 == halves["right"][0] + 50
    assert halves["right"][1] > halves["none"][1] + 50 == halves["left"][1] + 50


@pytest.mark.parametrize("count", [0, 12])
def test_any_number_of_classes_is_drawn(count: int, tmp_path: Path) -> None:
    classes = {f"класс $_{i}$ " * 9: [row("large", i, 0)] for i in range(1, count + 1)}
    draw_objects(objects(**classes), tmp_path / "many.png")
    height, width, _ = read_picture(tmp_path / "many.png").shape
    assert 800 < width < 1300
    assert 150 < height < 1500


def test_sizes_say_what_they_mean() -> None:
    assert size_name(row("specks", 1, 1)) == "specks, under 3 px wide"
    assert size_name(row("medium", 1, 1, up_to=12_345)) == "medium, up to 12,345 px"
    assert size_name(row("large", 1, 1)) == "large"
