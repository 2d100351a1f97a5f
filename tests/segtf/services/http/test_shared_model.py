"""Simultaneous calls of one network share its runs, and each gets its own answer."""

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
from segtf.services.http.shared_model import Callers, SharedModel
from tests.segtf.services.http.serving import write_model
from voc_builder.base.errors import UserError

Start = Callable[..., SharedModel]
DEADLINE = 60  # seconds


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    models = []

    def started(callers: Callers, **options: object) -> SharedModel:
        models.append(SharedModel(write_model(tmp_path), callers, **options))  # type: ignore[arg-type]
        return models[-1]

    yield started
    for model in models:
        model.close()


def square(value: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 4, 4, 3), value, np.uint8)


def test_simultaneous_calls_are_one_run_and_each_gets_its_answer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_model, "WAIT", DEADLINE)  # only the last caller ends the wait
    callers, runs = Callers(), []
    model = start(callers, most=16, on_run=lambda calls, seconds: runs.append(calls))
    everybody = threading.Barrier(6)

    def ask(value: int) -> NDArray[np.float32]:
        with callers.one_more():
            everybody.wait(DEADLINE)
            return model.probabilities(square(value, count=1 + value % 2))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(6)))
    for value, answer in enumerate(found):
        np.testing.assert_allclose(answer, square(value, 1 + value % 2) / 255, rtol=1e-6)
    assert runs == [6]
    assert callers.count == 0


def test_a_run_has_at_most_so_many_calls(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_model, "WAIT", DEADLINE)
    callers, runs = Callers(), []
    model = start(callers, most=2, on_run=lambda calls, seconds: runs.append(calls))
    callers.count = 4
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda value: model.probabilities(square(value)), range(4)))
    assert runs == [2, 2]


def test_a_single_caller_does_not_wait(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_model, "WAIT", DEADLINE)
    callers = Callers()
    model = start(callers)
    started = time.monotonic()
    with callers.one_more():
        model.probabilities(square(1))
    assert time.monotonic() - started < DEADLINE / 2


def test_a_call_waits_for_others_only_briefly(start: Start) -> None:
    callers, runs = Callers(), []
    model = start(callers, on_run=lambda calls, seconds: runs.append(calls))
    callers.count = 2  # the other one is still decoding its image
    model.probabilities(square(1))
    assert runs == [1]


def test_the_default_batch_shrinks_with_the_image_size(start: Start, tmp_path: Path) -> None:
    assert start(Callers()).most == 8
    for size, most in ((256, 8), (512, 4), (1024, 1), (2048, 1)):
        folder = tmp_path / str(size)
        folder.mkdir()
        model = SharedModel(write_model(folder, shape=(size, size)), Callers())
        assert model.most == most
        model.close()


def test_an_error_reaches_the_callers_and_the_next_call_is_answered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = start(Callers())
    with monkeypatch.context() as broken:
        broken.setattr(OnnxModel, "probabilities", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.probabilities(square(1))
    with pytest.raises(UserError):
        model.probabilities(np.zeros((1, 4, 4, 5), np.uint8))
    assert model.probabilities(square(255)).min() == 1
