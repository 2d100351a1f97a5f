"""Work in threads keeps its order, stops with its caller, and is told on a pipe in lines."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voc_builder.base import progress as module
from voc_builder.base.progress import in_threads, progress


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_first(number: int) -> int:
        time.sleep(0.02 if number == 0 else 0)
        return number

    assert list(in_threads(slow_first, range(20), 4)) == list(range(20))


@given(st.integers(1, 5), st.integers(0, 40))
@settings(deadline=None, max_examples=30)
def test_items_are_taken_as_their_results_are(workers: int, count: int) -> None:
    taken: list[int] = []
    items = (taken.append(number) or number for number in range(1000))  # type: ignore[func-returns-value]
    results = in_threads(lambda number: number, items, workers)
    assert list(itertools.islice(results, count)) == list(range(count))
    assert len(taken) <= count + 2 * workers


def test_no_thread_works_on_after_the_caller_stops() -> None:
    started: list[int] = []
    running = threading.Semaphore(0)

    def work(number: int) -> int:
        started.append(number)
        time.sleep(0.01)
        running.release()
        return number

    def consume() -> None:
        for number in in_threads(work, range(1000), 2):
            if number == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    count = len(started)
    time.sleep(0.05)
    assert len(started) == count < 100


def test_lines_on_a_pipe_tell_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock: Iterator[float] = iter([0.0, 6.0, 12.0, 18.0, 18.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    assert list(progress("abc", 3, "images")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "images: 2 of 3, 6 s left\nimages: 3 in 18.0 s\n"


def test_work_that_ends_within_the_patience_is_not_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert list(progress("abc", 3, "images", patience=60)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
