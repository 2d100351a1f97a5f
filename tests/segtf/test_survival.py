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
from pathlib import Path

import h5py
import numpy as np
import pytest

from voc_builder.voc import Dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EPOCHS = 6  # of four steps
OF_TIME = {"seconds", "images_per_second", "data_wait"}
SMALL = """
from voc_builder.tfrecord import import_tensorflow
import_tensorflow()
from segtf import model, train
from tests.segtf.small_unet import small_unet
model._unet_plain = small_unet
"""
COMMAND = f"{SMALL}raise SystemExit(train.main())"

# A training of a few seconds that kills itself with SIGKILL at a given moment of this start, most
# often in its second epoch, so that each start goes on from another's backup.
CHILD = f"""{SMALL}
import os, signal, sys, threading
from pathlib import Path
import keras
from segtf import backup, callbacks
from segtf.config import TrainConfig

data, artifacts, moment, resume = sys.argv[1:]
train.finish = lambda folder: None  # scores and export are others' business

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def until(number, usual, last):  # the call of this number is another one
    left = iter([usual] * (number - 1))
    return lambda *a, **k: next(left, last)(*a, **k)

if moment == "best":  # half the best network is written
    keras.Model.save = lambda self, path: die(Path(path).write_bytes(b"half"))
elif moment == "step":  # in the middle of an epoch
    callbacks.Pace.on_train_batch_end = until(6, callbacks.Pace.on_train_batch_end, die)
elif moment == "weights":  # half a checkpoint is written
    save = keras.Model.save_weights
    def save_half(self, path):
        save(self, path)
        with open(path, "r+b") as file:
            file.truncate(file.seek(0, 2) // 2)
        die()
    keras.Model.save_weights = until(2, save, save_half)
elif moment == "state":  # the weights are there, the state that names them is not
    write = Path.write_text
    write_state = until(2, write, die)
    def write_text(self, *a, **k):
        return (write_state if self.parent.name == "backup" else write)(self, *a, **k)
    Path.write_text = write_text
elif moment == "logged":  # the log has the epoch, the backup has not
    backup.BestModel.on_epoch_end = until(2, backup.BestModel.on_epoch_end, die)
elif moment.startswith("after"):  # any moment
    seconds = float(moment.removeprefix("after"))
    callbacks.Pace.on_train_begin = lambda self, logs=None: threading.Timer(seconds, die).start()

train.train(TrainConfig(
    data=Path(data), artifacts=Path(artifacts), run="run", resume=resume == "resume",
    arch="unet_plain", size=32, batch=4, epochs={EPOCHS}, patience=0, deterministic=True,
    mosaic=0.3, backup_share=1,
))
"""


def start(dataset: Dataset, artifacts: Path, moment: str) -> int:
    """The exit code of one start of the run."""
    resume = "resume" if (artifacts / "runs/run/config.yaml").is_file() else "begin"
    command = [sys.executable, "-c", CHILD, str(dataset.path), str(artifacts), moment, resume]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode


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
def undisturbed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    artifacts = tmp_path_factory.mktemp("undisturbed")
    assert start(dataset, artifacts, "never") == 0
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
    dataset: Dataset, undisturbed: Path, tmp_path: Path
) -> None:
    assert start(dataset, tmp_path, "never") == 0
    require_equal(tmp_path, undisturbed)


def test_a_run_killed_again_and_again_ends_as_one_that_was_left_alone(
    dataset: Dataset, undisturbed: Path, tmp_path: Path
) -> None:
    saved = {"best": 0, "weights": 1, "step": 2, "logged": 3, "state": 4}
    for kill, epochs in saved.items():
        assert start(dataset, tmp_path, kill) == -signal.SIGKILL, kill
        assert saved_epochs(tmp_path) == epochs, kill
    start(dataset, tmp_path, f"after{random.random() * 2:.2f}")
    assert start(dataset, tmp_path, "never") == 0
    require_equal(tmp_path, undisturbed)
    left = [path.name for path in (tmp_path / "runs/run/backup").iterdir()]
    assert sorted(left) == [f"epoch-{EPOCHS:04d}-00000.weights.h5", "state.json"]
    assert not list((tmp_path / "runs/run").rglob(".*.part*"))


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_saves_in_mid_epoch_and_says_how_to_go_on(
    dataset: Dataset, tmp_path: Path, kind: signal.Signals
) -> None:
    command = [sys.executable, "-c", COMMAND, "--data", str(dataset.path), "--size", "32"]
    command += ["--arch", "unet_plain", "--batch", "1", "--epochs", "200", "--run", "run"]
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
