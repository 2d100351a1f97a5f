"""A headless Chromium for tests of pages: mouse, touch, keys and scripts."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DEADLINE = 60  # seconds
CODES = {"Tab": 9, "Enter": 13, "Escape": 27, "End": 35, "Home": 36}
CODES |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}


class Chromium:
    """One tab of a headless Chromium, controlled by the Chrome DevTools Protocol over two pipes."""

    def __init__(self, folder: Path) -> None:
        assert BROWSER
        (its_input, self._to), (self._from, its_output) = os.pipe(), os.pipe()
        # the browser reads from 3 and writes to 4: pass others, and move them in the child
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (its_input, its_output)]
        move = "import os, sys; a = sys.argv; os.dup2(int(a[1]), 3); os.dup2(int(a[2]), 4)"
        start = [sys.executable, "-S", "-c", f"{move}; os.execv(a[3], a[3:])", *map(str, ends)]
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        flags += ["--disable-background-networking", "--no-startup-window", "--no-first-run"]
        flags += [f"--user-data-dir={folder}"]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(
            [*start, BROWSER, *flags], pass_fds=ends, stdout=nowhere, stderr=nowhere
        )
        for fd in (its_input, its_output, *ends):
            os.close(fd)
        self._numbers = itertools.count()
        self._heard = b""
        self._session: dict[str, str] = {}
        self.errors: list[Any] = []  # thrown by scripts
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=tab, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        self.call("Runtime.enable")

    def call(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"])
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._heard:
            assert select.select([self._from], [], [], DEADLINE)[0], "Chromium does not answer"
            heard = os.read(self._from, 2**20)
            assert heard, "Chromium has ended"
            self._heard += heard
        message, _, self._heard = self._heard.partition(b"\0")
        return json.loads(message)

    def ask(self, script: str) -> Any:
        """The value of an expression or a promise."""
        told = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + DEADLINE
        while not self.ask(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def open(self, page: Path, state: str = "", width: int = 1000, dark: bool = False) -> None:
        """Open a page from disk."""
        self.go(f"{page.as_uri()}#{state}", width, dark)

    def go(self, address: str, width: int = 1000, dark: bool = False) -> None:
        sized = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **sized)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url="about:blank")  # a new fragment alone reloads nothing
        self.call("Page.navigate", url=address)
        self.wait("location.protocol !== 'about:' && document.readyState === 'complete'")
        # clicks before the first frame are dropped
        self.ask("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def press(self, *keys: str, shift: bool = False) -> None:
        for key in keys:
            enter = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
            for kind in ("keyDown", "keyUp"):
                named = {"key": key, "code": key, "windowsVirtualKeyCode": CODES.get(key, 0)}
                pressed = {**named, **(enter if kind == "keyDown" else {})}
                self.call("Input.dispatchKeyEvent", type=kind, modifiers=8 * shift, **pressed)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        for kind, (x, y) in (("Pressed", start), ("Moved", end), ("Released", end)):
            button = {"button": "left", "buttons": 1, "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **button)

    def touch(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        points = [[{"x": x, "y": y}] for x, y in (start, end)]
        for kind, at in (("Start", points[0]), ("Move", points[1]), ("End", [])):
            self.call("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=at)

    def click(self, element: str) -> None:
        """Click until the page handles it: a busy browser drops clicks before its first frame."""
        hears = (
            "addEventListener('click', () => { window.heard = true; }, {capture: true, once: true})"
        )
        self.ask(f"window.heard = false; {hears}; 0")
        end = time.monotonic() + DEADLINE
        while not self.ask("window.heard"):
            assert time.monotonic() < end, f"never clicked: {element}"
            x, y = self.middle(element)
            self.drag((x, y), (x, y))

    def middle(self, element: str) -> tuple[float, float]:
        """Centre of the first element of a CSS selector, in pixels of the window."""
        left, top, width, height = self.box(element)
        return left + width / 2, top + height / 2

    def box(self, element: str) -> list[float]:
        box = f"document.querySelector({json.dumps(element)}).getBoundingClientRect()"
        return self.ask(f"(b => [b.x, b.y, b.width, b.height])({box})")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(DEADLINE)
        os.close(self._to)
        os.close(self._from)


@contextmanager
def open_chromium(folder: Path) -> Iterator[Chromium]:
    """A browser that keeps its files in `folder`. Skips the test without Chromium, and fails it if
    a script has thrown.
    """
    if BROWSER is None:
        pytest.skip("there is no Chromium")
    browser = Chromium(folder)
    try:
        yield browser
    finally:
        browser.close()
    assert browser.errors == []
