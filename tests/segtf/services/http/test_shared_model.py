"""Simultaneous calls of one network share its runs, and each gets its own answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from segtf.inference.onnx_model import OnnxModel
from segtf.services.http import shared_model
from segtf.services.http.shared_model import SharedModel
from tests.segtf.services.http.serving import DEADLINE, write_model
from voc_builder.base.errors import UserError

Start = Callable[..., tuple[SharedModel, list[int]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a network with so many busy threads; also gives the calls in each of its runs."""
    models = []

    def started(busy: int = 1, most: int = 0, **info: object) -> tuple[SharedModel, list[int]]:
        runs: list[int] = []
        path = write_model(tmp_path, **info)
        models.append(
            SharedModel(path, lambda: busy, most=most, on_run=lambda calls, _: runs.append(calls))
        )
        return models[-1], runs

    yield started
    for model in models:
        model.close()


def square(value: int, count: int = 1) -> NDArray[np.uint8]:
    return np.full((count, 4, 4, 3), value, np.uint8)


@pytest.mark.parametrize(("most", "expected"), [(16, [6]), (2, [2, 2, 2])])
def test_simultaneous_calls_share_runs_and_each_gets_its_answer(
    most: int, expected: list[int], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_model, "WAIT", DEADLINE)  # only a full run or the last call ends it
    model, runs = start(busy=6, most=most)

    def call(value: int) -> NDArray[np.float32]:
        return model.probabilities(square(value, count=1 + value % 2))

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(call, range(6)))
    for value, answer in enumerate(found):
        np.testing.assert_allclose(answer, square(value, 1 + value % 2) / 255, rtol=1e-6)
    assert runs == expected


@pytest.mark.parametrize(("busy", "wait"), [(1, 10 * DEADLINE), (2, shared_model.WAIT)])
def test_a_call_waits_for_others_only_briefly_and_only_if_others_are_busy(
    busy: int, wait: float, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_model, "WAIT", wait)
    model, runs = start(busy)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(model.probabilities, square(1)).result(DEADLINE)
    assert runs == [1]


@pytest.mark.parametrize(("size", "most"), [(64, 8), (256, 8), (512, 4), (1024, 1), (2048, 1)])
def test_the_default_batch_shrinks_with_the_image_size(size: int, most: int, start: Start) -> None:
    assert start(shape=(size, size))[0].most == most


def test_an_error_reaches_the_caller_and_the_next_call_is_answered(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = start()
    with monkeypatch.context() as broken:
        broken.setattr(OnnxModel, "probabilities", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.probabilities(square(1))
    with pytest.raises(UserError):
        model.probabilities(np.zeros((1, 4, 4, 5), np.uint8))
    assert model.probabilities(square(255)).min() == 1
