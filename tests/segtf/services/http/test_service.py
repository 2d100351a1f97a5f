"""Clients that go away; health, metrics, the description of the service and its page."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import ClientDisconnect, Request

from segtf.services.http.answer import Wanted
from segtf.services.http.config import ServeConfig
from segtf.services.http.service import Service
from tests.segtf.services.http.serving import CLASSES, DEADLINE, PNG, client_of, write_model


async def ask_and_leave(service: Service) -> None:
    """Sends an image and goes away."""
    messages = [{"type": "http.request", "body": PNG}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    await service.answer(Request(scope, receive), Wanted())


def test_the_work_for_a_client_that_goes_away_ends(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service([model], ServeConfig(model, batch=1, queue=8))
    go_on = threading.Event()
    rows_read: list[int] = []

    def slow(image: Any) -> Any:
        assert go_on.wait(DEADLINE)
        for row in range(2):
            rows_read.append(row)
            image[row : row + 1]

    monkeypatch.setattr(service.predictor, "strips", slow)

    async def all_leave() -> list[Any]:
        working = [asyncio.ensure_future(ask_and_leave(service)) for _ in range(2)]
        while service.queue.working < 2:
            await asyncio.sleep(0.01)
        waiting = [asyncio.ensure_future(ask_and_leave(service)) for _ in range(2)]
        left = await asyncio.gather(*waiting, return_exceptions=True)
        assert (service.queue.waiting, service.queue.working) == (0, 2)
        go_on.set()
        return left + await asyncio.gather(*working, return_exceptions=True)

    left = asyncio.run(all_leave())
    assert [type(error) for error in left] == [ClientDisconnect] * 4
    assert rows_read == [0, 0]  # each of the two stops at its first row
    assert (service.queue.taken, service.queue.working) == (0, 0)
    service.close()


def wait_until_ready(client: TestClient) -> dict[str, Any]:
    end = time.monotonic() + DEADLINE
    while (health := client.get("/health")).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.01)
    return health.json()


def test_health_is_ready_after_the_warm_up(model: Path) -> None:
    client = client_of(ServeConfig(model))
    before = client.get("/health")  # the application has not been started
    assert (before.status_code, before.json()["status"]) == (503, "unready")
    with client:
        after = wait_until_ready(client)
    assert (after["status"], after["models"][0]["file"]) == ("ready", "model.onnx")
    assert after["version"] == client.get("/openapi.json").json()["info"]["version"]


def test_metrics_count_requests_batches_and_memory(model: Path) -> None:
    with client_of(ServeConfig(model)) as client:
        wait_until_ready(client)
        for content in (PNG, PNG, b"no image"):
            client.post("/predict", content=content)
        for path in ("/a", "/b"):
            client.get(path)
        found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    lines = dict(line.rsplit(" ", 1) for line in found.text.splitlines() if line[0] != "#")
    assert lines['segtf_requests_total{path="/predict",status="200"}'] == "2.0"
    assert lines['segtf_requests_total{path="/predict",status="415"}'] == "1.0"
    assert lines['segtf_requests_total{path="other",status="404"}'] == "2.0"
    assert lines['segtf_request_seconds_count{path="/predict"}'] == "3.0"
    # the warm-up and two tiles of two images, in up to five runs: how many share one may vary
    assert lines["segtf_batch_images_sum"] == "5.0"
    assert 1 <= float(lines["segtf_batch_images_count"]) <= 5
    assert lines["segtf_network_seconds_count"] == lines["segtf_batch_images_count"]
    assert lines["segtf_queue_length"] == lines["segtf_working"] == "0.0"
    assert lines["segtf_in_flight"] == "1.0"  # the request for the metrics
    assert float(lines["process_resident_memory_bytes"]) > 2**20


def test_openapi_describes_requests_and_answers(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    assert sorted(told["paths"]) == ["/health", "/metrics", "/predict"]
    predict = told["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) >= {"multipart/form-data", "image/*"}
    assert set(predict["responses"]) == {"200", *["406", "408", "413", "415", "422", "429", "500"]}
    assert all(parameter["description"] for parameter in predict["parameters"])
    schemas = told["components"]["schemas"]
    refused = predict["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused == {"$ref": "#/components/schemas/Error"}
    assert "HTTPValidationError" not in schemas
    assert schemas["Object"]["properties"]["box"]["description"]
    assert client.get("/docs").status_code == 200


def test_the_page_loads_nothing_from_elsewhere_and_escapes_names(tmp_path: Path) -> None:
    classes = (*CLASSES, "</script><script>")
    path = write_model(tmp_path, classes=classes[1:])
    text = client_of(ServeConfig(path)).get("/").text
    assert "http://" not in text and "https://" not in text
    assert (text.count("<script"), text.count("</script")) == (1, 1)
    assert "<b>" not in text
