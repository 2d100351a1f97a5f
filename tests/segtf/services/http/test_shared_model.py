"""Threads that ask one network at the same time share its runs, and each gets its own answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.inference.onnx_model import OnnxModel
from segtf.services.http import shared_model
from segtf.services.http.shared_model import Askers, SharedModel
from tests.segtf.services.http.serving import write_model
from voc_builder.base.errors import UserError

Start = Callable[..., SharedModel]
DEADLINE = 60  # seconds


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    models = []

    def started(askers: Askers, **options: object) -> SharedModel:
        models.append(SharedModel(write_model(tmp_path), askers, **options))  # type: ignore[arg-type]
        return models[-1]

    yield started
    for model in models:
        model.close()


def square(value: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 4, 4, 3), value, np.uint8)


def test_what_is_asked_at_once_is_one_run_and_each_gets_its_own(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_model, "WAIT", DEADLINE)  # only the last asker ends the wait
    askers, runs = Askers(), []
    model = start(askers, most=16, seen=lambda calls, seconds: runs.append(calls))
    everybody = threading.Barrier(6)

    def ask(value: int) -> NDArray[np.float32]:
        with askers.one_more():
            everybody.wait(DEADLINE)
            return model.probabilities(square(value, count=1 + value % 2))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    for value, answer in enumerate(found):
        np.testing.assert_allclose(answer, square(value, 1 + value % 2) / 255, rtol=1e-6)
    assert runs == [6]
    assert askers.count == 0


def test_a_run_has_no_more_than_most(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_model, "WAIT", 1)
    askers, runs = Askers(), []
    model = start(askers, most=2, seen=lambda calls, seconds: runs.append(calls))
    askers.count = 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda value: model.probabilities(square(value)), range(4)))
    assert runs == [2, 2]


def test_who_is_alone_waits_for_nobody(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_model, "WAIT", DEADLINE)
    askers = Askers()
    model = start(askers)
    started = time.monotonic()
    with askers.one_more():
        model.probabilities(square(1))
    assert time.monotonic() - started < DEADLINE / 2


def test_who_expects_others_does_not_wait_for_long(start: Start) -> None:
    askers, runs = Askers(), []
    model = start(askers, seen=lambda calls, seconds: runs.append(calls))
    askers.count = 2  # one decodes its image and will ask much later
    model.probabilities(square(1))
    assert runs == [1]


def test_large_squares_share_no_run_unless_told(start: Start, tmp_path: Path) -> None:
    assert start(Askers()).most == 8
    for size, most in ((256, 8), (512, 4), (1024, 1), (2048, 1)):
        folder = tmp_path / str(size)
        folder.mkdir()
        model = SharedModel(write_model(folder, shape=(size, size)), Askers())
        assert model.most == most
        model.close()


def test_a_failure_reaches_all_who_asked_and_the_next_are_answered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = start(Askers())
    with monkeypatch.context() as broken:
        broken.setattr(OnnxModel, "probabilities", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.probabilities(square(1))
    with pytest.raises(UserError, match="cannot run on images"):
        model.probabilities(np.zeros((1, 4, 4, 5), np.uint8))
    assert model.probabilities(square(255)).min() == 1
