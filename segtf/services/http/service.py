"""Answer images as they come in: each in its turn, the network asked about several at once."""

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
from segtf.services.http.shared_model import Askers, SharedModel
from segtf.services.http.upload import MEGAPIXEL, image_size, read_image
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from segtf.services.http.config import ServeConfig

FEWEST = 2  # images at once: one is decoded while the network sees another


class Service:
    """The networks at `paths`, and all that is needed to ask them over HTTP. Raises `UserError`
    for files that are no networks of ours or do not fit together.
    """

    def __init__(self, paths: Sequence[Path], config: ServeConfig) -> None:
        self.config = config
        self.ready = False
        self.failure: UserError | None = None  # why it will never be ready
        self.stop: Callable[[], None] = lambda: None  # called then
        self._askers = Askers()
        self._models = [
            SharedModel(
                path,
                self._askers,
                most=config.batch,
                threads=config.threads,
                seen=lambda images, seconds: self.metrics.see_run(images, seconds),
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
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="photo")

    async def warm_up(self) -> None:
        """Asks the networks once, which takes longer than later; then the service is ready."""
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
        """What the image in a request is answered with. Raises `QueueFull`, `Refused`, and
        `ClientDisconnect` when the client goes away: then the work for it ends too.
        """
        with self.queue.place():
            encoded = await read_image(request, self.config.max_upload_mb)
            width, height = await asyncio.to_thread(image_size, encoded, self.config.max_megapixels)
            work = asyncio.ensure_future(self._in_turn(encoded, width * height, wanted))
            left = asyncio.ensure_future(_left(request))
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
        gone = Event()
        async with self.queue.turn(pixels):
            working = asyncio.get_running_loop().run_in_executor(
                self._pool, self._work, encoded, wanted, gone
            )
            try:
                return await asyncio.shield(working)
            except asyncio.CancelledError:  # a thread cannot be cancelled: its turn lasts on
                gone.set()
                await asyncio.wait({working})
                working.exception()  # that it was given up is no news
                raise

    def _work(self, encoded: bytes, wanted: Wanted, gone: Event) -> bytes:
        with self._askers.one_more():
            return answer(self.predictor, encoded, wanted, gone)

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()
        for model in self._models:
            model.close()


async def _left(request: Request) -> None:
    """Returns when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
