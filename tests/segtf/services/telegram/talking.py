"""A bot that talks to a Bot API server of the test, and images for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import io
import signal
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segtf.bot import converse, open_bot
from segtf.services.telegram.conversation import Conversation
from segtf.services.telegram.cutout import Cutout
from segtf.services.telegram.messages import Limits
from tests.segtf.services.telegram.bot_api import PATIENCE, TOKEN, BotApi, bot_api
from tests.segtf.tiny_onnx import INFO, write_channels_model

Cut = Callable[[bytes], Cutout]
CLASSES = ("__background__", "green", "синий")
LIMITS = Limits(megapixels=1, waiting=10, queue=100)


def write_model(folder: Path) -> Path:
    """A network for which red is the background."""
    info = dataclasses.replace(INFO, classes=CLASSES)
    return write_channels_model(folder / "model.onnx", info=info)


def halves(height: int = 32, width: int = 48) -> NDArray[np.uint8]:
    """Red on the left, which is background, and green on the right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2, 0] = image[:, width // 2 :, 1] = 255
    return image


def encode(image: NDArray[np.uint8], kind: str = "PNG", **settings: Any) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, kind, **settings)
    return encoded.getvalue()


HALVES = encode(halves())


def opacity(png: bytes) -> NDArray[np.uint8]:
    """Alpha channel of a PNG, shape (H, W)."""
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "RGBA")
        return np.asarray(image)[..., 3]


def assert_right_half_stays(png: bytes, height: int = 32, width: int = 48) -> None:
    alpha = opacity(png)
    assert alpha.shape == (height, width)
    assert not alpha[:, : width // 2 - 4].any()
    assert (alpha[:, width // 2 + 4 :] == 255).all()


def never(encoded: bytes) -> Cutout:
    raise AssertionError("the bot must not come so far")


@contextlib.asynccontextmanager
async def talking(
    cut: Cut, *, limits: Limits = LIMITS, end: signal.Signals = signal.SIGTERM
) -> AsyncIterator[BotApi]:
    """A server that a bot listens to; the bot gets the signal `end` and ends after the block."""
    async with bot_api() as api:
        bot = open_bot(api.url, TOKEN)
        answers = Conversation(bot, cut, CLASSES[1:], limits, pauses=(0.01, 0.01, 0.01))
        task = asyncio.create_task(converse(answers))
        await api.until(lambda: bool(api.named("getUpdates")) or task.done())
        try:
            yield api
        finally:
            if not task.done():  # it has no handler otherwise, and the signal would end the tests
                signal.raise_signal(end)
            await asyncio.wait_for(task, PATIENCE)


class Gate:
    """A network that works on an image only after `let`."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self.begun = 0
        self._let = threading.Semaphore(0)

    def __call__(self, encoded: bytes) -> Cutout:
        self.begun += 1
        assert self._let.acquire(timeout=PATIENCE)
        return self._cut(encoded)

    def let(self, images: int = 1) -> None:
        self._let.release(images)

    async def until_begun(self, images: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.begun < images:
                await asyncio.sleep(0.005)
