"""A run that is killed, stopped or out of space goes on as if nothing had happened."""

from __future__ import annotations

import csv
import io
import json
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.segtf.killed_run import EPOCHS
from tests.segtf.warm import Warm, warm
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
OF_TIME = {"seconds", "images_per_second", "data_wait"}


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with warm("tests.segtf.killed_run", tmp_path_factory.mktemp("starter") / "stderr") as process:
        yield process


def start(starter: Warm, dataset: Dataset, artifacts: Path, moment: str) -> int:
    """The exit code of one start of the run."""
    resume = "resume" if (artifacts / "runs/run/config.yaml").is_file() else "begin"
    code, said = starter.run(str(dataset.path), str(artifacts), moment, resume)
    assert code in (0, -signal.SIGKILL), said
    return code


def log(artifacts: Path) -> list[dict[str, str]]:
    with (artifacts / "runs/run/log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if name not in OF_TIME} for row in rows]


def saved_epochs(artifacts: Path) -> int:
    state = artifacts / "runs/run/backup/state.json"
    return int(json.loads(state.read_text())["epochs"]) if state.is_file() else 0


def weights(artifacts: Path) -> dict[str, np.ndarray]:
    """Everything in the last backup, weights and optimiser, by its path in the file."""
    folder = artifacts / "runs/run/backup"
    return arrays(folder / json.loads((folder / "state.json").read_text())["weights"])


def best(artifacts: Path) -> dict[str, np.ndarray]:
    """The weights of the best network by their path in the file."""
    with zipfile.ZipFile(artifacts / "runs/run/best.keras") as parts:
        return arrays(io.BytesIO(parts.read("model.weights.h5")))


def arrays(source: Path | io.BytesIO) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    with h5py.File(source) as file:
        file.visititems(
            lambda path, item: (
                found.update({path: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


@pytest.fixture(scope="module")
def undisturbed(starter: Warm, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    artifacts = tmp_path_factory.mktemp("undisturbed")
    assert start(starter, dataset, artifacts, "never") == 0
    assert len(log(artifacts)) == EPOCHS
    return artifacts


def require_equal(artifacts: Path, undisturbed: Path) -> None:
    assert log(artifacts) == log(undisturbed)
    for kept in (weights, best):
        found, wanted = kept(artifacts), kept(undisturbed)
        assert found.keys() == wanted.keys() != set()
        for path, value in wanted.items():
            np.testing.assert_array_equal(found[path], value, err_msg=path)


def test_two_runs_of_one_deterministic_command_are_equal(
    starter: Warm, dataset: Dataset, undisturbed: Path, tmp_path: Path
) -> None:
    assert start(starter, dataset, tmp_path, "never") == 0
    require_equal(tmp_path, undisturbed)


def test_a_run_killed_again_and_again_ends_as_one_that_was_left_alone(
    starter: Warm, dataset: Dataset, undisturbed: Path, tmp_path: Path
) -> None:
    saved = {"best": 0, "weights": 1, "step": 2, "logged": 3, "state": 4}
    for kill, epochs in saved.items():
        assert start(starter, dataset, tmp_path, kill) == -signal.SIGKILL, kill
        assert saved_epochs(tmp_path) == epochs, kill
    start(starter, dataset, tmp_path, f"after{random.random() * 2:.2f}")
    assert start(starter, dataset, tmp_path, "never") == 0
    require_equal(tmp_path, undisturbed)
    left = [path.name for path in (tmp_path / "runs/run/backup").iterdir()]
    assert sorted(left) == [f"epoch-{EPOCHS:04d}-00000.weights.h5", "state.json"]
    assert not list((tmp_path / "runs/run").rglob(".*.part*"))


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_saves_in_mid_epoch_and_says_how_to_go_on(
    dataset: Dataset, tmp_path: Path, kind: signal.Signals
) -> None:
    command = [sys.executable, "-m", "segtf.train", "--data", str(dataset.path), "--size", "32"]
    command += ["--arch", "tiny", "--batch", "1", "--epochs", "200", "--run", "run"]
    command += ["--artifacts", str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    state = tmp_path / "runs/run/backup/state.json"
    for _ in range(1200):
        if state.is_file():
            break
        time.sleep(0.1)
    process.send_signal(kind)
    _, said = process.communicate(timeout=60)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[kind], said
    assert "Traceback" not in said
    assert f"--run run --artifacts {tmp_path} --resume" in said
    saved = json.loads(state.read_text())
    assert (state.parent / saved["weights"]).is_file()
    assert saved["epochs"] >= 1
