"""Limit the images that wait and the pixels that are in work at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from segtf.services.http.errors import QueueFull

LONGEST = 60  # seconds, of Retry-After
NEWEST = 0.2  # weight of the newest image in the moving average of seconds


class Queue:
    """At most `places` images are here from their first byte to their answer. They get their turns
    in the order of asking: up to `at_once` images with up to `pixels` together; a larger image has
    its turn alone. For one event loop.
    """

    def __init__(self, places: int, at_once: int, pixels: int) -> None:
        self.places, self.at_once, self.pixels = places, at_once, pixels
        self.taken = 0  # places
        self.working = 0  # images that have their turn
        self._pixels = 0  # of these images
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._seconds: float | None = None  # of a turn, moving average

    @property
    def waiting(self) -> int:
        """Images that do not have their turn yet."""
        return self.taken - self.working

    @contextmanager
    def place(self) -> Iterator[None]:
        """Takes a place for an image. Raises `QueueFull`."""
        if self.taken >= self.places:
            seconds = math.ceil(self.taken * (self._seconds or 0) / self.at_once)
            raise QueueFull(self.places, min(max(seconds, 1), LONGEST))
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    @asynccontextmanager
    async def turn(self, pixels: int) -> AsyncIterator[None]:
        """Waits for the turn of an image with so many pixels."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((pixels, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it got its turn at the same moment
                self._leave(pixels)
            self._let_in()
            raise
        started = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            mean = seconds if self._seconds is None else self._seconds
            self._seconds = mean + NEWEST * (seconds - mean)
            self._leave(pixels)
            self._let_in()

    def _leave(self, pixels: int) -> None:
        self.working -= 1
        self._pixels -= pixels

    def _let_in(self) -> None:
        while self._line:
            pixels, turn = self._line[0]
            room = not self.working or self._pixels + pixels <= self.pixels
            if not turn.cancelled():
                if self.working >= self.at_once or not room:
                    return
                self.working += 1
                self._pixels += pixels
                turn.set_result(None)
            self._line.popleft()
