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

from segtf.inference.onnx_model import find_model
from segtf.inference.predictor import Mode, Predictor, Tta, open_predictor
from voc_builder.base.classes import has_background
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one

if TYPE_CHECKING:
    from aiogram import Bot
    from aiogram.types import Message, Update, User

    from segtf.services.telegram.conversation import Conversation

TOKEN = "SEGTF_BOT_TOKEN"  # environment variable
TOKEN_HELP = (
    "copy it from @BotFather in Telegram (/newbot makes a bot, /mybots shows its API token)"
)
UPDATES = ["message"]  # kinds of updates that the bot asks Telegram for
STOPPING_SECONDS = 5  # to confirm to Telegram which updates were read

log = logging.getLogger("segtf.bot")


@dataclass(frozen=True)
class BotConfig:
    """Answers photos sent to a Telegram bot with the same photos without their background, until
    Ctrl-C or SIGTERM. The environment variable SEGTF_BOT_TOKEN must hold the bot's token from
    @BotFather.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder that holds model.onnx."""
    api_url: str = "https://api.telegram.org"
    """URL of the Bot API server, such as http://localhost:8081 for one of your own."""
    megapixels: float = 25.0
    """Largest photo; larger ones are refused by their header. A photo takes about 50 bytes of
    memory per pixel."""
    waiting: int = 10
    """Photos that one person may have waiting."""
    queue: int = 100
    """Photos that all people together may have waiting."""
    mode: Mode = "auto"
    """Resize photos to the training size, or cut tiles of that size; auto: as in training."""
    tta: Tta = "none"
    """Test-time augmentation: mean over the mirrored image (flips), or also over its quarter turns
    (d4)."""
    threads: int = 0
    """CPU threads for the network; 0: chosen by onnxruntime."""


class LogFormatter(logging.Formatter):
    """Cuts messages to one line, as the content of messages from Telegram may follow, and hides the
    token, which is part of every URL of the Bot API.
    """

    def __init__(self, token: str) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")
        self._secret = token.partition(":")[2]

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).partition("\n")[0]

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace(self._secret, f"[{TOKEN}]")


def answer(config: BotConfig) -> None:
    """Runs the bot until SIGTERM or Ctrl-C. Raises `UserError`."""
    check(config)
    token = read_token()
    find_model(config.model)  # before imports that take long
    try:
        import aiogram  # noqa: F401
    except ImportError:
        raise UserError("the bot needs aiogram: pip install 'segtf[bot]'") from None
    lines = logging.StreamHandler()
    lines.setFormatter(LogFormatter(token))
    logging.basicConfig(level=logging.WARNING, handlers=[lines])
    asyncio.run(_converse(config, token, open_cutter(config)))


def check(config: BotConfig) -> None:
    """Raises `UserError` for a flag with a value that is out of range."""
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
            f"--api-url takes a URL such as https://api.telegram.org. Received: {config.api_url}"
        )


def read_token() -> str:
    """The bot's token from the environment. Raises `UserError` if it is missing or malformed."""
    token = os.environ.get(TOKEN, "").strip()
    if not re.fullmatch(r"[0-9]+:[A-Za-z0-9_-]+", token):
        raise UserError(
            f"the environment variable {TOKEN} must hold the bot's token, such as "
            f"123456789:AAExampleExample: {TOKEN_HELP}"
        )
    return token


def open_cutter(config: BotConfig) -> Predictor:
    """The network of `config`. Raises `UserError` if it has no background class."""
    predictor = open_predictor(
        [config.model], mode=config.mode, tta=config.tta, threads=config.threads
    )
    if not has_background(predictor.classes):
        raise UserError(
            f"{config.model}: no class is the background, class 0 is {predictor.classes[0]}: "
            "nothing can be cut out; export a network that was trained with a background"
        )
    return predictor


def open_bot(api_url: str, token: str) -> Bot:
    """The client of a Bot API server."""
    from aiogram import Bot
    from aiogram.client.default import DefaultBotProperties
    from aiogram.client.session.aiohttp import AiohttpSession
    from aiogram.client.telegram import TelegramAPIServer

    session = AiohttpSession(api=TelegramAPIServer.from_base(api_url))
    # the sender may delete a message before it is answered
    default = DefaultBotProperties(allow_sending_without_reply=True)
    return Bot(token, session=session, default=default)


async def converse(conversation: Conversation) -> None:
    """Answers the bot's messages until SIGTERM or SIGINT, then finishes the images in work. Raises
    `UserError` if the server refuses the token.
    """
    from aiogram import Dispatcher
    from aiogram.exceptions import AiogramError

    bot = conversation.bot

    async def received(message: Message, event_update: Update) -> None:
        await conversation.begin(message, event_update.update_id)

    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher.message.register(received)
    connecting = asyncio.create_task(connect(bot))
    loop = asyncio.get_running_loop()
    async with bot.session:
        for kind in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows
                loop.add_signal_handler(kind, connecting.cancel)
        try:
            me = await connecting
        except asyncio.CancelledError:
            return
        print(f"@{me.username} answers photos; Ctrl-C ends it", flush=True)
        # sequentially, so that an album keeps its order; replaces the signal handlers above
        await dispatcher.start_polling(
            bot, handle_as_tasks=False, allowed_updates=UPDATES, close_bot_session=False
        )
        if conversation.last_update is not None:
            with contextlib.suppress(AiogramError):  # then they come again at the next start
                await bot.get_updates(
                    offset=conversation.last_update + 1,
                    limit=1,
                    timeout=0,
                    allowed_updates=UPDATES,
                    request_timeout=STOPPING_SECONDS,
                )
        await conversation.finish()


async def connect(bot: Bot) -> User:
    """The bot's account as soon as the Bot API answers; removes a webhook, which would take the
    updates. Raises `UserError` if the server refuses the token.
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
                f"{server} refuses the token in {TOKEN} ({error.message}): {TOKEN_HELP}"
            ) from None
        except AiogramError as error:
            log.warning("no Bot API yet, trying again: %s: %s", type(error).__name__, error)
            await backoff.asleep()


async def _converse(config: BotConfig, token: str, predictor: Predictor) -> None:
    from segtf.services.telegram.conversation import Conversation
    from segtf.services.telegram.cutout import cut_image
    from segtf.services.telegram.messages import Limits

    limits = Limits(config.megapixels, config.waiting, config.queue)
    cut = partial(cut_image, predictor, megapixels=config.megapixels)
    bot = open_bot(config.api_url, token)
    await converse(Conversation(bot, cut, predictor.classes[1:], limits))


def main() -> int:
    return run(answer, BotConfig, "python -m segtf.bot")


if __name__ == "__main__":
    sys.exit(main())
