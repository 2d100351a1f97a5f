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

pytestmark = pytest.mark.slow

VARIATIONS = {"default": {}, "mosaic": {"mosaic": 0.5}, "unbalanced": {"balance": False}}
FLAGS = "--size 128 --epochs 4 --encoder-weights none"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The flags of each training that was started; a stand-in leaves a run folder in no time."""
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
            decided = {"size": size, "batch": 8, "learning_rate": 3e-4, "shards": 1}
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


def ablate(variations: Path, *flags: str, data: str = "tree", common: str = FLAGS) -> int:
    """The exit code."""
    artifacts = str(variations.parent / "artifacts")
    argv = [str(variations), "--data", data, "--flags", common, "--artifacts", artifacts, *flags]
    return run(ablation.ablation, ablation.AblationConfig, "ablation", argv)


def test_every_variation_is_trained_with_every_seed_but_not_twice(
    variations: Path, trained: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate(variations, "--seeds", "1,2") == 0
    started = [command.split(" --artifacts")[0] for command in trained]
    assert started == [f"--run {name}-seed{seed}" for seed in (1, 2) for name in VARIATIONS]
    common = f"--data tree --seed 1 --no-export {FLAGS}"
    assert trained[0].endswith(common)
    assert trained[1].endswith(f"{common} --mosaic 0.5")
    assert trained[2].endswith(f"{common} --no-balance")
    assert "± 0.0000" in capsys.readouterr().out
    trained.clear()
    here = str(Path("tree").resolve())
    assert ablate(variations, "--seeds", "1,2,3", "--only", "default", data=here) == 0
    assert [command.split()[1] for command in trained] == ["default-seed3"]


@pytest.mark.parametrize(
    ("data", "common", "flag"),
    [
        ("other", FLAGS, "--data tree, not other"),
        ("tree", "--size 64 --epochs 4 --encoder-weights none", "--size 128, not 64"),
        ("tree", "--size auto --epochs 4 --encoder-weights none", "--size 128, not auto"),
        ("tree", f"{FLAGS} --batch 4", "--batch 8, not 4"),
        ("tree", f"{FLAGS} --crop 128", "--crop None, not 128"),
        ("tree", "--size 128", "--encoder-weights none, not auto, --epochs 4, not 60"),
    ],
)
def test_runs_with_other_flags_are_refused_before_anything_is_trained(
    data: str,
    common: str,
    flag: str,
    variations: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ablate(variations, "--seeds", "1") == 0
    trained.clear()
    capsys.readouterr()
    assert ablate(variations, "--seeds", "1,2", data=data, common=common) == 2
    error = capsys.readouterr().err
    assert "default-seed1" in error and flag in error
    assert error.count("\n") == 1
    assert trained == []


@pytest.mark.parametrize("settings", [{"mosaic": 0.25}, {}])
def test_a_variation_that_has_changed_is_not_taken_from_an_older_run(
    settings: dict[str, Any],
    variations: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert ablate(variations, "--seeds", "1") == 0
    variations.write_text(yaml.safe_dump({**VARIATIONS, "mosaic": settings}), encoding="utf-8")
    trained.clear()
    assert ablate(variations, "--seeds", "1") == 2
    error = capsys.readouterr().err
    assert f"--mosaic 0.5, not {settings.get('mosaic', 0.0)}" in error
    assert trained == []


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize("common", ["--size auto", "--size auto --crop 64", "--crop 64"])
def test_decisions_of_training_are_no_difference(common: str, variations: Path) -> None:
    for _ in range(2):
        assert ablate(variations, "--seeds", "1", common=f"{common} --encoder-weights none") == 0


def test_a_run_without_its_last_score_is_resumed(variations: Path, trained: list[str]) -> None:
    assert ablate(variations, "--seeds", "1") == 0
    folder = variations.parent / "artifacts/runs/mosaic-seed1"
    (folder / "metrics_test.json").unlink()
    trained.clear()
    assert ablate(variations, "--seeds", "1") == 0
    artifacts = folder.parent.parent
    assert trained == [f"--run mosaic-seed1 --artifacts {artifacts} --resume"]


@pytest.mark.parametrize(
    ("text", "flags", "named"),
    [
        ("a: [1", [], "YAML"),
        ("a: 1", [], "mosaic: {mosaic: 0.5}"),
        ("a: {}", ["--only", "b,a"], "--only b,a"),
        ("a: {}\nb: {loss: some}", [], "b-seed1"),
    ],
)
def test_a_file_without_variations_gets_one_line_before_anything_is_trained(
    text: str,
    flags: list[str],
    named: str,
    variations: Path,
    trained: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    variations.write_text(text, encoding="utf-8")
    assert ablate(variations, *flags) == 2
    error = capsys.readouterr().err
    assert named in error and error.count("\n") == 1
    assert trained == []


def test_every_shipped_variation_trains_something_else() -> None:
    shipped = Path(ablation.__file__).with_suffix(".yaml")
    rows = ablation.read_variations(ablation.AblationConfig(shipped))
    trainings = {name: repr(replace(TrainConfig(), **settings)) for name, settings in rows.items()}
    assert trainings["default"] == repr(TrainConfig())
    assert len(set(trainings.values())) == len(rows)


def test_a_training_that_fails_ends_it_with_the_last_line_of_stderr(
    variations: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = SimpleNamespace(returncode=2, stderr="epoch 1\nerror: out of memory\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert ablate(variations) == 2
    assert "default-seed1: not trained: error: out of memory\n" in capsys.readouterr().err
