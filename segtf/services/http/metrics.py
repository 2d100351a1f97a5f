"""Metrics of the server for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Collection

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segtf.services.http.queue import Queue

CLIENT_GONE = 499  # nginx's status of a request whose client went away
OTHER = "other"  # label of all other paths, as there may be any number of them
MEDIA_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


class Metrics:
    """Metrics of one server."""

    def __init__(self, queue: Queue) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # memory, CPU seconds, open files
        self._requests = Counter(
            "segtf_requests",
            "Requests by path and status; 499: the client went away.",
            ("path", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "segtf_request_seconds",
            "Seconds from the headers of a request to the end of its answer.",
            ("path",),
            buckets=SECONDS,
            registry=registry,
        )
        self.in_flight = Gauge("segtf_in_flight", "Requests in work.", registry=registry)
        for name, text, value in (
            ("segtf_queue_length", "Images being sent or waiting.", lambda: queue.waiting),
            ("segtf_working", "Images in work.", lambda: queue.working),
        ):
            Gauge(name, text, registry=registry).set_function(value)
        self._batch = Histogram(
            "segtf_batch_images",
            "Resized images or tiles in one run of the network.",
            buckets=SIZES,
            registry=registry,
        )
        self._run_seconds = Histogram(
            "segtf_network_seconds",
            "Seconds of one run of the network.",
            buckets=SECONDS,
            registry=registry,
        )

    def count_run(self, images: int, seconds: float) -> None:
        """Counts a run of a network."""
        self._batch.observe(images)
        self._run_seconds.observe(seconds)

    def text(self) -> bytes:
        """Content of /metrics."""
        return generate_latest(self._registry)

    def count(self, path: str, status: int, seconds: float) -> None:
        """Counts a request at its end."""
        self._requests.labels(path, status).inc()
        self._seconds.labels(path).observe(seconds)


class CountRequests:
    """ASGI middleware that counts requests; `paths` are those of the application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, started = 500, time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with self.metrics.in_flight.track_inprogress():
                await self.app(scope, receive, noting)
        finally:
            path = scope["path"] if scope["path"] in self.paths else OTHER
            self.metrics.count(path, status, time.perf_counter() - started)
