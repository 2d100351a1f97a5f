"""Who is let in, and in which order."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest

from segtf.services.http.queue import Queue, QueueFull


class Photos:
    """Photos that take their turn in a queue and keep it until they are let go."""

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


def test_turns_come_in_order_and_so_many_at_once() -> None:
    async def test() -> None:
        photos = Photos(Queue(9, at_once=2, pixels=100))
        for name in "abcd":
            await photos.come(name)
        assert photos.begun == ["a", "b"]
        await photos.end("b")
        await photos.end("a")
        assert photos.begun == ["a", "b", "c", "d"]
        await photos.end("c")
        await photos.end("d")
        assert photos.queue.working == 0

    run(test())


def test_photos_at_work_share_the_pixels_and_a_larger_one_is_alone() -> None:
    async def test() -> None:
        photos = Photos(Queue(9, at_once=8, pixels=10))
        for name, pixels in (("a", 6), ("b", 4), ("c", 1), ("large", 11), ("e", 1)):
            await photos.come(name, pixels)
        assert photos.begun == ["a", "b"]
        await photos.end("b")
        assert photos.begun == ["a", "b", "c"]
        await photos.end("a")
        assert photos.begun == ["a", "b", "c"]  # the small one does not overtake the large one
        await photos.end("c")
        assert photos.begun[3:] == ["large"]
        await photos.end("large")
        assert photos.begun[4:] == ["e"]

    run(test())


def test_who_leaves_gives_the_turn_to_the_next() -> None:
    async def test() -> None:
        photos = Photos(Queue(9, at_once=1, pixels=10))
        for name in "abcd":
            await photos.come(name, 10)
        await photos.leave("b")  # while it waits
        await photos.leave("a")  # while it has its turn
        assert photos.begun == ["a", "c"]
        photos._ends["c"].set()
        await asyncio.sleep(0)
        assert photos.queue.working == 1 and photos.begun == ["a", "c"]
        await photos.leave("d")  # it was let in and has not noticed yet
        await photos.come("e", 10)
        assert photos.begun == ["a", "c", "e"]
        await photos.end("e")
        assert photos.queue.working == 0

    run(test())


def test_places_are_counted_from_the_first_byte_and_given_back() -> None:
    queue = Queue(2, at_once=1, pixels=10)
    with queue.place():
        with pytest.raises(RuntimeError, match="a photo"), queue.place():
            assert (queue.taken, queue.waiting) == (2, 2)
            with pytest.raises(QueueFull, match="2 photos") as full, queue.place():
                pass
            assert full.value.retry_after == 1
            raise RuntimeError("a photo")
        assert queue.taken == 1


def test_the_longer_photos_take_the_later_one_may_come_again() -> None:
    async def test() -> None:
        queue = Queue(10, at_once=1, pixels=10)
        for seconds in (0.19, 0.01):  # a mean of 0.15
            async with queue.turn(1):
                await asyncio.sleep(seconds)
        with contextlib.ExitStack() as places:
            for _ in range(10):
                places.enter_context(queue.place())
            with pytest.raises(QueueFull) as full, queue.place():
                pass
        assert full.value.retry_after == 2

    run(test())
