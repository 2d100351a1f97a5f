"""End a run on SIGTERM or Ctrl-C after saving it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from voc_builder.base.errors import Terminated
from voc_builder.base.progress import note


class Stop:
    """Whether the run was asked to end: by SIGTERM, as of a scheduler, or by Ctrl-C."""

    def __init__(self) -> None:
        self.waits = False  # whether it is checked after every step
        self._received: signal.Signals | None = None

    def __call__(self) -> bool:
        return self._received is not None

    def ask(self) -> None:
        """Asks the run to end, as SIGTERM does."""
        self._received = self._received or signal.SIGTERM

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A context in which the first signal is only recorded."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """A context that handles signals. Raises KeyboardInterrupt after Ctrl-C, `Terminated` after
        SIGTERM.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread gets signals
            return
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = {kind: signal.signal(kind, self._receive) for kind in kinds}
        try:
            yield
        except KeyboardInterrupt:
            if self._received is signal.SIGTERM:
                raise Terminated from None
            raise
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _receive(self, kind: int, frame: FrameType | None) -> None:
        first, self._received = self._received is None, signal.Signals(kind)
        if first and self.waits:
            note(f"{self._received.name}: this step is finished and saved first")
            return
        raise KeyboardInterrupt
