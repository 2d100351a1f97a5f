"""Take an image out of a request: of bounded size, whole, and looked at before it is decoded."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator

from PIL import Image, UnidentifiedImageError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from voc_builder.pixels.images import quiet_pillow

MEGABYTE, MEGAPIXEL = 10**6, 10**6
SECONDS = 120  # that an upload may take
DRAIN_SECONDS, DRAIN = 5, 256 * MEGABYTE  # what is still taken of a refused one at most
FIELD = "file"
# what an image may be, as Pillow names it; each is decoded by OpenCV too
FORMATS = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "TIFF": "TIFF", "BMP": "BMP", "GIF": "GIF"}
KINDS = "JPEG, PNG, WebP, TIFF, BMP or GIF"


class Refused(Exception):
    """A request that gets an error for an answer: the status, and one sentence."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers or {}


async def read_image(request: Request, megabytes: int) -> bytes:
    """The image that a request brings: its body, or the field `file` of a form. No more than
    `megabytes` are read, whatever the request says of its length. Raises `Refused`, or
    `ClientDisconnect` if the client goes away.
    """
    body = await _read_body(request, megabytes)
    if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        body = await _field(request, body)
    if not body:
        raise Refused(422, f"no image was sent: send a {KINDS} as the body or as the field {FIELD}")
    return body


async def _read_body(request: Request, megabytes: int) -> bytes:
    most = megabytes * MEGABYTE
    too_large = Refused(
        413,
        f"the upload is larger than {megabytes} MB: send a smaller image, or start the server "
        "with a higher --max-upload-mb",
    )
    told = request.headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise Refused(408, f"the upload took longer than {SECONDS} s: send it again") from None
    return bytes(body)


async def drain(request: Request) -> None:
    """Takes and drops what a refused client is still sending, within bounds: one that is cut off
    while it sends does not read why.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # it asks before it sends, and what is sent then is no more than buffers hold
    left = DRAIN
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


async def _field(request: Request, body: bytes) -> bytes:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=16)
    parser.spool_max_size = len(body) + 1  # stays in memory, where the body is already
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refused(422, f"the form cannot be read: {_lower(error.message)}") from None
    field = form.get(FIELD)
    if not isinstance(field, UploadFile):
        named = ", ".join(form) or "none"
        raise Refused(
            422,
            f"the form needs the image in the field {FIELD} (curl -F {FIELD}=@photo.jpg). "
            f"Received fields: {named}",
        )
    return await field.read()


def image_size(encoded: bytes, megapixels: int) -> tuple[int, int]:
    """Width and height by the image's header, before it is turned as its EXIF says; nothing is
    decoded. Raises `Refused` for what is no image and for one of too many pixels.
    """
    quiet_pillow()
    Image.init()  # else it knows the commonest formats alone
    try:
        with Image.open(io.BytesIO(encoded), formats=list(FORMATS)) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise Refused(415, f"what was sent is no image that can be read: send a {KINDS}") from None
    except Exception as error:  # whatever a broken header makes of Pillow
        reason = _lower(" ".join(str(error).split()))
        raise Refused(422, f"the image is damaged or cut short: {reason}") from None
    if width * height > megapixels * MEGAPIXEL:
        raise Refused(
            413,
            f"the image has {width} x {height} pixels, more than {megapixels} megapixels: send a "
            "smaller one, or start the server with a higher --max-megapixels",
        )
    return width, height


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
