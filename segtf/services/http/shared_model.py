"""Let several threads ask one network: what they ask at the same time it sees in one run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread

import numpy as np
from numpy.typing import NDArray

from segtf.inference.onnx_model import OnnxModel

WAIT = 0.004  # seconds that an image waits for others at most, while others are to be expected
MOST = 8  # images in one run, unless told otherwise
PIXELS = 2**20  # that they have together at most then: a network's memory grows with them
Call = tuple[NDArray[np.uint8], "Future[NDArray[np.float32]]"]


class Askers:
    """Counts the threads that are about to ask: nobody waits for one that is not there."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = Lock()

    @contextmanager
    def one_more(self) -> Iterator[None]:
        with self._lock:
            self.count += 1
        try:
            yield
        finally:
            with self._lock:
                self.count -= 1


class SharedModel(OnnxModel):
    """A network whose `probabilities` may be asked by several threads at once; all ask about images
    of one height and width.

    While a run is under way calls gather for the next; a call waits `WAIT` seconds at most, and
    only while more threads are among the `askers` than have called. `most` calls share a run; 0
    stands for `MOST`, but no more than have `PIXELS` together. `seen` is told of the calls in each
    run and its seconds. Raises `UserError` as `OnnxModel` does.
    """

    def __init__(
        self,
        path: Path,
        askers: Askers,
        *,
        most: int = 0,
        threads: int = 0,
        seen: Callable[[int, float], None] = lambda calls, seconds: None,
    ) -> None:
        super().__init__(path, threads=threads)
        self.most = most or min(MOST, max(PIXELS // math.prod(self.info.shape), 1))
        self._askers = askers
        self._seen = seen
        self._calls: SimpleQueue[Call | None] = SimpleQueue()  # None is the end
        self._thread = Thread(target=self._run_all, name=f"network {self.path}", daemon=True)
        self._thread.start()

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer: Future[NDArray[np.float32]] = Future()
        self._calls.put((images, answer))
        return answer.result()

    def close(self) -> None:
        """Answers what has been asked, then ends the thread; nothing may be asked afterwards."""
        self._calls.put(None)
        self._thread.join()

    def _run_all(self) -> None:
        while (first := self._calls.get()) is not None:
            self._run(self._gather(first))

    def _gather(self, first: Call) -> list[Call]:
        calls, end = [first], time.monotonic() + WAIT
        while len(calls) < self.most:
            patience = end - time.monotonic() if len(calls) < self._askers.count else 0
            try:
                call = self._calls.get(timeout=max(patience, 0))
            except Empty:
                break
            if call is None:
                self._calls.put(None)
                break
            calls.append(call)
        return calls

    def _run(self, calls: list[Call]) -> None:
        images = [image for image, _ in calls]
        started = time.perf_counter()
        try:
            together = images[0] if len(images) == 1 else np.concatenate(images)
            found = super().probabilities(together)
        except Exception as error:  # for those who asked
            for _, answer in calls:
                answer.set_exception(error)
            return
        self._seen(len(calls), time.perf_counter() - started)
        ends = np.cumsum([len(image) for image in images])
        for (_, answer), part in zip(calls, np.split(found, ends[:-1]), strict=True):
            answer.set_result(part)
