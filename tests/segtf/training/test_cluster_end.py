"""Processes that train together end together: told to, lost, or with only the scores left to do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from segtf import train
from segtf.run.config import TrainConfig
from segtf.run.folder import BACKUP, write_config
from segtf.training import cluster
from tests.segtf.training.processes import config, free_port, wait_for
from voc_builder.base.errors import UserError
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

# A training that waits after its second step until it is told to end.
STEPS = """
import time
from segtf import train
trained = train._train

def slowly(*more):
    *more, stop, asked = more
    steps = []
    def ask():
        steps.append(1)
        if len(steps) == 2:
            print("second step", flush=True)
            while not stop():
                time.sleep(0.01)
        return asked()
    return trained(*more, stop, ask)

train._train = slowly
raise SystemExit(train.main())
"""
# Processes that do nothing but wait for each other, again and again.
BARRIERS = """
from segtf.training.cluster import barrier, joined
from segtf.run.config import TrainConfig
from segtf.run.folder import BACKUP, write_config
from voc_builder.base.command import parse
config = parse(TrainConfig, "barriers")
with joined(config, bool, bool):
    for number in range(1000000):
        barrier(config, str(number))
        if number == 1:
            print("second step", flush=True)
"""


def begin_two(
    environment: dict[str, str], program: str, *flags: str
) -> list[subprocess.Popen[str]]:
    """Both processes of a program, when they have said that they are at their second step."""
    together = ["--backend", "jax", "--processes", "2", "--coordinator", f"localhost:{free_port()}"]
    together += ["--run", "run", "--batch", "2", *flags]
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, *together, "--process-id", str(i)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for process in both:
        assert process.stdout is not None
        if not any("second step" in line for line in process.stdout):
            raise AssertionError(process.communicate()[1])
    return both


def lines_of_ours(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("python -m segtf.train: ")]


def test_two_processes_that_are_told_to_end_save_the_step_and_say_so(
    dataset: Dataset, jax_environment: dict[str, str], tmp_path: Path
) -> None:
    both = begin_two(
        *(jax_environment, STEPS),
        *("--data", str(dataset.path), "--artifacts", str(tmp_path), "--size", "32"),
        *("--arch", "tiny"),
    )
    for process in both:
        process.send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=100)[1] for process in both]
    # where JAX is left to wait for others at exit, it does so for a minute and then aborts
    assert [process.returncode for process in both] == [143, 143], "\n".join(said)
    assert "stopped; go on with: python -m segtf.train --run run" in said[0]
    assert lines_of_ours(said[0]) == ["python -m segtf.train: terminated"]
    (line,) = lines_of_ours(said[1])
    assert line.startswith("python -m segtf.train: terminated: process 0 of 2 was told to end")
    assert "--run run --resume" in line
    assert not any("fatal" in text or "Traceback" in text for text in said), "\n".join(said)
    backup = tmp_path / "runs/run/backup"
    state = json.loads((backup / "state.json").read_text())
    assert (state["epochs"], state["step"]) == (0, 2)
    assert (backup / state["weights"]).is_file()
    assert not list(tmp_path.glob(".cache-*"))


def test_the_loss_of_the_first_process_ends_the_second(jax_environment: dict[str, str]) -> None:
    first, second = begin_two(jax_environment, BARRIERS)
    first.send_signal(signal.SIGKILL)
    _, said = second.communicate(timeout=60)
    assert second.returncode == cluster.LOST, said
    (line,) = lines_of_ours(said)
    assert line.startswith("python -m segtf.train: error: process 0 of 2 has ended")
    first.communicate()


@pytest.fixture
def codes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The codes with which processes, which are threads here, have ended."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    monkeypatch.setattr(cluster, "BEAT", 0.1)
    return ended


def begin_watches(processes: int) -> list[cluster.Watch]:
    port = free_port()
    found = [cluster.Watch(config(i, port, processes), bool, bool) for i in range(processes)]
    threads = [threading.Thread(target=watch.begin) for watch in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert [len(watch.peers) for watch in found] == [processes - 1] + [1] * (processes - 1)
    return found


@pytest.mark.parametrize("told", [0, 1])
def test_all_end_as_the_one_that_was_told_to(
    told: int, codes: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    watches = begin_watches(3)
    watches[told].stop()
    wait_for(lambda: len(codes) >= 2)
    time.sleep(1)
    assert codes == [cluster.TOLD] * 2, "and nobody takes another for lost"
    said = capfd.readouterr().err
    assert said.count(" of 3 was told to end: ") == 2


def test_who_is_told_to_end_tidies_up_before_the_others_leave(codes: list[int]) -> None:
    first, second = begin_watches(2)
    done: list[str] = []
    first.cleanup = lambda: done.append("tidied up")
    second.cleanup = lambda: done.append("left")
    first.stop()
    wait_for(lambda: codes)
    assert done == ["tidied up", "left"]


def fake_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = SimpleNamespace(initialize=lambda *given, **more: None, shutdown=lambda: None)
    fake = SimpleNamespace(distributed=distributed, config=SimpleNamespace(update=lambda *_: None))
    monkeypatch.setitem(sys.modules, "jax", fake)


def test_who_is_told_to_end_while_it_waits_tells_those_that_have_come(
    monkeypatch: pytest.MonkeyPatch, codes: list[int]
) -> None:
    fake_jax(monkeypatch)
    port = free_port()
    come = cluster.Watch(config(1, port, 3), bool, bool)
    who = cluster._who

    def notice(peer: socket.socket) -> int:
        main = threading.main_thread().ident
        threading.Timer(0.5, signal.pthread_kill, (main, signal.SIGINT)).start()
        return who(peer)

    monkeypatch.setattr(cluster, "_who", notice)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells have it ignored
    try:
        threading.Thread(target=come.begin).start()
        with pytest.raises(KeyboardInterrupt), cluster.joined(config(0, port, 3), bool, bool):
            raise AssertionError("process 2 did not come")
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(lambda: codes)
    assert codes == [cluster.TOLD]


def test_a_sum_that_fails_for_a_lost_process_is_not_what_is_told(
    monkeypatch: pytest.MonkeyPatch, codes: list[int], capfd: pytest.CaptureFixture[str]
) -> None:
    fake_jax(monkeypatch)
    port = free_port()
    first = cluster.Watch(config(0, port), bool, bool)
    beginning = threading.Thread(target=first.begin)
    beginning.start()
    with (
        pytest.raises(ValueError, match="Gloo AllReduce failed"),  # the thread does not end here
        cluster.joined(config(1, port), bool, bool),
    ):
        beginning.join(20)
        threading.Timer(0.3, first.abandon).start()
        raise ValueError("Gloo AllReduce failed")
    assert codes == [cluster.LOST]
    assert "error: process 0 of 2 has ended" in capfd.readouterr().err


def test_processes_that_do_not_come_may_come_at_another_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(config: TrainConfig, *, command: str | None = None) -> None:
        with cluster.joined(config, bool, bool):
            raise AssertionError

    monkeypatch.setattr(cluster, "FINDING", 0.3)
    monkeypatch.setattr(train, "train_network", nobody)
    flags = ["--processes", "2", "--coordinator", f"localhost:{free_port()}", "--backend", "jax"]
    monkeypatch.setattr(sys, "argv", ["train", *flags, "--batch", "2", "--run", "run"])
    assert train.main() == cluster.LOST == 75
    assert "process 1 did not start" in capsys.readouterr().err


def test_no_process_of_several_begins_with_random_weights_where_others_may_find_trained_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from segtf.training import prepare

    def load_encoder_weights(*given: object, **more: object) -> str:
        raise UserError("offline")

    monkeypatch.setattr(prepare, "load_encoder_weights", load_encoder_weights)
    with pytest.raises(UserError, match=r"offline.* --encoder-weights FILE"):
        prepare._fill(None, config(1, 29400), ())
    assert not prepare._fill(None, TrainConfig(), ()), "one alone may"


@pytest.mark.parametrize("state", [{"epochs": 3, "stopped": False}, {"epochs": 2, "stopped": True}])
def test_a_run_that_has_only_its_scores_left_to_do_waits_for_no_other_process(
    state: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = resume(tmp_path, json.dumps(state), monkeypatch)
    assert finished == [0], "by the first process"


@pytest.mark.parametrize("state", ['{"epochs": 2, "stopped": false}', '{"epochs"', "[]"])
def test_a_run_that_trains_on_waits_for_all_processes(
    state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(cluster.Absent):
        resume(tmp_path, state, monkeypatch)


def resume(artifacts: Path, state: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that finish a run of three epochs with this backup; nobody trains."""
    finished: list[int] = []
    monkeypatch.setattr(train, "_use_backend", lambda config: None)
    monkeypatch.setattr(train, "_finish", lambda config: finished.append(config.process_id))
    monkeypatch.setattr(train, "joined", absent)
    begun = replace(config(0, 29400), artifacts=artifacts, epochs=3, shards=2)
    (begun.run_folder / BACKUP).mkdir(parents=True)
    write_config(begun, begun.run_folder)
    (begun.run_folder / BACKUP / "state.json").write_text(state)
    for process in range(2):
        again = replace(config(process, 29400), artifacts=artifacts, resume=True)
        assert train.train(again) == begun.run_folder
    return finished


def absent(config: TrainConfig, *more: object) -> NoReturn:
    raise cluster.Absent(f"process {config.process_id} is alone")
