"""Show the progress of long work: a bar on a terminal, plain lines on a pipe."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

EVERY = 10.0  # seconds between two lines on a pipe
AHEAD = 2  # items per thread that are started before the caller takes their results


def progress(
    items: Iterable[Item], total: int, what: str, *, patience: float = 0.0
) -> Iterator[Item]:
    """Yields the `items` and writes the count of `what`, e.g. "images", and the time left to
    stderr; nothing is written for work that takes less than `patience` seconds.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, unit="", leave=False, delay=patience)
        return
    start = shown = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - shown >= EVERY and done < total:
            left = (now - start) / done * (total - done)
            note(f"{what}: {done} of {total}, {left:.0f} s left")
            shown = now
    seconds = time.monotonic() - start
    if seconds >= patience:
        note(f"{what}: {total} in {seconds:.1f} s")


def note(text: str) -> None:
    """Write a line to stderr without breaking a progress bar."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """Yields `function(item)` for every item, in order. At most `AHEAD` items per thread are in
    memory. All threads have stopped when the generator ends or is closed; a caller whose own work
    may fail closes it with `contextlib.closing`.
    """
    executor = ThreadPoolExecutor(workers)
    started: deque[Future[Result]] = deque()
    try:
        for item in items:
            started.append(executor.submit(function, item))
            if len(started) >= AHEAD * workers:
                yield started.popleft().result()
        while started:
            yield started.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
