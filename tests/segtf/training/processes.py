"""Help the tests of processes that train together: ports, configurations, waiting."""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from collections.abc import Callable

from segtf.run.config import TrainConfig


def free_port() -> int:
    """A port that is free, as is the one after it. Both are below those that the system gives to
    connections, one of which might take them before the test does.
    """
    while True:
        port = 20000 + 2 * secrets.randbelow(6000)
        with contextlib.suppress(OSError):
            for needed in (port, port + 1):
                socket.create_server(("", needed)).close()
            return port


def config(process: int, port: int, processes: int = 2) -> TrainConfig:
    """The settings of one of several processes."""
    return TrainConfig(
        backend="jax",
        processes=processes,
        process_id=process,
        coordinator=f"localhost:{port}",
        run="run",
        batch=processes,
    )


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    """Returns when the condition holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
