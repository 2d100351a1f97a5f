"""Read the image of a request: the body or a field of a form, with limits of size and time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from segtf.services.http.errors import Refused
from voc_builder.base.errors import UserError
from voc_builder.pixels.untrusted import KINDS, NotAnImage, TooManyPixels, check_header

MEGABYTE = 10**6
SECONDS = 120  # that an upload may take
DRAIN_SECONDS, DRAIN = 5, 256 * MEGABYTE  # limits of what is read from a refused client
FIELD = "file"


class _Upload(Request):
    """A request of which at most `megabytes` are read, whatever its Content-Length says: Starlette
    limits the text fields of a form, but neither its files nor a body.
    """

    def __init__(self, request: Request, megabytes: int) -> None:
        super().__init__(request.scope, request.receive)
        self._request = request
        self._most = megabytes * MEGABYTE
        self._too_large = Refused(
            413,
            f"the upload is larger than {megabytes} MB: send a smaller image, or start the server "
            "with a higher --max-upload-mb",
        )

    async def stream(self) -> AsyncGenerator[bytes, None]:
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            raise self._too_large
        received = 0
        async for chunk in self._request.stream():
            received += len(chunk)
            if received > self._most:
                raise self._too_large
            yield chunk


async def read_image(request: Request, megabytes: int) -> bytes:
    """The encoded image in a request of at most `megabytes`. Raises `Refused`, and
    `ClientDisconnect` if the client goes away.
    """
    upload = _Upload(request, megabytes)
    is_form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    try:
        async with asyncio.timeout(SECONDS):
            encoded = await (_read_field(upload) if is_form else upload.body())
    except TimeoutError:
        raise Refused(408, f"the upload took longer than {SECONDS} s: send it again") from None
    if not encoded:
        raise Refused(422, f"no image was sent: send a {KINDS} as the body or as the field {FIELD}")
    return encoded


async def _read_field(upload: Request) -> bytes:
    try:
        async with upload.form(max_files=1, max_fields=16) as form:
            field = form.get(FIELD)
            if isinstance(field, UploadFile):
                return await field.read()
            received = ", ".join(form) or "none"
    except Refused:
        raise
    except HTTPException as error:
        raise Refused(422, f"the form cannot be read: {error.detail}") from None
    raise Refused(
        422,
        f"the form needs the image in the field {FIELD} (curl -F {FIELD}=@image.jpg). "
        f"Received fields: {received}",
    )


async def drain(request: Request) -> None:
    """Reads the rest of an upload, within limits, and drops it: a client that is cut off while it
    sends does not read the answer.
    """
    if request.headers.get("expect", "").lower() == "100-continue":
        return  # the client waits for permission to send
    left = DRAIN
    with contextlib.suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_SECONDS):
            async for chunk in request.stream():
                left -= len(chunk)
                if left < 0:
                    return


def count_pixels(encoded: bytes, megapixels: int) -> int:
    """Number of pixels of an encoded image by its header. Raises `Refused`."""
    try:
        return check_header(encoded, megapixels)
    except NotAnImage as error:
        raise Refused(415, str(error)) from None
    except TooManyPixels as error:
        raise Refused(413, f"{error}, or start the server with a higher --max-megapixels") from None
    except UserError as error:
        raise Refused(422, str(error)) from None
