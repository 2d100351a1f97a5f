"""Measure the server under load beside the bare network: python -m scripts.bench.serve

Clients on the same machine send images over HTTP; each answer is compared with the predictor's own,
and the server's memory is watched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import itertools
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
from numpy.typing import NDArray

from scripts.bench.measure import ROOT, Table, measure, write_colour_network
from segtf.inference.find_images import find_images
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import Predictor
from segtf.run.size import describe
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image, resize_image
from voc_builder.pixels.png import decode_mask, encode_mask

SIDE = 256  # pixels, of the network without weights
TIMEOUT = 60  # seconds
MEGABYTE = 10**6
WARM_UPS = 8  # at most


@dataclass(frozen=True)
class ServeBench:
    """Measure the server under load beside the bare network."""

    model: Path | None = None
    """ONNX file or run folder; null: a network without weights, to measure all but the network."""
    images: Path = Path("fishki_labelme")
    """Folder of images to send, again and again."""
    count: int = 20
    """Number of images taken from it."""
    requests: int = 400
    """Requests for each number of clients."""
    clients: tuple[int, ...] = (1, 4, 16)
    """Numbers of clients, each of which sends its next image as soon as it has an answer."""
    out: Path = Path("artifacts/bench_serve")
    """Folder for tables.md and figures.json."""


@dataclass
class Load:
    """What happened to a number of requests."""

    seconds: float = 0.0  # from the first to the last
    latencies: list[float] = field(default_factory=list)  # of answered requests, seconds
    lost: int = 0  # not answered with a mask
    wrong: int = 0  # pixels that differ from the predictor's

    def cells(self) -> tuple[str, ...]:
        """Answers per second, percentiles in milliseconds, lost requests and wrong pixels."""
        times = np.percentile(self.latencies, (50, 95, 99)) * 1000 if self.latencies else [0] * 3
        rate = f"{len(self.latencies) / self.seconds:.1f}"
        return (rate, *(f"{time:.1f}" for time in times), str(self.lost), str(self.wrong))


def bench_serve(config: ServeBench) -> None:
    """Measures, prints and writes. Raises `UserError`, also if a request is lost."""
    refuse_below_one(requests=config.requests, count=config.count)
    if not config.clients or min(config.clients) < 1:
        raise UserError(f"--clients takes numbers from 1 on. Received: {config.clients}")
    parts = {"serve": partial(measure_serve, config)}
    tables = measure(parts, "serve", config.out, ("onnxruntime",))
    lost = sum(load["lost"] for load in tables["serve"].figures["loads"].values())
    if lost:
        raise UserError(f"{lost} requests were lost")


def measure_serve(config: ServeBench, folder: Path) -> Table:
    """The network alone, the predictor alone, and the server with each number of clients."""
    path = config.model or write_colour_network(folder / "model.onnx", SIDE)
    images = [file.read_bytes() for file in find_images((config.images,))[: config.count]]
    model = OnnxModel(path)
    predictor, shape = Predictor([model]), model.info.shape

    def predict(image: bytes) -> NDArray[np.uint8]:
        return predictor.mask(decode_image(image, "image"))

    resized = [resize_image(decode_image(image, "image"), *shape)[None] for image in images]
    wanted = list(map(predict, images))
    note("serve: network and predictor alone")
    loads = {
        "network alone": one_by_one(resized, model.probabilities),
        "predictor alone": one_by_one(images, lambda image: encode_mask(predict(image))),
    }
    with server(path, max(config.clients)) as (address, process):
        load_with = partial(send, address, images, wanted, requests=config.requests)
        before = warm_up(process, partial(load_with, clients=max(config.clients)))
        for clients in config.clients:
            note(f"serve: {clients} clients")
            name = f"server, {clients} client{'s' * (clients > 1)}"
            loads[name] = load_with(clients=clients)
        after = process.memory_info().rss
    each = (after - before) / (len(config.clients) * config.requests)
    return Table(
        title=f"Serving with {model.info.arch} {model.info.encoder} at {describe(shape)}",
        columns=("", "images per second", "p50 ms", "p95 ms", "p99 ms", "lost", "wrong pixels"),
        rows=tuple((name, *load.cells()) for name, load in loads.items()),
        note=f"The server's memory: {before / MEGABYTE:.0f} MB after warming up, "
        f"{after / MEGABYTE:.0f} MB at the end ({each / 1000:+.1f} kB per request).",
        figures={
            "loads": {name: dataclasses.asdict(load) for name, load in loads.items()},
            "memory_before": before,
            "memory_after": after,
        },
    )


def one_by_one(inputs: Sequence[object], predict: Callable[..., object]) -> Load:
    """Each input three times, after a first call that is not counted."""
    predict(inputs[0])
    load, started = Load(), time.perf_counter()
    for each in [*inputs] * 3:
        begun = time.perf_counter()
        predict(each)
        load.latencies.append(time.perf_counter() - begun)
    load.seconds = time.perf_counter() - started
    return load


def send(
    address: str,
    images: Sequence[bytes],
    wanted: Sequence[NDArray[np.uint8]],
    *,
    clients: int,
    requests: int,
) -> Load:
    """Sends the images again and again from several clients at once, then compares the masks with
    the `wanted` ones.
    """
    numbers, load = itertools.count(), Load()
    answers: Counter[tuple[int, bytes]] = Counter()  # by image and content

    def one_client(_: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=TIMEOUT)
        while (number := next(numbers)) < requests:
            i = number % len(images)
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict?output=mask", images[i])
                answer = connection.getresponse()
                content, answered = answer.read(), answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                answered = False
            if answered:
                load.latencies.append(time.perf_counter() - started)
                answers[i, content] += 1
            else:
                load.lost += 1
        connection.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one_client, range(clients)))
    load.seconds = time.perf_counter() - started
    for (i, content), times in answers.items():
        load.wrong += times * int(np.count_nonzero(decode_mask(content) != wanted[i]))
    return load


def warm_up(process: psutil.Process, work: Callable[[], object]) -> int:
    """Memory of a process after work, bytes, repeated until less than a megabyte is added: the
    allocator keeps something for every thread, which takes some hundred requests.
    """
    work()
    before = process.memory_info().rss
    for _ in range(WARM_UPS):
        work()
        before, last = process.memory_info().rss, before
        if before - last < MEGABYTE:
            break
    return before


@contextlib.contextmanager
def server(path: Path, queue: int) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a server and its process. Raises `UserError` if it does not start, or does not
    end with exit code 0.
    """
    command = [sys.executable, "-m", "segtf.serve", str(path.resolve()), "--port", "0"]
    running = subprocess.Popen(
        [*command, "--queue", str(queue)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="locale",
        errors="backslashreplace",
    )
    try:
        assert running.stdout and running.stderr
        found = re.match(r"http://\S+", running.stdout.readline())
        if not found:
            raise UserError(f"the server did not start: {running.stderr.read()[-2000:]}")
        yield found[0], psutil.Process(running.pid)
        running.terminate()
        if running.wait(TIMEOUT):
            raise UserError(f"the server ended with {running.returncode}: {running.stderr.read()}")
    finally:
        running.kill()
        running.communicate()


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(bench_serve, ServeBench, "python -m scripts.bench.serve", argv)


if __name__ == "__main__":
    raise SystemExit(main())
