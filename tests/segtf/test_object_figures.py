"""The picture of found and missed objects and of the thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtf.inspection import operating_values
from segtf.object_figures import FOUND, MISSED, draw_objects, size_name
from segtf.thresholds import choose_threshold, count_thresholds
from tests.segtf.test_figures import read_picture

Json = dict[str, Any]


def row(size: str, true: int, found: int, *, up_to: int | None = None, false: int = 0) -> Json:
    alarms = found + false
    return {
        "size": size,
        "up_to": up_to,
        "true": true,
        "found": found,
        "alarms": alarms,
        "false": false,
    }


def objects(**classes: list[Json]) -> Json:
    return {"objects": {"classes": {name: {"sizes": rows} for name, rows in classes.items()}}}


def point() -> Json:
    truth = np.zeros((20, 20), np.uint8)
    truth[5:10, 5:10] = 1
    counts = count_thresholds(np.where(truth == 1, 0.7, 0.2).astype(np.float32), truth, 1)
    chosen = choose_threshold(counts)
    assert chosen is not None
    return operating_values("дефект $x_1$", chosen, counts, "val")


def pixels_of(path: Path, colour: str) -> int:
    rgb = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return int((read_picture(path) == rgb).all(axis=2).sum())


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


def test_the_curve_stands_beside_the_bars(tmp_path: Path) -> None:
    values = objects(chip=[row("large", 3, 2)])
    draw_objects(values, tmp_path / "bars.png")
    draw_objects({**values, "operating_point": point()}, tmp_path / "both.png")
    assert (
        read_picture(tmp_path / "both.png").shape[1]
        > 1.4 * (read_picture(tmp_path / "bars.png").shape[1])
    )


@pytest.mark.parametrize("count", [0, 12])
def test_any_number_of_classes_is_drawn(count: int, tmp_path: Path) -> None:
    classes = {f"класс $_{i}$ " * 9: [row("large", i, 0)] for i in range(1, count + 1)}
    draw_objects({**objects(**classes), "operating_point": point()}, tmp_path / "many.png")
    height, width, _ = read_picture(tmp_path / "many.png").shape
    assert 1300 < width < 1700
    assert 400 < height < 1500


def test_sizes_say_what_they_mean() -> None:
    assert size_name(row("specks", 1, 1)) == "specks, under 3 px wide"
    assert size_name(row("medium", 1, 1, up_to=12_345)) == "medium, up to 12,345 px"
    assert size_name(row("large", 1, 1)) == "large"
