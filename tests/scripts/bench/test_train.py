from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.bench import train
from scripts.bench.stages import STAGES, Event, Sample, by_stage, run_events
from scripts.bench.train import growth, main, settled
from voc_builder.base.tensorflow import import_tensorflow

TINY = ["--arch", "tiny", "--size", "32", "--stage-sizes", "32", "--batch", "4", "--epochs", "3"]
FEW = ["--rounds", "1", "--few", "20", "--many", "30", "--memory-epochs", "4"]
SMALL = ["--input-size", "32", "--image-size", "128", "--input-images", "4"]
FOUND: dict[str, list[Event]] = {}


def once(kind: str, arguments: Sequence[str], events: Path) -> list[Event]:
    """The events of the first child of each kind, as each takes ten seconds to start."""
    if kind not in FOUND:
        FOUND[kind] = run_events(kind, arguments, events)
    return FOUND[kind]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux")
def test_every_part_measures_both_sides(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_tensorflow()
    monkeypatch.setattr("scripts.bench.input.SECONDS", 0.05)
    monkeypatch.setattr(train, "run_events", once)
    assert main(["--data", str(images), "--out", str(tmp_path), *TINY, *FEW, *SMALL]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert list(figures) == ["machine", "input", "memory", "epoch", "stages"]

    speeds = figures["input"]["samples_per_second"]
    assert list(speeds) == ["usual 128", "segtf 128", "usual 64", "segtf 64"]
    assert all(len(found) == 1 and found[0] > 0 for found in speeds.values())

    runs = figures["memory"]["runs"]
    assert [run["images"] for run in runs] == [20, 20, 30]
    assert all(len(run["after_epoch"]) == 4 and min(run["after_epoch"]) > 10**8 for run in runs)

    seconds = figures["epoch"]["seconds"]
    assert {side: len(found) for side, found in seconds.items()} == {
        "`segtf.train`": 2,
        "bare `fit`": 2,
    }
    assert figures["epoch"]["ratio"] > 0

    stages = figures["stages"]["32"]["stages"]
    assert list(stages) == list(STAGES)
    assert all(stages[name][0] > 10**8 for name in ("start", "scoring", "export"))
    whole = sum(seconds for _, seconds in stages.values())
    assert 1 < figures["stages"]["32"]["first_step"] < whole


def test_each_stage_has_the_samples_taken_while_it_lasted() -> None:
    memory = (5, 9, 7, 20, 8, 30, 6)
    samples = [Sample(second, peak, second > 3) for second, peak in enumerate(memory)]
    events = [Event("training", 0.5, 0), Event("first step", 0.6, 0), Event("validation", 1.5, 0)]
    events += [Event("training", 2.5, 0)]
    assert by_stage(samples, events, scored=4.5, exported=5.5) == {
        "start": (5, 1),
        "training": (20, 2),
        "validation": (7, 1),
        "scoring": (8, 1),
        "export": (30, 1),
        "pictures": (6, 0),
    }


@pytest.mark.parametrize("epochs", [4, 5, 7, 8, 33])
def test_growth_is_per_epoch(epochs: int) -> None:
    assert growth([300 + 2 * epoch for epoch in range(epochs)]) == 2


def test_growth_ignores_filling_buffers_and_batches_that_come_and_go() -> None:
    rising = [1660, 1809, 1830, 1865, 1871, 1883, 1872, 1884]
    memory = [*rising, *[1873, 1885] * 12]
    assert settled(memory) == (1873, 1873)
    assert growth(memory) == 0
    leaking = [own + 2 * epoch for epoch, own in enumerate(memory)]
    assert growth(leaking) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--only", "epoch,speed"], "speed"),
        (["--epochs", "1"], "--epochs"),
        (["--memory-epochs", "3"], "--memory-epochs"),
        (["--rounds", "0"], "--rounds"),
    ],
)
def test_settings_that_leave_nothing_to_measure_are_refused(
    flags: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--out", str(tmp_path), *flags]) == 2
    assert named in capsys.readouterr().err
