from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.bench.serve import main, send
from voc_builder.pixels.png import encode_mask

MASK = np.zeros((4, 6), np.uint8)


@contextmanager
def answering(*statuses: int) -> Iterator[str]:
    """A server that answers with these statuses in turn, and always with the same mask."""
    turns, lock = itertools.cycle(statuses), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                self.send_response(next(turns))
            self.end_headers()
            self.wfile.write(encode_mask(MASK))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_lost_requests_and_wrong_pixels_are_counted() -> None:
    other = MASK.copy()
    other[0, :3] = 1
    with answering(200, 429) as address:
        load = send(address, [b"a", b"b"], [MASK, other], clients=2, requests=12)
    assert (len(load.latencies), load.lost) == (6, 6)
    assert load.wrong % 3 == 0
    with answering(200) as address:
        load = send(address, [b"a", b"b"], [MASK, other], clients=3, requests=10)
    assert (len(load.latencies), load.lost, load.wrong) == (10, 0, 15)
    gone = send(address, [b"a"], [MASK], clients=2, requests=4)
    assert (gone.lost, gone.latencies) == (4, [])
    assert gone.cells()[-2:] == ("4", "0")


@pytest.mark.slow
def test_a_server_is_started_measured_and_ended(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in "ab":
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    argv = ["--images", str(tmp_path), "--out", str(tmp_path / "out"), "--requests", "20"]
    assert main([*argv, "--clients", "1", "4"]) == 0
    figures = json.loads((tmp_path / "out/figures.json").read_text(encoding="utf-8"))["serve"]
    loads = figures["loads"]
    assert list(loads) == [
        *("network alone", "predictor alone", "server, 1 client", "server, 4 clients")
    ]
    assert [len(load["latencies"]) for load in loads.values()] == [6, 6, 20, 20]
    assert not any(load["lost"] or load["wrong"] for load in loads.values())
    assert figures["memory_after"] > 2**20
    assert main([*argv, "--clients", "0"]) == 2
