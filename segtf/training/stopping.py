"""End a run when the system or the user asks for it, without losing what was trained."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from voc_builder.base.errors import Terminated
from voc_builder.base.progress import note


class Stop:
    """Whether somebody asked the run to end: a scheduler's SIGTERM, or Ctrl-C."""

    def __init__(self) -> None:
        self.waits = False  # somebody looks at this after every step
        self._received: signal.Signals | None = None

    def __call__(self) -> bool:
        return self._received is not None

    def ask(self) -> None:
        """Asks for it from within, as SIGTERM does from without."""
        self._received = self._received or signal.SIGTERM

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Within it a signal is only noted down, until the second one."""
        self.waits = True
        try:
            yield
        finally:
            self.waits = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Within it signals come here. Raises KeyboardInterrupt after Ctrl-C, `Terminated` after
        SIGTERM.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # Python gives signals to the main thread alone
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
