"""Find the image in a Telegram message, and the words that a Telegram bot answers with."""

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
FETCHED, GIVEN = 20 * MEGABYTE, 50 * MEGABYTE  # largest files that bots may download and send
CAPTION = 1024  # characters (Bot API, sendDocument)
CLASSES = 2000  # characters of class names in a text, which may have 4096
NAME = 60  # characters of a file name
IMAGE_SUFFIXES = (*SUFFIXES, ".webp", ".gif")
SILENT = {  # messages that Telegram itself puts into a private chat
    ContentType.CHAT_BACKGROUND_SET,
    ContentType.MESSAGE_AUTO_DELETE_TIMER_CHANGED,
    ContentType.PINNED_MESSAGE,
    ContentType.WRITE_ACCESS_ALLOWED,
}
HELP = """\
Send me a photo and I will send it back without its background, as a PNG file with transparency.

What I can find: {classes}.

• Send the photo as a file to keep its full size: Telegram shrinks what is sent as a photo.
• Albums are fine: every photo gets its own answer.
• Limits: files of {megabytes} MB, photos of {megapixels:g} megapixels, {waiting} photos at a time.
• I keep nothing: a photo is forgotten once it is answered."""
UNKNOWN_COMMAND = "I only know /start and /help. To cut something out, just send me a photo."
NO_PHOTO = "Sorry, I only work with photos. Please send me a photo, or an image as a file."
UNREADABLE = (
    "Sorry, I can't read this image: it may be damaged, or of a kind that I don't know. Please "
    "save it as JPEG or PNG and send it again."
)
TOO_MANY_PIXELS = (
    "This photo has {:.1f} megapixels, and I take {:g} at most. Please save it smaller, or send "
    "it as a photo instead of a file."
)
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
    """What the bot accepts."""

    megapixels: float  # per image
    waiting: int  # images per person
    queue: int  # images of all people together


@dataclass(frozen=True)
class Sent:
    """An image that somebody sent."""

    file_id: str
    size: int | None  # bytes, where Telegram says so
    name: str  # of the file that is sent back


def image_of(message: Message) -> Sent | None:
    """The image in a message, sent as a photo or as a file; None if there is none."""
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


def caption(fractions: Sequence[tuple[str, float]]) -> str:
    """A line per class in the image with its fraction of the area, the largest first; as many as
    fit into `CAPTION`.
    """
    found = sorted((pair for pair in fractions if pair[1]), key=lambda pair: -pair[1])
    lines = [f"{label}: {format_fraction(fraction)}" for label, fraction in found]
    for count in range(len(lines), 0, -1):
        rest = [f"and {len(lines) - count} more"] if count < len(lines) else []
        text = "\n".join([*lines[:count], *rest])
        if len(text.encode("utf-16-le")) <= 2 * CAPTION:  # Telegram counts UTF-16 units
            return text
    return ""


def help_text(classes: Sequence[str], limits: Limits) -> str:
    """Answer to `/help` from a bot that finds `classes`."""
    return HELP.format(
        classes=shorten(", ".join(classes), CLASSES, placeholder=" and more"),
        megabytes=FETCHED // MEGABYTE,
        megapixels=limits.megapixels,
        waiting=limits.waiting,
    )


def reply_to(message: Message, username: str | None, help_text: str) -> str | None:
    """Answer to a message without an image; None for no answer. In a group only the commands get
    one: people talk to each other there.
    """
    command = _command(message, username)
    if command in ("start", "help"):
        return f"Hello! {help_text}" if command == "start" else help_text
    if message.chat.type != ChatType.PRIVATE or message.content_type in SILENT:
        return None
    return NO_PHOTO if command is None else UNKNOWN_COMMAND


def _command(message: Message, username: str | None) -> str | None:
    """The command in a text: `help` for `/help@name and more`, "" for one to another bot, None for
    any other message.
    """
    if not (message.text or "").startswith("/"):
        return None
    command, _, named = (message.text or "").split()[0][1:].partition("@")
    to_us = not named or named.lower() == (username or "").lower()
    return command.lower() if to_us else ""


def too_large(size: int | None) -> str:
    """Answer to a file of so many bytes, or of an unknown number."""
    about = "" if size is None else f" of {size / MEGABYTE:.1f} MB"
    return TOO_LARGE.format(about, FETCHED // MEGABYTE)
