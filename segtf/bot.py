"""Run a Telegram bot that answers photos with the same photos without their background."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from segtf.inference.predictor import Mode, Predictor, Tta, open_predictor
from voc_builder.base.classes import has_background
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.types import Message, Update, User

    from segtf.services.telegram.conversation import Conversation

TOKEN = "SEGTF_BOT_TOKEN"  # environment variable
TOKEN_FORM = r"[0-9]+:[A-Za-z0-9_-]+"
WHENCE = "copy it from @BotFather on Telegram (/newbot makes a bot, /mybots shows its API token)"
UPDATES = ["message"]  # the kinds of updates that Telegram is asked for
STOPPING_SECONDS = 5  # for telling Telegram what has been read

log = logging.getLogger("segtf.bot")


@dataclass(frozen=True)
class BotConfig:
    """Answers photos sent to a Telegram bot with the same photos without their background, until
    Ctrl-C or SIGTERM. The environment variable SEGTF_BOT_TOKEN holds the bot's token, which
    @BotFather gives.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder that holds model.onnx."""
    api_url: str = "https://api.telegram.org"
    """Bot API server to talk to, such as http://localhost:8081 for one of your own."""
    megapixels: float = 25.0
    """Photos of more are refused before they are decoded; a photo takes some 50 bytes of memory a
    pixel."""
    waiting: int = 10
    """Photos that one person may have waiting."""
    queue: int = 100
    """Photos that all people together may have waiting."""
    mode: Mode = "auto"
    """Squeeze photos to the training size, or cut tiles of that size out of them as they are; auto:
    what training did."""
    tta: Tta = "none"
    """Also ask about the photo mirrored (flips), or mirrored and turned (d4), and take the mean."""
    threads: int = 0
    """CPU threads for the network, 0 for as many as onnxruntime likes."""


class LogFormatter(logging.Formatter):
    """A line a record, for what the Bot API sent may be quoted behind it; without the token, which
    is part of every address of the Bot API.
    """

    def __init__(self, token: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secret = token.partition(":")[2]

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).partition("\n")[0]

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace(self._secret, f"[{TOKEN}]")


def read_token() -> str:
    """The bot's token. Raises `UserError` if there is none or it cannot be one."""
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(f"the environment variable {TOKEN} must hold the bot's token: {WHENCE}")
    if not re.fullmatch(TOKEN_FORM, token):
        raise UserError(
            f"{TOKEN} holds no token, which is a number, a colon and letters, as in "
            f"123456789:AAExampleExample: {WHENCE}"
        )
    return token


def check(config: BotConfig) -> None:
    """Raises `UserError` for numbers and addresses that cannot be."""
    refuse_below_one(waiting=config.waiting, queue=config.queue)
    if not config.megapixels > 0:
        raise UserError(f"--megapixels takes a number above 0. Received: {config.megapixels}")
    if config.threads < 0:
        raise UserError(f"--threads takes 0 or more. Received: {config.threads}")
    try:
        parts = urlsplit(config.api_url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[^\s{}?#]+", config.api_url):
        raise UserError(
            "--api-url takes an address such as https://api.telegram.org. "
            f"Received: {config.api_url}"
        )


def open_cutter(config: BotConfig) -> Predictor:
    """The network that `config` names. Raises `UserError` if it knows no background."""
    predictor = open_predictor(
        [config.model], mode=config.mode, tta=config.tta, threads=config.threads
    )
    if not has_background(predictor.classes):
        raise UserError(
            f"{config.model}: no class is the background, class 0 is {predictor.classes[0]}: "
            "nothing can be cut out of it; export a network that was trained with a background"
        )
    return predictor


async def converse(bot: Bot, conversation: Conversation) -> None:
    """Answers what is sent to the bot until SIGTERM or SIGINT comes; returns when photos begun
    are answered. Raises `UserError` if the token is refused.
    """
    from aiogram import Dispatcher
    from aiogram.exceptions import AiogramError

    async def received(message: Message, event_update: Update) -> None:
        await conversation.begin(bot, message, event_update.update_id)

    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher.message.register(received)
    reaching = asyncio.create_task(reach(bot))
    loop = asyncio.get_running_loop()
    async with bot.session:
        for kind in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(kind, reaching.cancel)
        try:
            me = await reaching
        except asyncio.CancelledError:
            return
        print(f"@{me.username} answers photos; Ctrl-C ends it", flush=True)
        # one after another, as they are but begun: an album stays in its order; from here on
        # signals are the dispatcher's
        await dispatcher.start_polling(
            bot, handle_as_tasks=False, allowed_updates=UPDATES, close_bot_session=False
        )
        if conversation.last_update is not None:
            with contextlib.suppress(AiogramError):  # else they come again at the next start
                await bot.get_updates(
                    offset=conversation.last_update + 1,
                    limit=1,
                    timeout=0,
                    allowed_updates=UPDATES,
                    request_timeout=STOPPING_SECONDS,
                )
        await conversation.finish()


async def reach(bot: Bot) -> User:
    """The bot's own account, when the Bot API answers, and no webhook takes the updates away.
    Raises `UserError` if it refuses the token.
    """
    from aiogram.dispatcher.dispatcher import DEFAULT_BACKOFF_CONFIG
    from aiogram.exceptions import AiogramError, TelegramNotFound, TelegramUnauthorizedError
    from aiogram.utils.backoff import Backoff

    backoff = Backoff(DEFAULT_BACKOFF_CONFIG)
    while True:
        try:
            me = await bot.me()
            await bot.delete_webhook()
            return me
        except (TelegramUnauthorizedError, TelegramNotFound) as error:
            server = bot.session.api.base.partition("/bot{token}")[0]
            raise UserError(
                f"{server} refuses the token in {TOKEN} ({error.message}): {WHENCE}"
            ) from None
        except AiogramError as error:
            log.warning("no Bot API yet, trying again: %s: %s", type(error).__name__, error)
            await backoff.asleep()


def open_bot(api_url: str, token: str) -> Bot:
    """The client of a Bot API server."""
    from aiogram import Bot
    from aiogram.client.default import DefaultBotProperties
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    session = AiohttpSession(api=TelegramAPIServer.from_base(api_url))
    # a photo may be deleted before it is answered
    default = DefaultBotProperties(allow_sending_without_reply=True)
    return Bot(token, session=session, default=default)


async def _converse(config: BotConfig, token: str, predictor: Predictor) -> None:
    from segtf.services.telegram.conversation import Conversation
    from segtf.services.telegram.messages import Limits
    from segtf.services.telegram.photo import cut_photo

    limits = Limits(config.megapixels, config.waiting, config.queue)
    cut = partial(cut_photo, predictor, megapixels=config.megapixels)
    conversation = Conversation(cut, predictor.classes[1:], limits)
    await converse(open_bot(config.api_url, token), conversation)


def answer(config: BotConfig) -> None:
    """Runs the bot that `config` describes until it is told to end."""
    check(config)
    token = read_token()
    try:
        import aiogram  # noqa: F401
    except ImportError:
        raise UserError("the bot needs aiogram: pip install 'segtf[bot]'") from None
    lines = logging.StreamHandler()
    lines.setFormatter(LogFormatter(token))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    asyncio.run(_converse(config, token, open_cutter(config)))


def main() -> int:
    return run(answer, BotConfig, "python -m segtf.bot")


if __name__ == "__main__":
    sys.exit(main())
