"""Answer the messages that a Telegram bot receives: an image with itself without its background."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from aiogram import Bot
from aiogram.enums import ChatAction
from aiogram.exceptions import (
    AiogramError,
    ClientDecodeError,
    TelegramAPIError,
    TelegramBadRequest,
    TelegramEntityTooLarge,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramRetryAfter,
    TelegramServerError,
)
from aiogram.types import BufferedInputFile, Message
from aiohttp import ClientError

from segtf.services.telegram import messages
from segtf.services.telegram.cutout import Cutout, Refused
from segtf.services.telegram.messages import FETCHED, GIVEN, MEGABYTE, Limits, Sent

Answer = TypeVar("Answer")

ACTION_SECONDS = 4.5  # Telegram shows for five seconds that the bot is working
PAUSES = (1.0, 3.0, 9.0)  # seconds before each repetition of a request that failed
LONGEST_PAUSE = 60  # seconds that Telegram may ask for
UPLOAD_SECONDS = 300
TRANSIENT = (
    TelegramNetworkError,
    TelegramServerError,
    ClientDecodeError,
    ClientError,
    TimeoutError,
)

log = logging.getLogger("segtf.bot")


class Conversation:
    """Answers messages concurrently; `cut` runs in one thread of its own. The images of one person
    are answered in order, and people take turns at the network.
    """

    def __init__(
        self,
        bot: Bot,
        cut: Callable[[bytes], Cutout],
        classes: Sequence[str],
        limits: Limits,
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.bot = bot
        self.last_update: int | None = None
        self._cut = cut
        self._limits = limits
        self._pauses = pauses
        self._help = messages.help_text(classes, limits)
        self._thread = ThreadPoolExecutor(1, "network")
        self._answers: set[asyncio.Task[None]] = set()
        self._waiting: Counter[int] = Counter()  # images per person, including the one in work
        self._turns: dict[int, asyncio.Lock] = {}  # one per person who waits
        self._ending = False

    async def begin(self, message: Message, update_id: int) -> None:
        """Starts answering a message and returns at once."""
        self.last_update = update_id
        answer = self._answer(message, (await self.bot.me()).username)
        if answer is not None:
            task = asyncio.create_task(self._guarded(message, answer))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def finish(self) -> None:
        """Returns when the images in work are answered and the senders of the others are told to
        send them again.
        """
        self._ending = True
        while self._answers:
            await asyncio.wait(self._answers)
        self._thread.shutdown()

    def _answer(self, message: Message, username: str | None) -> Coroutine[Any, Any, None] | None:
        sent = messages.image_of(message)
        if sent is None:
            text = messages.reply_to(message, username, self._help)
            return self._say(message, text) if text else None
        person = message.from_user.id if message.from_user else message.chat.id
        if self._waiting[person] >= self._limits.waiting:
            return self._say(message, messages.TOO_MANY.format(self._limits.waiting))
        if self._waiting.total() >= self._limits.queue:
            return self._say(message, messages.BUSY)
        self._waiting[person] += 1
        return self._in_turn(message, sent, person)

    async def _in_turn(self, message: Message, sent: Sent, person: int) -> None:
        try:
            async with self._turns.setdefault(person, asyncio.Lock()):
                if self._ending:
                    await self._say(message, messages.RESTARTING)
                    return
                async with _working(self.bot, message):
                    await self._answer_image(message, sent)
        finally:
            self._waiting[person] -= 1
            if not self._waiting[person]:
                del self._waiting[person], self._turns[person]

    async def _answer_image(self, message: Message, sent: Sent) -> None:
        try:
            encoded = await self._fetch(sent)
            loop = asyncio.get_running_loop()
            cutout = await loop.run_in_executor(self._thread, self._cut, encoded)
        except Refused as refusal:
            await self._say(message, str(refusal))
            return
        if len(cutout.png) > GIVEN:
            megabytes = len(cutout.png) / MEGABYTE
            text = messages.TOO_LARGE_RESULT.format(megabytes, GIVEN // MEGABYTE)
            await self._say(message, text)
            return
        file = BufferedInputFile(cutout.png, sent.name)
        method = message.reply_document(file, caption=messages.caption(cutout.fractions))
        await self._retry(lambda: self.bot(method, request_timeout=UPLOAD_SECONDS))

    async def _fetch(self, sent: Sent) -> bytes:
        """Content of the file. Raises `Refused` if Telegram does not give it."""
        if sent.size is not None and sent.size > FETCHED:
            raise Refused(messages.too_large(sent.size))

        async def download() -> bytes:
            encoded = io.BytesIO()
            await self.bot.download(sent.file_id, encoded)
            return encoded.getvalue()

        try:
            return await self._retry(download)
        except (*TRANSIENT, TelegramAPIError) as error:
            if isinstance(error, TelegramBadRequest) and "too big" in error.message:
                raise Refused(messages.too_large(sent.size)) from None
            log.error("cannot download an image: %s: %s", type(error).__name__, error)
            raise Refused(messages.UNFETCHED) from None

    async def _say(self, message: Message, text: str) -> None:
        method = message.reply(text)
        await self._retry(lambda: self.bot(method))

    async def _retry(self, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """Result of a request, which is repeated after transient errors."""
        for pause in self._pauses:
            try:
                return await request()
            except TelegramRetryAfter as error:
                if error.retry_after > LONGEST_PAUSE:
                    raise
                pause = error.retry_after
            except TelegramEntityTooLarge:
                raise
            except TRANSIENT as error:
                log.warning("%s: %s: trying again", type(error).__name__, error)
            await asyncio.sleep(pause)
        return await request()

    async def _guarded(self, message: Message, answer: Awaitable[None]) -> None:
        """Awaits an answer; errors are logged, and the sender is told if possible."""
        try:
            await answer
            return
        except TelegramForbiddenError:  # the user blocked the bot, or a group removed it
            return
        except AiogramError as error:
            log.error("cannot send an answer: %s: %s", type(error).__name__, error)
        except Exception:
            log.exception("cannot answer")
        with contextlib.suppress(AiogramError):
            await self.bot(message.reply(messages.FAILED))


@contextlib.asynccontextmanager
async def _working(bot: Bot, message: Message) -> AsyncIterator[None]:
    """Shows in the chat that the bot is about to send a file. Errors are ignored, which aiogram's
    `ChatActionSender` does not do.
    """
    topic = message.message_thread_id if message.is_topic_message else None

    async def show() -> None:
        while True:
            with contextlib.suppress(AiogramError):
                await bot.send_chat_action(
                    message.chat.id, ChatAction.UPLOAD_DOCUMENT, message_thread_id=topic
                )
            await asyncio.sleep(ACTION_SECONDS)

    shown = asyncio.create_task(show())
    try:
        yield
    finally:
        shown.cancel()
        await asyncio.gather(shown, return_exceptions=True)
