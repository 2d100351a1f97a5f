"""Share one network between threads: simultaneous calls become one batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

import numpy as np
from numpy.typing import NDArray

from segtf.inference.onnx_model import OnnxModel

WAIT = 0.004  # seconds that a call waits for others at most
MOST = 8  # default batch size
PIXELS = 2**20  # most pixels in a batch of the default size: they take memory
Call = tuple[NDArray[np.uint8], "Future[NDArray[np.float32]]"]


class SharedModel(OnnxModel):
    """A network whose `probabilities` several threads may call at once, all with images of one
    height and width.

    Calls gather for the next run while one is under way. A call also waits `WAIT` seconds at most,
    but only if more threads than have called are `busy`, so that more calls may come. `most` calls
    share a run; 0: `MOST`, with at most `PIXELS` together. `on_run` gets the calls in each run and
    its seconds. Raises `UserError` as `OnnxModel` does.
    """

    def __init__(
        self,
        path: Path,
        busy: Callable[[], int],
        *,
        most: int = 0,
        threads: int = 0,
        on_run: Callable[[int, float], None] = lambda calls, seconds: None,
    ) -> None:
        super().__init__(path, threads=threads)
        self.most = most or min(MOST, max(PIXELS // math.prod(self.info.shape), 1))
        self._busy = busy
        self._on_run = on_run
        self._calls: SimpleQueue[Call | None] = SimpleQueue()  # None: end
        self._thread = Thread(target=self._run_all, name=f"network {self.path}", daemon=True)
        self._thread.start()

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer: Future[NDArray[np.float32]] = Future()
        self._calls.put((images, answer))
        return answer.result()

    def close(self) -> None:
        """Finishes the calls so far, then ends the thread; nothing may be called afterwards."""
        self._calls.put(None)
        self._thread.join()

    def _run_all(self) -> None:
        while (first := self._calls.get()) is not None:
            self._run(self._gather(first))

    def _gather(self, first: Call) -> list[Call]:
        calls, end = [first], time.monotonic() + WAIT
        while len(calls) < self.most:
            patience = end - time.monotonic() if len(calls) < self._busy() else 0
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
        images = [batch for batch, _ in calls]
        started = time.perf_counter()
        try:
            together = images[0] if len(images) == 1 else np.concatenate(images)
            found = super().probabilities(together)
        except Exception as error:  # raised in the calling threads
            for _, answer in calls:
                answer.set_exception(error)
            return
        self._on_run(len(calls), time.perf_counter() - started)
        ends = np.cumsum([len(batch) for batch in images])
        for (_, answer), part in zip(calls, np.split(found, ends[:-1]), strict=True):
            answer.set_result(part)
