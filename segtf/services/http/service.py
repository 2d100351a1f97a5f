"""Answer images concurrently: each in its turn, the network on batches of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from starlette.requests import ClientDisconnect, Request

from segtf.inference.prediction import ask
from segtf.inference.predictor import Predictor
from segtf.services.http.answer import Wanted, answer
from segtf.services.http.metrics import Metrics
from segtf.services.http.queue import Queue
from segtf.services.http.shared_model import SharedModel
from segtf.services.http.upload import count_pixels, read_image
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from segtf.services.http.config import ServeConfig

FEWEST = 2  # images in work at once: one is decoded while the network predicts another
MEGAPIXEL = 10**6


class Service:
    """The networks at `paths` with their queue, threads and metrics. Raises `UserError` for files
    that are no networks of segtf and networks that do not fit together.
    """

    def __init__(self, paths: Sequence[Path], config: ServeConfig) -> None:
        self.config = config
        self.ready = False
        self.failure: UserError | None = None  # why the service will never be ready
        self.stop: Callable[[], None] = lambda: None  # called after a failure
        self._models = [
            SharedModel(
                path,
                busy=lambda: self.queue.working,
                most=config.batch,
                threads=config.threads,
                on_run=lambda calls, seconds: self.metrics.count_run(calls, seconds),
            )
            for path in paths
        ]
        self.predictor = Predictor(
            self._models,
            mode=config.mode,
            overlap=config.overlap,
            tta=config.tta,
            ensemble=config.ensemble,
        )
        at_once = max(FEWEST, *(model.most for model in self._models))
        self.queue = Queue(config.queue, at_once, config.max_megapixels * MEGAPIXEL)
        self.metrics = Metrics(self.queue)
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="image")

    async def warm_up(self) -> None:
        """Predicts a black image, as the first run takes longer; then the service is ready."""
        black = np.zeros((*self.predictor.models[0].info.shape, 3), np.uint8)
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._pool, ask, self.predictor, black)
        except UserError as error:
            self.failure = error
            self.stop()
        else:
            self.ready = True

    async def answer(self, request: Request, wanted: Wanted) -> bytes:
        """Content of the answer to a request with an image. Raises `Refused`, and
        `ClientDisconnect` when the client goes away, which ends the work for it.
        """
        with self.queue.place():
            encoded = await read_image(request, self.config.max_upload_mb)
            pixels = await asyncio.to_thread(count_pixels, encoded, self.config.max_megapixels)
            work = asyncio.ensure_future(self._in_turn(encoded, pixels, wanted))
            left = asyncio.ensure_future(_disconnected(request))
            try:
                await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                gone = not work.done()
                left.cancel()
                work.cancel()
                await asyncio.wait({work, left})
            if gone:
                raise ClientDisconnect
            return work.result()

    async def _in_turn(self, encoded: bytes, pixels: int, wanted: Wanted) -> bytes:
        cancel = Event()
        async with self.queue.turn(pixels):
            working = asyncio.get_running_loop().run_in_executor(
                self._pool, answer, self.predictor, encoded, wanted, cancel
            )
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:  # the turn lasts until the thread has noticed
                cancel.set()
                await asyncio.wait({working})
                working.exception()  # marks it as retrieved
                raise

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()
        for model in self._models:
            model.close()


async def _disconnected(request: Request) -> None:
    """Returns when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
