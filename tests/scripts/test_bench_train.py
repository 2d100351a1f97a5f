"""Every part of the training bench runs, and its table has both sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts import bench_memory
from scripts.bench_memory import Memory, memory_of
from scripts.bench_stages import STAGES, by_stage, stage_table
from scripts.bench_start import BUILD_DATA, DECODE, IMPORT, NETWORK, TRACE, Stopwatch
from scripts.bench_table import Table, met
from scripts.bench_train import BenchConfig, bench_train
from voc_builder.base.errors import UserError
from voc_builder.tree.voc import Dataset

TINY = {"arch": "unet_plain", "size": 32, "batch": 4, "epochs": 2, "repeats": 1, "starts": 1}
SMALL = {"input_size": 32, "image_size": 128, "input_photos": 4, "input_rounds": 1}
FEW = {"few": 20, "many": 40, "memory_size": 32, "network_size": 32, "memory_epochs": 4}


def measured(out: Path, only: str, **settings: object) -> tuple[str, dict[str, dict[str, object]]]:
    """Markdown and figures of one part at a tiny size."""
    config = {**TINY, **SMALL, **FEW, "start_size": 32, "input_seconds": 0.05, **settings}
    bench_train(BenchConfig(out=out, only=only, **config))  # type: ignore[arg-type]
    figures = json.loads((out / "bench_train.json").read_text(encoding="utf-8"))
    return (out / "bench_train.md").read_text(encoding="utf-8"), figures[only]


def test_a_table_is_markdown_with_its_figures_to_the_right() -> None:
    table = Table("Both", ("side", "s"), (("ours", "1"), ("usual", "2")), "Met.", {})
    lines = ["## Both", "", "| side | s |", "| --- | ---: |", "| ours | 1 |", "| usual | 2 |"]
    assert table.markdown() == "\n".join([*lines, "", "Met.", ""])


@pytest.mark.parametrize(("found", "least", "word"), [(4, False, "met"), (4, True, "missed")])
def test_a_limit_is_the_most_or_the_least(found: float, least: bool, word: str) -> None:
    assert met(found, 5, least=least) == word


def test_a_phase_within_another_takes_its_time_off_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("scripts.bench_start.time.time", lambda: now)

    def passing(seconds: float) -> None:
        nonlocal now
        now += seconds

    watch = Stopwatch(now)
    decode = watch.timed(lambda: passing(3), DECODE)

    def train() -> None:
        passing(2)
        decode()
        passing(4)

    passing(1)
    watch.timed(train, NETWORK)()
    watch.turn_to(TRACE)
    assert watch.seconds == {IMPORT: 1, NETWORK: 6, DECODE: 3}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"only": "epoch,speed"}, "no part 'speed', but start, input, memory, epoch, stages"),
        ({"epochs": 1}, "--epochs 1: must be at least 2"),
        ({"memory_epochs": 3}, "--memory-epochs 3: must be at least 4"),
    ],
)
def test_what_cannot_be_measured_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        bench_train(BenchConfig(**settings))  # type: ignore[arg-type]


@pytest.mark.slow
def test_epochs_of_both_sides_after_the_first(tmp_path: Path, images: Path) -> None:
    text, figures = measured(tmp_path, "epoch", data=images, epochs=3)
    assert "| `segtf.train`, everything on |" in text
    assert "| bare `fit` |" in text
    sides = figures["sides"]
    assert isinstance(sides, dict)
    assert [len(side["seconds"]) for side in sides.values()] == [2, 2]
    callbacks = sides["`segtf.train`, everything on"]["callbacks"][0]
    saving = {"Backup.on_epoch_end", "BestModel.on_epoch_end", "Overlays.on_epoch_end"}
    assert saving <= set(callbacks)
    assert sides["bare `fit`"]["callbacks"] == [{}, {}]


@pytest.mark.slow
def test_both_pipelines_deliver_samples_from_large_and_small_images(tmp_path: Path) -> None:
    text, figures = measured(tmp_path, "input")
    for side in (128, 64):
        assert f"| usual from {side} x {side} |" in text
        assert f"| segtf from {side} x {side} |" in text
    assert figures["gain"] > 0
    assert figures["growth"] > 0


@pytest.mark.slow
def test_the_start_is_told_apart_by_what_it_does(tmp_path: Path, images: Path) -> None:
    text, figures = measured(tmp_path, "start", data=images)
    assert "| phase | `segtf.train`, s | bare Keras, s |" in text
    ours, bare = (found[0] for found in figures["sides"].values())  # type: ignore[attr-defined]
    assert all(ours[phase] > 0 for phase in (IMPORT, BUILD_DATA, DECODE, NETWORK, TRACE))
    assert all(bare[phase] > 0 for phase in (IMPORT, NETWORK, TRACE))
    # TensorFlow alone takes more than a second to import, wherever that statement stands
    assert min(ours[IMPORT], bare[IMPORT]) > 1


def test_each_stage_has_what_was_seen_while_it_lasted() -> None:
    looks = [(0.0, 5), (1.0, 9), (2.0, 7), (3.0, 20), (4.0, 8)]
    turns = [(0.5, "training"), (1.5, "validation"), (2.5, "training"), (3.5, "scoring")]
    found = by_stage(looks, turns)
    assert found["start"] == (5, 1.0)
    assert found["training"] == (20, 2.0)
    assert found["validation"] == (7, 1.0)
    assert found["scoring"] == (8, 0.0)
    text = stage_table({64: found}).markdown()
    assert "(1.00 times)" in text and "| the whole command | 0.00 | 4 |" in text


@pytest.mark.slow
def test_every_stage_of_a_training_is_seen(tmp_path: Path, images: Path) -> None:
    _, figures = measured(tmp_path, "stages", data=images, stage_sizes=(32,))
    stages = figures["stages"]["32"]  # type: ignore[index]
    assert list(stages) == list(STAGES)
    assert all(stages[name][0] > 10**8 for name in ("start", "training", "export"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux tells memory by kind")
def test_memory_after_each_epoch_with_few_and_with_many_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[Memory]] = []

    def once(dataset: Dataset, settings: dict[str, Any], *, tiny: bool) -> list[Memory]:
        """A process that trains takes a while: the one with the network that is told of does."""
        if not trained:
            trained.append(memory_of(dataset, settings, tiny=tiny))
        return trained[0]

    monkeypatch.setattr(bench_memory, "memory_of", once)
    text, figures = measured(tmp_path, "memory")
    for count, cache in ((20, "disk"), (40, "disk"), (40, "memory")):
        assert f"| tiny network, {count} images, {cache} |" in text
    found = figures["after_each_epoch"]
    assert isinstance(found, dict)
    assert [len(after) for after in found.values()] == [4] * 4
    assert all(memory["RssAnon"] > 0 for after in found.values() for memory in after)
