"""Answer what people send to a Telegram bot: a photo with itself without its background.

Needs aiogram, so nothing but `segtf.bot` imports this module, and that only when it starts.
"""

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

from segtf.services.telegram.messages import (
    BUSY,
    FAILED,
    FETCHED,
    GIVEN,
    MEGABYTE,
    NOTHING,
    RESTARTING,
    TOO_LARGE_RESULT,
    TOO_MANY,
    UNFETCHED,
    Limits,
    Sent,
    describe,
    help_text,
    image_of,
    too_large,
    words_for,
)
from segtf.services.telegram.photo import CutPhoto, Refused

Answer = TypeVar("Answer")

ACTION_SECONDS = 4.5  # Telegram shows that the bot works for five
PAUSES = (1.0, 3.0, 9.0)  # seconds before a request that failed is made again
LONGEST_PAUSE = 60  # seconds that Telegram may ask for
UPLOAD_SECONDS = 300
PASSING = (TelegramNetworkError, TelegramServerError, ClientDecodeError, ClientError, TimeoutError)

log = logging.getLogger("segtf.bot")


class Conversation:
    """Answers messages, any number at a time; `cut` is called in one thread of its own.

    The photos of one person are answered in their order; between people, the network goes round.
    """

    def __init__(
        self,
        cut: Callable[[bytes], CutPhoto],
        classes: Sequence[str],
        limits: Limits,
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.last_update: int | None = None
        self._cut = cut
        self._limits = limits
        self._pauses = pauses
        self._help = help_text(classes, limits)
        self._thread = ThreadPoolExecutor(1, "network")
        self._answers: set[asyncio.Task[None]] = set()
        self._waiting: Counter[int] = Counter()  # photos of each person, the one in work too
        self._turns: dict[int, asyncio.Lock] = {}  # of those people
        self._ending = False

    async def begin(self, bot: Bot, message: Message, update_id: int) -> None:
        """Sees to it that the message is answered, and returns at once."""
        self.last_update = update_id
        username = (await bot.me()).username
        answer = self._answer(bot, message, username)
        if answer is not None:
            task = asyncio.create_task(self._guarded(bot, message, answer))
            self._answers.add(task)
            task.add_done_callback(self._answers.discard)

    async def finish(self) -> None:
        """Returns when the photos begun are answered and those that wait are sent away."""
        self._ending = True
        while self._answers:
            await asyncio.wait(self._answers)
        self._thread.shutdown()

    def _answer(
        self, bot: Bot, message: Message, username: str | None
    ) -> Coroutine[Any, Any, None] | None:
        sent = image_of(message)
        if sent is None:
            words = words_for(message, username, self._help)
            return self._say(bot, message, words) if words else None
        person = message.from_user.id if message.from_user else message.chat.id
        if self._waiting[person] >= self._limits.waiting:
            return self._say(bot, message, TOO_MANY.format(self._limits.waiting))
        if self._waiting.total() >= self._limits.queue:
            return self._say(bot, message, BUSY)
        self._waiting[person] += 1
        return self._in_turn(bot, message, sent, person)

    async def _in_turn(self, bot: Bot, message: Message, sent: Sent, person: int) -> None:
        turn = self._turns.setdefault(person, asyncio.Lock())
        try:
            async with turn:
                if self._ending:
                    await self._say(bot, message, RESTARTING)
                    return
                async with working(bot, message):
                    await self._answer_photo(bot, message, sent)
        finally:
            self._waiting[person] -= 1
            if not self._waiting[person]:
                del self._waiting[person], self._turns[person]

    async def _answer_photo(self, bot: Bot, message: Message, sent: Sent) -> None:
        try:
            if sent.size is not None and sent.size > FETCHED:
                raise Refused(too_large(sent.size))
            encoded = await self._fetched(bot, sent)
            loop = asyncio.get_running_loop()
            cut = await loop.run_in_executor(self._thread, self._cut, encoded)
            if not cut.png:
                raise Refused(NOTHING)
            if len(cut.png) > GIVEN:
                text = TOO_LARGE_RESULT.format(len(cut.png) / MEGABYTE, GIVEN // MEGABYTE)
                raise Refused(text)
        except Refused as refusal:
            await self._say(bot, message, str(refusal))
            return
        file = BufferedInputFile(cut.png, sent.name)
        method = message.reply_document(file, caption=describe(cut.shares))
        await self._patiently(lambda: bot(method, request_timeout=UPLOAD_SECONDS))

    async def _fetched(self, bot: Bot, sent: Sent) -> bytes:
        """The file's bytes. Raises `Refused` if Telegram does not give them."""

        async def fetch() -> bytes:
            encoded = io.BytesIO()
            await bot.download(sent.file_id, encoded)
            return encoded.getvalue()

        try:
            return await self._patiently(fetch)
        except (*PASSING, TelegramAPIError) as error:
            if isinstance(error, TelegramBadRequest) and "too big" in error.message:
                raise Refused(too_large(sent.size)) from None
            log.error("a photo could not be fetched: %s: %s", type(error).__name__, error)
            raise Refused(UNFETCHED) from None

    async def _say(self, bot: Bot, message: Message, text: str) -> None:
        method = message.reply(text)
        await self._patiently(lambda: bot(method))

    async def _patiently(self, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to a request, which is made again after failures that may pass."""
        for pause in self._pauses:
            try:
                return await request()
            except TelegramRetryAfter as error:
                if error.retry_after > LONGEST_PAUSE:
                    raise
                pause = error.retry_after
            except TelegramEntityTooLarge:
                raise
            except PASSING as error:
                log.warning("%s: %s: trying again", type(error).__name__, error)
            await asyncio.sleep(pause)
        return await request()

    async def _guarded(self, bot: Bot, message: Message, answer: Awaitable[None]) -> None:
        """Awaits an answer; what goes wrong is logged, and said if it can be."""
        try:
            await answer
            return
        except TelegramForbiddenError:  # blocked the bot, or put it out of the group
            return
        except AiogramError as error:
            log.error("an answer could not be sent: %s: %s", type(error).__name__, error)
        except Exception:
            log.exception("an answer failed")
        with contextlib.suppress(AiogramError):
            await bot(message.reply(FAILED))


@contextlib.asynccontextmanager
async def working(bot: Bot, message: Message) -> AsyncIterator[None]:
    """Within it the chat shows that the bot is about to send a file."""

    async def show() -> None:
        topic = message.message_thread_id if message.is_topic_message else None
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
