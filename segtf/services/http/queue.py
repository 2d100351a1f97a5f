"""Let images in one after the other: so many may wait, so many pixels may be worked on at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

LONGEST = 60  # seconds that anybody is asked to stay away
NEWEST = 0.2  # what the last image counts in the mean time of an image


class QueueFull(Exception):
    """No place is free; `retry_after` is in how many seconds one may be."""

    def __init__(self, places: int, retry_after: int) -> None:
        super().__init__(
            f"{places} images are being sent, waiting or worked on, and there is room for no "
            f"more: try again in {retry_after} s"
        )
        self.retry_after = retry_after


class Queue:
    """`places` images at most are here from their first byte to their answer. Their turns come in
    the order in which they ask for one; `at_once` have theirs at the same time, of `pixels`
    together, and a larger one has its turn alone. For one event loop.
    """

    def __init__(self, places: int, at_once: int, pixels: int) -> None:
        self.places, self.at_once, self.pixels = places, at_once, pixels
        self.taken = 0  # places
        self.working = 0  # images that have their turn
        self._busy = 0  # their pixels
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._seconds: float | None = None  # of an image's turn, the mean of the last ones

    @property
    def waiting(self) -> int:
        """Images that are here and have not had their turn yet."""
        return self.taken - self.working

    @contextmanager
    def place(self) -> Iterator[None]:
        """Raises `QueueFull`."""
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
        """Waits for the turn of an image of so many pixels."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((pixels, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was let in at the very moment
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
        self._busy -= pixels

    def _let_in(self) -> None:
        while self._line:
            pixels, turn = self._line[0]
            room = not self.working or self._busy + pixels <= self.pixels
            if not turn.cancelled():
                if self.working >= self.at_once or not room:
                    return
                self.working += 1
                self._busy += pixels
                turn.set_result(None)
            self._line.popleft()
