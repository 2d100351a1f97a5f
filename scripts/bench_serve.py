"""Measure the server under load beside the bare network: python -m scripts.bench_serve

Starts a server of its own, sends images from several clients at once over HTTP, compares every
answer with the predictor's own and watches the server's memory. Prints a Markdown table and writes
`bench_serve.md` and `bench_serve.json`. The clients take their share of the same cores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
from numpy.typing import NDArray

from scripts.bench_table import Table, describe_machine, write_tables
from segtf.inference.find_images import find_images
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import Predictor
from segtf.run.size import describe
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image, resize_image
from voc_builder.pixels.png import decode_mask, encode_mask

ROOT = Path(__file__).resolve().parents[1]
TINY = 256  # pixels; the side that the network without weights sees
TIMEOUT = 60  # seconds that an answer may take
MEGABYTE = 10**6
STILL = MEGABYTE  # bytes; less growth than that is none
WARM_UPS = 8


@dataclass(frozen=True)
class BenchConfig:
    """Measure the server under load beside the bare network."""

    model: Path | None = None
    """ONNX file or run folder; null: a network without weights, drawn on the spot, so that all but
    the network is measured."""
    images: Path = Path("fishki_labelme")
    """Folder of images that are sent, one after the other and again from the first."""
    out: Path = Path("artifacts/bench_serve")
    """Folder for bench_serve.md and bench_serve.json."""
    requests: int = 400
    """Requests for each number of clients."""
    clients: tuple[int, ...] = (1, 4, 16)
    """Clients that ask at the same time, each for its next image as soon as it is answered."""
    count: int = 20
    """Images, of those that are found."""
    threads: int = 0
    """CPU threads for the network, 0 for as many as onnxruntime likes."""


@dataclass
class Load:
    """What became of some requests."""

    seconds: float = 0.0  # from the first to the last
    latencies: list[float] = field(default_factory=list)  # of those that were answered, seconds
    lost: int = 0  # not answered, or not with a mask
    wrong: int = 0  # pixels that are not what the predictor says

    def cells(self) -> tuple[str, ...]:
        """Answers a second, percentiles in milliseconds, lost requests and wrong pixels."""
        times = np.percentile(self.latencies, (50, 95, 99)) * 1000 if self.latencies else [0] * 3
        rate = f"{len(self.latencies) / self.seconds:.1f}"
        return (rate, *(f"{time:.1f}" for time in times), str(self.lost), str(self.wrong))


def bench_serve(config: BenchConfig) -> None:
    """Measures, prints and writes. Raises `UserError`, also if a request is lost."""
    refuse_below_one(requests=config.requests, count=config.count)
    if not config.clients or min(config.clients) < 1:
        raise UserError(f"--clients takes numbers from 1 on. Received: {config.clients}")
    machine = describe_machine(("onnxruntime",))
    with tempfile.TemporaryDirectory() as folder:
        path = config.model or _tiny(Path(folder))
        table = measure_serve(config, path)
    print(f"{machine}\n\n{table.markdown()}")
    write_tables(config.out, "bench_serve", machine, {"serve": table})
    if table.figures["lost"]:
        raise UserError(f"{table.figures['lost']} requests were lost")


def _tiny(folder: Path) -> Path:
    from tests.segtf.tiny_onnx import INFO, write_channels_model

    info = dataclasses.replace(INFO, shape=(TINY, TINY))
    return write_channels_model(folder / "tiny.onnx", info=info)


def measure_serve(config: BenchConfig, path: Path) -> Table:
    """The network alone, the predictor alone, and the server with each number of clients."""
    photos = [file.read_bytes() for file in find_images((config.images,))[: config.count]]
    model = OnnxModel(path, threads=config.threads)
    predictor = Predictor([model])
    wanted = [_mask(predictor, image) for image in photos]
    note("serve: network and predictor alone")
    loads = {
        "network alone, one by one": _alone(_squeezed(model, photos), model.probabilities),
        "predictor alone, one by one": _alone(photos, lambda image: _png(predictor, image)),
    }
    with _server(path, config) as (address, process):
        before = _warm_up(
            lambda: ask(
                address,
                photos,
                wanted,
                clients=max(config.clients),
                requests=max(config.requests, *config.clients),
            ),
            lambda: process.memory_info().rss,
        )
        for clients in config.clients:
            note(f"serve: {clients} clients")
            load = ask(address, photos, wanted, clients=clients, requests=config.requests)
            loads[f"server, {clients} client{'s' * (clients > 1)}"] = load
        after = process.memory_info().rss
        images = _images_a_run(address)
    return serve_table(model, loads, (before, after), images)


def _warm_up(work: Callable[[], object], memory: Callable[[], int]) -> int:
    """The memory after work, bytes, done again until it stands still: the allocator keeps something
    for every thread, which some hundred requests bring about. Memory that grows on is told of by
    what is measured afterwards.
    """
    work()
    before = memory()
    for _ in range(WARM_UPS):
        work()
        after = memory()
        if after - before < STILL:
            return after
        before = after
    return before


def serve_table(
    model: OnnxModel, loads: dict[str, Load], memory: tuple[int, int], images: float
) -> Table:
    """`memory` is the server's after warming up and at the end, bytes; `images` how many the
    network saw in a run, in the mean.
    """
    before, after = memory
    served = [load for name, load in loads.items() if name.startswith("server")]
    lost, wrong = (sum(getattr(load, kind) for load in served) for kind in ("lost", "wrong"))
    answered = sum(len(load.latencies) for load in served)
    growth = after - before
    info = model.info
    return Table(
        f"Serving with {info.arch} {info.encoder} at {describe(info.shape)}",
        ("", "images a second", "p50 ms", "p95 ms", "p99 ms", "lost", "wrong pixels"),
        tuple((name, *load.cells()) for name, load in loads.items()),
        f"{answered} answered, {lost} lost, {wrong} pixels other than the predictor's. The network "
        f"saw {images:.1f} images a run. The server's memory: {before / MEGABYTE:.0f} MB after "
        f"warming up, {after / MEGABYTE:.0f} MB at the end ({growth / MEGABYTE:+.1f} MB, "
        f"{growth / max(answered, 1) / 1000:+.1f} kB a request).",
        {
            "loads": {name: dataclasses.asdict(load) for name, load in loads.items()},
            "lost": lost,
            "wrong_pixels": wrong,
            "memory_before": before,
            "memory_after": after,
            "images_a_run": images,
        },
    )


def ask(
    address: str,
    images: Sequence[bytes],
    wanted: Sequence[NDArray[np.uint8]],
    *,
    clients: int,
    requests: int,
) -> Load:
    """Sends the images again and again from several clients at once, and compares the masks with
    the `wanted` ones when all is over.
    """
    numbers, load = itertools.count(), Load()
    found: dict[tuple[int, bytes], int] = {}  # how often an answer came, by its image

    def one_client(_: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=TIMEOUT)
        while (number := next(numbers)) < requests:
            i = number % len(images)
            started = time.perf_counter()
            try:
                connection.request("POST", "/predict?output=mask", images[i])
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()
                load.lost += 1
                continue
            if answer.status != 200:
                load.lost += 1
                continue
            load.latencies.append(time.perf_counter() - started)
            found[i, content] = found.get((i, content), 0) + 1
        connection.close()

    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one_client, range(clients)))
    load.seconds = time.perf_counter() - started
    for (i, content), times in found.items():
        load.wrong += times * int(np.count_nonzero(decode_mask(content) != wanted[i]))
    return load


def _alone(inputs: Sequence[object], answer: Callable[..., object]) -> Load:
    """Each input answered three times, after a first answer that does not count."""
    answer(inputs[0])
    load, started = Load(), time.perf_counter()
    for one in [*inputs] * 3:
        begun = time.perf_counter()
        answer(one)
        load.latencies.append(time.perf_counter() - begun)
    load.seconds = time.perf_counter() - started
    return load


def _squeezed(model: OnnxModel, images: Sequence[bytes]) -> list[NDArray[np.uint8]]:
    shape = model.info.shape
    return [resize_image(decode_image(image, "photo"), *shape)[None] for image in images]


def _mask(predictor: Predictor, image: bytes) -> NDArray[np.uint8]:
    return predictor.mask(decode_image(image, "photo"))


def _png(predictor: Predictor, image: bytes) -> bytes:
    return encode_mask(_mask(predictor, image))


@contextlib.contextmanager
def _server(path: Path, config: BenchConfig) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a server, and its process. Raises `UserError` with what it said if it does
    not start, or does not end in order.
    """
    command = [sys.executable, "-m", "segtf.serve", str(path.resolve()), "--port", "0"]
    command += ["--threads", str(config.threads), "--queue", str(max(config.clients))]
    running = subprocess.Popen(
        command,
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


def _images_a_run(address: str) -> float:
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=TIMEOUT)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    numbers = dict(re.findall(r"^segtf_batch_images_(sum|count) (\S+)$", text, re.M))
    connection.close()
    return float(numbers["sum"]) / float(numbers["count"])


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(bench_serve, BenchConfig, "python -m scripts.bench_serve", argv)


if __name__ == "__main__":
    raise SystemExit(main())
