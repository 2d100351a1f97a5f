"""Say how far long work has come: a bar on a terminal, plain lines on a pipe."""

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
AHEAD = 2  # items a thread that are begun before the caller takes their results


def progress(
    items: Iterable[Item], total: int, what: str, *, patience: float = 0.0
) -> Iterator[Item]:
    """The `items` as they come, with the time left on stderr; `what` is counted, e.g. "images".
    Nothing is said of work that ends within `patience` seconds.
    """
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=what, unit="", leave=False, delay=patience)
        return
    start = said = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= EVERY and done < total:
            left = (now - start) / done * (total - done)
            note(f"{what}: {done} of {total}, {left:.0f} s left")
            said = now
    seconds = time.monotonic() - start
    if seconds >= patience:
        note(f"{what}: {total} in {seconds:.1f} s")


def note(text: str) -> None:
    """A line on stderr, kept apart from a bar that may be there."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


def in_threads(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """`function` of every item, in order. At most `AHEAD` items a thread are taken before their
    results are, so that neither items nor results pile up. No thread works on when this ends or is
    closed, which a caller whose own work may fail does with `contextlib.closing`.
    """
    executor = ThreadPoolExecutor(workers)
    begun: deque[Future[Result]] = deque()
    try:
        for item in items:
            begun.append(executor.submit(function, item))
            if len(begun) >= AHEAD * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
