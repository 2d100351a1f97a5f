"""Processes that train together end as one would have; a lost one does not hang the others."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from segtf.training import cluster
from tests.segtf.training.processes import config, free_port, wait_for
from voc_builder.base.errors import UserError
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

# A small training on JAX, of a small network, without the scores and the export at its end.
CHILD = """
from segtf import train
from segtf.run.config import TrainConfig
from voc_builder.base.command import run
train.hand_over = lambda folder: 0
raise SystemExit(run(train._command, TrainConfig, "python -m segtf.train"))
"""
USUAL = ["--backend", "jax", "--arch", "tiny", "--size", "32", "--batch", "4"]
# a small rate: normalisation over small batches makes much of every rounding
USUAL += ["--shards", "2", "--optimizer", "sgd", "--learning-rate", "0.001", "--warm-up", "0"]
USUAL += ["--run", "run", "--augment", "light"]


def begin(environment: dict[str, str], artifacts: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, "--artifacts", str(artifacts), *more],
        cwd=Path(__file__).parents[3],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def begin_two(
    environment: dict[str, str], artifacts: Path, *more: str
) -> list[subprocess.Popen[str]]:
    flags = [*more, "--processes", "2", "--coordinator", f"localhost:{free_port()}"]
    return [begin(environment, artifacts, *flags, "--process-id", str(i)) for i in range(2)]


def weights(artifacts: Path) -> dict[str, np.ndarray]:
    """The network's weights in the last backup by their path in the file."""
    folder = artifacts / "runs/run/backup"
    found: dict[str, np.ndarray] = {}

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and "optimizer" not in path:
            found[path] = item[()]

    with h5py.File(folder / json.loads((folder / "state.json").read_text())["weights"]) as file:
        file.visititems(visit)
    return found


def test_two_processes_train_to_the_weights_of_one(
    dataset: Dataset, jax_environment: dict[str, str], tmp_path: Path
) -> None:
    data = ["--data", str(dataset.path), *USUAL]
    one = begin(jax_environment, tmp_path / "one", *data, "--epochs", "2")
    _, said_by_one = one.communicate(timeout=300)
    assert one.returncode == 0, said_by_one
    both = begin_two(jax_environment, tmp_path / "two", *data, "--epochs", "2")
    said = [process.communicate(timeout=300)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    alone, together = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert alone.keys() == together.keys()
    for path, value in alone.items():
        np.testing.assert_allclose(together[path], value, rtol=1e-5, atol=1e-5, err_msg=path)
    means = [value for path, value in alone.items() if "batch" in path and path.endswith("vars/2")]
    assert min(np.abs(mean).max() for mean in means) > 1e-3, "zero before training"
    betas = [value for path, value in alone.items() if "batch" in path and path.endswith("vars/1")]
    assert min(np.abs(beta).max() for beta in betas) > 1e-4, "learned, by more than is let pass"


@pytest.mark.nightly
def test_a_run_that_loses_a_process_is_resumed_by_one(
    dataset: Dataset, jax_environment: dict[str, str], tmp_path: Path
) -> None:
    long = ["--data", str(dataset.path), *USUAL, "--epochs", "1000", "--patience", "0"]
    many = begin_two(jax_environment, tmp_path / "lost", *long)
    state = tmp_path / "lost/runs/run/backup/state.json"
    wait_for(state.is_file, 240)
    many[1].send_signal(signal.SIGKILL)
    _, said_by_first = many[0].communicate(timeout=60)
    assert many[0].returncode == cluster.LOST, said_by_first
    assert "process 1 of 2" in said_by_first
    assert "--run run --resume" in said_by_first
    left = list((tmp_path / "lost").glob(".cache-*"))
    assert len(left) <= 1, "of the killed process"

    # one machine goes on with what was begun on two
    before = json.loads(state.read_text())["epochs"]
    rest = begin(jax_environment, tmp_path / "lost", "--run", "run", "--resume")
    wait_for(lambda: json.loads(state.read_text())["epochs"] > before, 240)
    rest.send_signal(signal.SIGTERM)
    assert rest.wait(60) == 143


class Lost(Exception):
    """Stands for the end of the process in these tests."""


def watches(
    monkeypatch: pytest.MonkeyPatch, processes: int, late: float = 0
) -> tuple[list[cluster.Watch], list[str], list[int]]:
    """Watches of processes that are threads here, what each says when it gives up, and how often
    the first was asked to stop. The last one comes `late` seconds after the others.
    """
    said: list[str] = []
    asked: list[int] = []

    def give_up(self: cluster.Watch, process: int, why: str) -> None:
        self.leaving.set()
        said.append(cluster.lost_message(self.config, process, why))

    monkeypatch.setattr(cluster.Watch, "_give_up", give_up)
    port = free_port()
    found = [
        cluster.Watch(config(i, port, processes), bool, lambda: asked.append(1))
        for i in range(processes)
    ]
    threads = [threading.Thread(target=watch.begin) for watch in found]
    for thread in threads[:-1]:
        thread.start()
    time.sleep(late)
    threads[-1].start()
    for thread in threads:
        thread.join(20)
    assert [len(watch.peers) for watch in found] == [processes - 1] + [1] * (processes - 1)
    return found, said, asked


def test_processes_that_say_goodbye_are_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said, _ = watches(monkeypatch, 3)
    for watch in found:
        watch.end()
    time.sleep(0.3)
    assert said == []


def test_a_process_that_ends_without_a_word_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found, said, _ = watches(monkeypatch, 3)
    found[2].abandon()
    wait_for(lambda: said, 10)
    assert "process 2 of 3 has ended" in said[0]
    for watch in found[:2]:
        watch.end()


def test_those_that_have_come_wait_for_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "SILENCE", 0.5)
    monkeypatch.setattr(cluster, "BEAT", 0.05)
    found, said, _ = watches(monkeypatch, 3, late=1.5)
    assert said == []
    for watch in found:
        watch.end()


def test_a_process_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "SILENCE", 3)  # a busy machine answers late
    monkeypatch.setattr(cluster.Watch, "_speak", lambda self: None)
    found, said, _ = watches(monkeypatch, 2)
    wait_for(lambda: len(said) == 2, 30)
    assert all("was silent for 3 s" in line for line in said)
    assert {watch.config.process_id for watch in found} == {0, 1}


def test_processes_that_do_not_come_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "FINDING", 0.5)
    with pytest.raises(UserError, match=r"process 1 did not start"):
        cluster.Watch(config(0, free_port()), bool, bool).begin()
    with pytest.raises(UserError, match=r"no answer at localhost:.*start --process-id 0 there"):
        cluster.Watch(config(1, free_port()), bool, bool).begin()


@pytest.mark.parametrize("offset", [0, 1])
def test_a_port_that_is_taken_is_named(offset: int) -> None:
    port = free_port()
    taken = rf"--coordinator localhost:{port}: port {port + offset} cannot be opened \(Address"
    with socket.create_server(("", port + offset)), pytest.raises(UserError, match=taken):
        cluster.Watch(config(0, port), bool, bool).begin()


def test_who_only_looks_whether_the_port_is_open_is_taken_for_no_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster, "FINDING", 5)
    port = free_port()
    first, second = (cluster.Watch(config(i, port), bool, bool) for i in range(2))
    thread = threading.Thread(target=first.begin)
    thread.start()
    for _ in range(50):
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", port + 1)).close()
            break
        time.sleep(0.1)
    rude = socket.create_connection(("localhost", port + 1))
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    rude.close()  # a reset instead of an end
    second.begin()
    thread.join(10)
    assert [len(watch.peers) for watch in (first, second)] == [1, 1]
    assert first.peers[0].getpeername() == second.peers[0].getsockname()
    for watch in (second, first):
        watch.end()


def test_a_process_that_is_told_to_end_asks_the_first_which_saves_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, said, asked = watches(monkeypatch, 2)
    told: list[int] = []
    first, second = (watch.forwarding(lambda: bool(told)) for watch in found)
    assert not first()
    assert not second()
    told.append(1)
    assert first(), "the first stops after its step"
    assert not second(), "the second goes on until the first has left"
    wait_for(lambda: asked, 10)
    for watch in found:
        watch.end()
    assert said == []
