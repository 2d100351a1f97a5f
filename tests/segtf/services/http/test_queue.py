"""The places and turns of the queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from segtf.services.http import queue as queues
from segtf.services.http.errors import QueueFull
from segtf.services.http.queue import Queue


class Images:
    """Images that wait for a turn in a queue and keep it until `end`."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, pixels: int = 1) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.ensure_future(self._stay(name, pixels))
        await asyncio.sleep(0)

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)

    async def leave(self, name: str) -> None:
        self._tasks[name].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._tasks[name]
        await asyncio.sleep(0)

    async def _stay(self, name: str, pixels: int) -> None:
        async with self.queue.turn(pixels):
            self.begun.append(name)
            await self._ends[name].wait()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 10))


def test_turns_come_in_order_and_a_limited_number_at_once() -> None:
    async def test() -> None:
        images = Images(Queue(9, at_once=2, pixels=100))
        for name in "abcd":
            await images.come(name)
        assert images.begun == ["a", "b"]
        await images.end("b")
        await images.end("a")
        assert images.begun == ["a", "b", "c", "d"]
        await images.end("c")
        await images.end("d")
        assert images.queue.working == 0

    run(test())


def test_images_in_work_share_the_pixels_and_a_larger_one_is_alone() -> None:
    async def test() -> None:
        images = Images(Queue(9, at_once=8, pixels=10))
        for name, pixels in (("a", 6), ("b", 4), ("c", 1), ("large", 11), ("e", 1)):
            await images.come(name, pixels)
        assert images.begun == ["a", "b"]
        await images.end("b")
        assert images.begun == ["a", "b", "c"]
        await images.end("a")
        assert images.begun == ["a", "b", "c"]  # the small one does not overtake the large one
        await images.end("c")
        assert images.begun[3:] == ["large"]
        await images.end("large")
        assert images.begun[4:] == ["e"]

    run(test())


def test_an_image_that_leaves_gives_its_turn_to_the_next() -> None:
    async def test() -> None:
        images = Images(Queue(9, at_once=1, pixels=10))
        for name in "abcd":
            await images.come(name, 10)
        await images.leave("b")  # while it waits
        await images.leave("a")  # while it has its turn
        assert images.begun == ["a", "c"]
        images._ends["c"].set()
        await asyncio.sleep(0)
        assert images.queue.working == 1 and images.begun == ["a", "c"]
        await images.leave("d")  # it has got its turn but has not noticed yet
        await images.come("e", 10)
        assert images.begun == ["a", "c", "e"]
        await images.end("e")
        assert images.queue.working == 0

    run(test())


def test_places_are_taken_and_given_back() -> None:
    queue = Queue(2, at_once=1, pixels=10)
    with queue.place():
        with pytest.raises(ZeroDivisionError), queue.place():
            assert (queue.taken, queue.waiting) == (2, 2)
            with pytest.raises(QueueFull) as full, queue.place():
                pass
            assert full.value.retry_after == 1
            raise ZeroDivisionError
        assert queue.taken == 1


def test_retry_after_follows_the_seconds_per_image(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(perf_counter=iter([0, 0.19, 1, 1.01]).__next__)  # a mean of 0.15 s
    monkeypatch.setattr(queues, "time", clock)

    async def test() -> None:
        queue = Queue(10, at_once=1, pixels=10)
        for _ in range(2):
            async with queue.turn(1):
                pass
        queue.taken = 10
        with pytest.raises(QueueFull) as full, queue.place():
            pass
        assert full.value.retry_after == 2

    run(test())
