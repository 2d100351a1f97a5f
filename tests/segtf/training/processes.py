"""Help the tests of processes that train together: ports, configurations, waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from segtf.run.config import TrainConfig


def free_port() -> int:
    """A port that is free; the one after it mostly is too."""
    with socket.create_server(("localhost", 0)) as first:
        return int(first.getsockname()[1])


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


def wait_for(condition: Callable[[], object], seconds: float = 240) -> None:
    """Returns when the condition holds; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
