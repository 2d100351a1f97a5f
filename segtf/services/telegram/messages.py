"""Read what a message brings to a Telegram bot, and say in words what it has to say.

Needs aiogram, as `segtf.services.telegram.conversation` does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

from aiogram.enums import ChatType, ContentType
from aiogram.types import Message

from voc_builder.pixels.images import SUFFIXES
from voc_builder.pixels.overlay import format_fraction

MEGABYTE = 2**20
FETCHED, GIVEN = 20 * MEGABYTE, 50 * MEGABYTE  # the most that bots may download and send
CAPTION = 1024  # characters (Bot API, sendDocument)
CLASSES = 2000  # characters of the names of classes in a text, which may have 4096
NAME = 60  # characters of a file's name that are kept
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
    lines = [f"{label}: {format_fraction(share)}" for label, share in found]
    for count in range(len(lines), 0, -1):
        rest = [f"and {len(lines) - count} more"] if count < len(lines) else []
        caption = "\n".join([*lines[:count], *rest])
        if len(caption.encode("utf-16-le")) <= 2 * CAPTION:  # as Telegram counts
            return caption
    return ""


def help_text(classes: Sequence[str], limits: Limits) -> str:
    """What `/help` tells of a bot that finds `classes`."""
    return HELP.format(
        classes=shorten(", ".join(classes), CLASSES, placeholder=" and more"),
        megabytes=FETCHED // MEGABYTE,
        megapixels=limits.megapixels,
        waiting=limits.waiting,
    )


def words_for(message: Message, username: str | None, help_text: str) -> str | None:
    """What is said to a message without an image. In a group that is nothing but help: people talk
    to each other there.
    """
    command = command_of(message, username)
    if command in ("start", "help"):
        return f"Hello! {help_text}" if command == "start" else help_text
    if message.chat.type != ChatType.PRIVATE or message.content_type in SILENT:
        return None
    if command is not None:
        return UNKNOWN_COMMAND
    return NO_PHOTO.format(KINDS.get(ContentType(message.content_type), "this"))


def too_large(size: int | None) -> str:
    """The words for a file of so many bytes, or of nobody knows how many."""
    about = "" if size is None else f" of {size / MEGABYTE:.1f} MB"
    return TOO_LARGE.format(about, FETCHED // MEGABYTE)
