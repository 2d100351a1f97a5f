"""Which variations are trained, which are taken as they are, and which are refused."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from scripts import ablation
from segtf.reports import draw_comparison
from segtf.run.config import TrainConfig
from segtf.run.folder import write_config
from tests.segtf.reports.run_folders import write_run
from voc_builder.base.command import parse, run

VARIATIONS = {"default": {}, "mosaic": {"mosaic": 0.5}, "unbalanced": {"balance": False}}
FLAGS = "--size 128 --epochs 4 --encoder-weights none"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What training was started with, after its module; it leaves a run folder in no time."""
    commands: list[str] = []

    def train(command: list[str], **_: Any) -> Any:
        assert command[1:3] == ["-m", "segtf.train"]
        commands.append(" ".join(command[3:]))
        config = parse(TrainConfig, "train", command[3:])
        if config.resume:
            (config.run_folder / "metrics_test.json").write_bytes(
                (config.run_folder / "metrics_val.json").read_bytes()
            )
        else:
            write_run(config.run_folder, 0.8)
            chosen = {"chosen_by": "auto" if config.size == "auto" else "user", "paragraph": ""}
            sizing = {**chosen, "bounds": {"span": 8}, "survey": {"objects": []}}
            (config.run_folder / "sizing.json").write_text(json.dumps(sizing))
            size = (config.crop or 256) if config.size == "auto" else config.size
            decided = {"size": size, "batch": 8, "learning_rate": 3e-4, "shares": 1}
            write_config(replace(config, **decided), config.run_folder)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", train)
    monkeypatch.setattr(draw_comparison, "draw_comparison", lambda *_: None)
    return commands


@pytest.fixture
def variations(tmp_path: Path) -> Path:
    path = tmp_path / "variations.yaml"
    path.write_text(yaml.safe_dump(VARIATIONS, sort_keys=False))
    return path


def called(variations: Path, *flags: str, data: str = "tree", common: str = FLAGS) -> int:
    """The exit code of the command."""
    artifacts = str(variations.parent / "artifacts")
    argv = [str(variations), "--data", data, "--flags", common, "--artifacts", artifacts, *flags]
    return run(ablation.ablation, ablation.AblationConfig, "ablation", argv)


def test_every_variation_is_trained_with_every_seed_and_a_second_call_trains_nothing(
    variations: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(variations, "--seeds", "1,2") == 0
    started = [command.split(" --artifacts")[0] for command in trained]
    assert started == [f"--run {name}-seed{seed}" for seed in (1, 2) for name in VARIATIONS]
    common = f"--data tree --seed 1 --no-export {FLAGS}"
    assert trained[0].endswith(common)
    assert trained[1].endswith(f"{common} --mosaic 0.5")
    assert trained[2].endswith(f"{common} --no-balance")
    assert "± 0.0000" in capsys.readouterr().out
    trained.clear()
    here = str(Path("tree").resolve())
    assert called(variations, "--seeds", "1,2,3", "--only", "default", data=here) == 0
    assert [command.split()[1] for command in trained] == ["default-seed3"]


@pytest.mark.parametrize(
    ("data", "common", "says"),
    [
        ("other", FLAGS, "--data tree, not other (and 2 more): choose"),
        ("tree", "--size 64 --epochs 4 --encoder-weights none", "--size 128, not 64 (and"),
        ("tree", "--size auto --epochs 4 --encoder-weights none", "--size 128, not auto (and"),
        ("tree", f"{FLAGS} --batch 4", "--batch 8, not 4 (and"),
        ("tree", f"{FLAGS} --crop 128", "--crop None, not 128 (and"),
        ("tree", "--size 128", "--encoder-weights none, not auto, --epochs 4, not 60 (and"),
    ],
)
def test_runs_of_other_flags_are_not_taken_for_those_that_are_asked_for(
    data: str,
    common: str,
    says: str,
    variations: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert called(variations, "--seeds", "1") == 0
    trained.clear()
    capsys.readouterr()
    assert called(variations, "--seeds", "1,2", data=data, common=common) == 2
    error = capsys.readouterr().err
    assert f"default-seed1: was trained otherwise: {says}" in error
    assert error.endswith(": choose another --artifacts\n") and error.count("\n") == 1
    assert trained == []


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"mosaic": 0.25}, "--mosaic 0.5, not 0.25:"), ({}, "--mosaic 0.5, not 0.0:")],
)
def test_a_variation_that_has_changed_is_not_taken_from_an_older_run(
    settings: dict[str, Any],
    says: str,
    variations: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert called(variations, "--seeds", "1") == 0
    variations.write_text(yaml.safe_dump({**VARIATIONS, "mosaic": settings}), encoding="utf-8")
    trained.clear()
    capsys.readouterr()
    assert called(variations, "--seeds", "1") == 2
    assert f"mosaic-seed1: was trained otherwise: {says}" in capsys.readouterr().err
    assert trained == []


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("common", ["--size auto", "--size auto --crop 64", "--crop 64"])
def test_what_training_decided_is_no_difference(common: str, variations: Path) -> None:
    for _ in range(2):
        assert called(variations, "--seeds", "1", common=f"{common} --encoder-weights none") == 0


def test_a_run_that_was_killed_before_its_last_score_goes_on(
    variations: Path, trained: list[str]
) -> None:
    assert called(variations, "--seeds", "1") == 0
    folder = variations.parent / "artifacts/runs/mosaic-seed1"
    (folder / "metrics_test.json").unlink()
    trained.clear()
    assert called(variations, "--seeds", "1") == 0
    artifacts = folder.parent.parent
    assert trained == [f"--run mosaic-seed1 --artifacts {artifacts} --resume"]


@pytest.mark.parametrize(
    ("text", "flags", "says"),
    [
        ("a: [1", [], "cannot be read as YAML"),
        ("a: 1", [], "must be names with settings, such as 'mosaic: {mosaic: 0.5}'"),
        ("a: {}", ["--only", "b,a"], "has no b, but a"),
        ("a: {}\nb: {loss: some}", [], "b-seed1: "),
    ],
)
def test_a_file_that_is_not_of_variations_gets_one_line_before_anything_is_trained(
    text: str,
    flags: list[str],
    says: str,
    variations: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    variations.write_text(text, encoding="utf-8")
    assert called(variations, *flags) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert trained == []


def test_every_variation_that_is_shipped_trains_something_else() -> None:
    shipped = Path(ablation.__file__).with_suffix(".yaml")
    rows = ablation.read_variations(ablation.AblationConfig(shipped))
    trainings = {name: repr(replace(TrainConfig(), **settings)) for name, settings in rows.items()}
    assert trainings["default"] == repr(TrainConfig())
    assert len(set(trainings.values())) == len(rows)


def test_a_training_that_fails_ends_it_with_what_training_said_last(
    variations: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = SimpleNamespace(returncode=2, stderr="epoch 1\nerror: out of memory\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert called(variations) == 2
    error = capsys.readouterr().err
    assert error.endswith("default-seed1: not trained: error: out of memory\n")
