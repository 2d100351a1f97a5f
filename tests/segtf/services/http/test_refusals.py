"""What the service refuses, and with which status code."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.requests import Request

from segtf.services.http import upload
from segtf.services.http.errors import Refused
from segtf.services.http.upload import read_image
from tests.segtf.services.http.serving import (
    IMAGE,
    PNG,
    encoded,
    raise_error,
    service_of,
)
from voc_builder.base.errors import UserError


def header_of(width: int, height: int) -> bytes:
    """A PNG without pixels whose header names a size."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 0) + b"IDAT" + b"\x35\xaf\x06\x1e"


JPEG = encoded(IMAGE, "JPEG")
FORM = "multipart/form-data"


@pytest.mark.parametrize(
    ("status", "fragment", "request_of"),
    [
        (415, "JPEG", {"content": b"%PDF-1.7 and so on"}),
        (415, "JPEG", {"content": b"\x89PNG\r\n\x1a\n"}),
        (415, "JPEG", {"files": {"file": b"<svg/>"}}),
        (422, "cut short", {"content": JPEG[:-60]}),
        (422, "cut short", {"content": JPEG[:300]}),
        (422, "cut short", {"content": PNG[:-60]}),
        (422, "field file", {"content": b""}),
        (422, "field file", {"files": {"file": b""}}),
        (422, ": image", {"files": {"image": PNG}}),
        (422, ": file", {"data": {"file": "text"}, "files": {"a": b"a"}}),
        (422, "form", {"content": PNG, "headers": {"content-type": f"{FORM}; boundary=x"}}),
        (422, "form", {"content": PNG, "headers": {"content-type": FORM}}),
        (422, "output: ", {"params": {"output": "video"}, "content": PNG}),
        (422, "polygons: ", {"params": {"polygons": "7"}, "content": PNG}),
        (422, "pictures ", {"params": {"pictures": "x"}, "content": PNG}),
        (413, "--max-upload-mb", {"content": (b"0" * 500_000 for _ in range(5))}),
        (413, "--max-upload-mb", {"files": {"file": b"0" * 1_000_001}}),
        (413, "60000 x 50000", {"content": header_of(60000, 50000)}),
        (413, "--max-megapixels", {"files": {"file": header_of(1001, 1000)}}),
    ],
)
def test_a_refusal_is_one_line_of_json_and_the_next_image_is_answered(
    status: int, fragment: str, request_of: dict[str, Any], client: TestClient
) -> None:
    refused = client.post("/predict", **request_of)
    assert (refused.status_code, list(refused.json())) == (status, ["error"]), refused.text
    assert fragment in refused.json()["error"]
    assert "\n" not in refused.json()["error"]
    assert client.post("/predict", content=PNG).status_code == 200


@pytest.mark.parametrize(("length", "most"), [(b"9", 1_100_000), (b"9" * 9, 0)])
@pytest.mark.parametrize("content_type", [b"image/png", b"multipart/form-data; boundary=x"])
def test_no_more_than_the_limit_is_read_whatever_the_content_length(
    length: bytes, most: int, content_type: bytes
) -> None:
    chunks = [b"0" * 100_000] * 20
    chunks.append(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n')

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(), "more_body": True}

    headers = [(b"content-length", length), (b"content-type", content_type)]
    with pytest.raises(Refused) as error:
        asyncio.run(read_image(Request({"type": "http", "headers": headers}, receive), 1))
    assert error.value.status_code == 413
    assert 2_000_000 - sum(map(len, chunks)) <= most


def test_a_slow_upload_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SECONDS", 0)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(Refused) as error:
        asyncio.run(read_image(Request({"type": "http", "headers": []}, receive), 1))
    assert error.value.status_code == 408


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/", 405), ("GET", "/favicon.ico", 404)],
)
def test_other_endpoints_are_refused_alike(
    method: str, path: str, status: int, client: TestClient
) -> None:
    refused = client.request(method, path)
    assert (refused.status_code, list(refused.json())) == (status, ["error"])
    assert f"{method} {path}" in refused.json()["error"]


def test_a_full_queue_says_when_to_try_again(client: TestClient) -> None:
    queue = service_of(client).queue
    with queue.place(), queue.place(), queue.place():
        assert client.post("/predict", content=PNG).status_code == 200
        with queue.place():
            refused = client.post("/predict", content=PNG)
    assert (refused.status_code, list(refused.json())) == (429, ["error"])
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert client.post("/predict", content=PNG).status_code == 200


def test_errors_of_the_network_are_told_and_those_of_the_program_are_not(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = service_of(client).predictor
    known, unknown = UserError("model.onnx: no memory"), RuntimeError("secret")
    monkeypatch.setattr(predictor, "strips", lambda image: raise_error(known))
    told = client.post("/predict", content=PNG)
    assert (told.status_code, told.json()) == (500, {"error": "model.onnx: no memory"})
    monkeypatch.setattr(predictor, "strips", lambda image: raise_error(unknown))
    told = client.post("/predict", content=PNG)
    assert (told.status_code, list(told.json())) == (500, ["error"])
    assert "secret" not in told.text
