"""Errors that a client gets as a status code and one sentence."""

from __future__ import annotations

from starlette.exceptions import HTTPException


class Refused(HTTPException):
    """A request that is not answered: the status code and the reason."""


class QueueFull(Refused):
    """No place is free; one may be in `retry_after` seconds."""

    def __init__(self, places: int, retry_after: int) -> None:
        super().__init__(
            429,
            f"{places} images are being sent, waiting or in work: try again in {retry_after} s",
            {"Retry-After": str(retry_after)},
        )
        self.retry_after = retry_after
