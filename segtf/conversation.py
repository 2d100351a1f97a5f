"""Answer what people send to a Telegram bot: a photo with itself without its background.

Needs aiogram, so nothing but `segtf.bot` imports this module, and that only when it starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from aiogram import Bot
from aiogram.enums import ChatAction, ChatType, ContentType
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

from segtf.bot_photo import CutPhoto, Refused
from voc_builder.images import SUFFIXES
from voc_builder.overlay import format_share

Answer = TypeVar("Answer")

MEGABYTE = 2**20
FETCHED, GIVEN = 20 * MEGABYTE, 50 * MEGABYTE  # the most that bots may download and send
CAPTION = 1024  # characters (Bot API, sendDocument)
NAME = 60  # characters of a file's name that are kept
ACTION_SECONDS = 4.5  # Telegram shows that the bot works for five
PAUSES = (1.0, 3.0, 9.0)  # seconds before a request that failed is made again
LONGEST_PAUSE = 60  # seconds that Telegram may ask for
UPLOAD_SECONDS = 300
PASSING = (TelegramNetworkError, TelegramServerError, ClientDecodeError, ClientError, TimeoutError)
IMAGE_SUFFIXES = (*SUFFIXES, ".webp", ".gif")
SILENT = {  # what Telegram itself puts into a private chat
    ContentType.CHAT_BACKGROUND_SET,
    ContentType.MESSAGE_AUTO_DELETE_TIMER_CHANGED,
    ContentType.PINNED_MESSAGE,
    ContentType.WRITE_ACCESS_ALLOWED,
}
KINDS = {
    ContentType.ANIMATION: "GIFs",
    ContentType.AUDIO: "audio files",
    ContentType.DOCUMENT: "files that are not images",
    ContentType.STICKER: "stickers",
    ContentType.TEXT: "text messages",
    ContentType.VIDEO: "videos",
    ContentType.VIDEO_NOTE: "video messages",
    ContentType.VOICE: "voice messages",
}

HELP = """\
Send me a photo and I will send it back without its background, as a PNG file with transparency.

What I can find: {classes}.

• Send the photo as a file to keep its full size: Telegram shrinks what is sent as a photo.
• Albums are fine: every photo gets its own answer.
• Limits: files of {megabytes} MB, photos of {megapixels:g} megapixels, {waiting} photos at a time.
• I keep nothing: a photo is forgotten once it is answered."""
HELLO = "Hello! " + HELP
UNKNOWN_COMMAND = "I only know /start and /help. To cut something out, just send me a photo."
NO_PHOTO = "Sorry, I can't do anything with {}. Please send me a photo, or an image as a file."
TOO_MANY = (
    "You already have {} photos waiting. Please send this one again when they have been answered."
)
BUSY = "Too many photos are waiting right now. Please send this one again in a few minutes."
TOO_LARGE = (
    "This file{} is too large: Telegram lets bots fetch {} MB at most. Please save it smaller, or "
    "send it as a photo instead of a file."
)
TOO_LARGE_RESULT = (
    "The result has {:.0f} MB, but Telegram lets bots send {} MB at most. Please send a smaller "
    "photo."
)
UNFETCHED = "Sorry, I could not get this photo from Telegram. Please send it again."
FAILED = "Sorry, something went wrong on my side. Please try again later."
RESTARTING = "I am being restarted. Please send this photo again in a minute."
NOTHING = "I found nothing but background in this photo, so there is nothing to cut out."

log = logging.getLogger("segtf.bot")


@dataclass(frozen=True)
class Limits:
    """What is refused."""

    megapixels: float  # of a photo
    waiting: int  # photos of one person
    queue: int  # photos of all people together


@dataclass(frozen=True)
class Sent:
    """An image that somebody sent."""

    file_id: str
    size: int | None  # bytes, where Telegram says so
    name: str  # of the file that goes back


def image_of(message: Message) -> Sent | None:
    """The image that a message brings, as a photo or as a file; None if it brings none."""
    if message.photo:
        largest = max(message.photo, key=lambda size: size.width * size.height)
        return Sent(largest.file_id, largest.file_size, "cutout.png")
    document = message.document
    if message.content_type != ContentType.DOCUMENT or document is None:
        return None
    name = Path(document.file_name or "photo")
    mime = document.mime_type or ""
    if not mime.startswith("image/") and name.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    stem = re.sub(r"[^\w .()-]", "_", name.stem)[:NAME]
    return Sent(document.file_id, document.file_size, f"{stem}_cutout.png")


def command_of(message: Message, username: str | None) -> str | None:
    """The command that a text is: `help` of `/help@name and more`; "" of one to another bot, None
    of any other message.
    """
    if not (message.text or "").startswith("/"):
        return None
    command, _, named = (message.text or "").split()[0][1:].partition("@")
    to_us = not named or named.lower() == (username or "").lower()
    return command.lower() if to_us else ""


def describe(shares: Sequence[tuple[str, float]]) -> str:
    """The caption: the share of each class that is there, the largest first; as many as fit."""
    found = sorted(((label, share) for label, share in shares if share), key=lambda one: -one[1])
    lines = [f"{label}: {format_share(share)}" for label, share in found]
    for count in range(len(lines), 0, -1):
        rest = [f"and {len(lines) - count} more"] if count < len(lines) else []
        caption = "\n".join([*lines[:count], *rest])
        if len(caption.encode("utf-16-le")) <= 2 * CAPTION:  # as Telegram counts
            return caption
    return ""


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
        self._facts = {
            "classes": ", ".join(classes),
            "megabytes": FETCHED // MEGABYTE,
            "megapixels": limits.megapixels,
            "waiting": limits.waiting,
        }
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
            words = self._words(message, username)
            return self._say(bot, message, words) if words else None
        person = message.from_user.id if message.from_user else message.chat.id
        if self._waiting[person] >= self._limits.waiting:
            return self._say(bot, message, TOO_MANY.format(self._limits.waiting))
        if self._waiting.total() >= self._limits.queue:
            return self._say(bot, message, BUSY)
        self._waiting[person] += 1
        return self._in_turn(bot, message, sent, person)

    def _words(self, message: Message, username: str | None) -> str | None:
        """What is said to a message without an image. In a group that is nothing but help: people
        talk to each other there.
        """
        command = command_of(message, username)
        if command in ("start", "help"):
            return (HELLO if command == "start" else HELP).format(**self._facts)
        if message.chat.type != ChatType.PRIVATE or message.content_type in SILENT:
            return None
        if command is not None:
            return UNKNOWN_COMMAND
        return NO_PHOTO.format(KINDS.get(ContentType(message.content_type), "this"))

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
                raise Refused(_too_large(sent.size))
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
                raise Refused(_too_large(sent.size)) from None
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


def _too_large(size: int | None) -> str:
    about = "" if size is None else f" of {size / MEGABYTE:.1f} MB"
    return TOO_LARGE.format(about, FETCHED // MEGABYTE)
