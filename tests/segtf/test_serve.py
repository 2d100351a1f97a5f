"""What the server answers and refuses, how it lives and how it ends."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import http.client
import io
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.requests import ClientDisconnect, Request

from segtf.inference.predictor import open_predictor
from segtf.serve import listen, main, serve
from segtf.services.http import answer as serving_answer
from segtf.services.http.answer import Answer, Gone, Wanted, answer
from segtf.services.http.app import accepted, create_app
from segtf.services.http.config import ServeConfig
from segtf.services.http.docs import EXAMPLE
from segtf.services.http.service import Service
from segtf.services.http.upload import Refused
from tests.segtf.services.http.serving import (
    CLASSES,
    DEADLINE,
    encoded,
    server,
    squares,
    write_model,
)
from voc_builder.base.errors import UserError

IMAGE = squares()
PNG = encoded(IMAGE)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[TestClient]:
    config = ServeConfig(model, max_upload_mb=1, max_megapixels=1, queue=4)
    with client_of(config) as client:
        yield client


def client_of(config: ServeConfig) -> TestClient:
    return TestClient(create_app(Service([config.model], config)), raise_server_exceptions=False)


def service_of(client: TestClient) -> Service:
    return client.app.state.service


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def wanted_mask(model: Path) -> Any:
    return open_predictor([model]).mask(IMAGE)


# --- what is answered ----------------------------------------------------------------------------


def test_json_names_areas_and_outlines_however_the_image_comes(client: TestClient) -> None:
    as_body = client.post("/predict", content=PNG)
    as_form = client.post("/predict", files={"file": ("фото.png", PNG)}, data={"note": "x"})
    assert (as_body.status_code, as_body.headers["content-type"]) == (200, "application/json")
    found, other = as_body.json(), as_form.json()
    assert {**found, "seconds": 0} == {**other, "seconds": 0}
    assert (found["width"], found["height"]) == (80, 60)
    assert [(c["name"], c["colour"], c["pixels"], c["share"]) for c in found["classes"]] == [
        (CLASSES[0], "#000000", 4318, 0.899583),
        (CLASSES[1], "#800000", 450, 0.09375),
        (CLASSES[2], "#008000", 32, 0.006667),
    ]
    assert [(o["name"], o["box"], o["pixels"], o["holes"]) for o in found["objects"]] == [
        (CLASSES[1], [10, 15, 30, 15], 450, []),
        (CLASSES[2], [72, 30, 8, 4], 32, []),
    ]
    outline = np.array(found["objects"][0]["polygon"])
    assert (outline.min(0).tolist(), outline.max(0).tolist()) == ([10, 15], [40, 30])
    assert cv2.contourArea(outline.astype(np.float32)) > 400
    assert found["models"][0]["provider"] == "CPUExecutionProvider"
    assert (found["models"][0]["height"], found["models"][0]["mode"]) == (64, "tile")
    assert client.post("/predict?polygons=no", content=PNG).json()["objects"] == []


def test_pictures_have_the_size_of_the_image(client: TestClient, model: Path) -> None:
    answers = {
        kind: client.post(f"/predict?output={kind}", content=PNG)
        for kind in ("mask", "overlay", "cutout")
    }
    assert {kind: found.headers["content-type"] for kind, found in answers.items()} == {
        "mask": "image/png",
        "overlay": "image/jpeg",
        "cutout": "image/png",
    }
    modes = {kind: (opened(a.content).mode, opened(a.content).size) for kind, a in answers.items()}
    assert modes == {
        "mask": ("P", (80, 60)),
        "overlay": ("RGB", (80, 60)),
        "cutout": ("RGBA", (80, 60)),
    }
    np.testing.assert_array_equal(np.asarray(opened(answers["mask"].content)), wanted_mask(model))
    alpha = np.asarray(opened(answers["cutout"].content))[..., 3]
    assert (alpha[20, 20], alpha[5, 5]) == (255, 0)


def test_pictures_come_inside_the_json_too(client: TestClient) -> None:
    found = client.post("/predict?pictures=overlay,mask", content=PNG).json()["pictures"]
    assert list(found) == ["mask", "overlay"]
    kind, content = found["mask"].split(",")
    assert kind == "data:image/png;base64"
    mask = client.post("/predict?output=mask", content=PNG).content
    assert base64.b64decode(content) == mask


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "json"),
        ("*/*", "json"),
        ("text/html, */*;q=0.1", "json"),
        ("image/png", "mask"),
        ("IMAGE/PNG;q=0.5, application/json;q=0.4", "mask"),
        ("image/*", "mask"),
        ("image/*, image/png;q=0.2", "overlay"),
        ("image/jpeg", "overlay"),
        ("application/*;q=0.3, image/*;q=nonsense", "json"),
    ],
)
def test_the_accept_header_chooses(accept: str, kind: str) -> None:
    assert accepted(accept) == kind


def test_what_there_is_not_is_not_acceptable_unless_the_output_is_named(client: TestClient) -> None:
    odd = {"accept": "text/html, application/json;q=0"}
    refused = client.post("/predict", content=PNG, headers=odd)
    assert refused.status_code == 406
    assert "image/png" in refused.json()["error"]
    assert client.post("/predict?output=mask", content=PNG, headers=odd).status_code == 200


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "MPO"])
def test_images_of_many_kinds_are_taken(kind: str, client: TestClient) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = client.post("/predict", content=encoded(IMAGE, kind, **options))
    assert found.status_code == 200, found.text
    assert found.json()["classes"][1]["pixels"] == pytest.approx(450, abs=30)


def test_an_image_is_turned_as_its_exif_says(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = client.post("/predict", content=encoded(IMAGE, "JPEG", exif=exif)).json()
    assert (found["width"], found["height"]) == (60, 80)


def test_of_many_objects_the_largest_are_listed(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_answer, "OBJECTS", 1)
    found = client.post("/predict", content=PNG).json()
    assert ([o["name"] for o in found["objects"]], found["objects_left_out"]) == ([CLASSES[1]], 1)


def test_a_network_without_background_makes_no_cut_out(tmp_path: Path) -> None:
    path = write_model(tmp_path, classes=("road", "roof", "tree"))
    with client_of(ServeConfig(path)) as client:
        refused = client.post("/predict?output=cutout", content=PNG)
        assert (refused.status_code, "background" in refused.json()["error"]) == (422, True)
        named = [o["name"] for o in client.post("/predict", content=PNG).json()["objects"]]
        assert named == ["road", "roof", "tree"]


def test_several_networks_answer_together(tmp_path: Path, model: Path) -> None:
    other = write_model(tmp_path)
    config = ServeConfig(model, mode="tile", overlap=0.5, tta="flips", ensemble="vote")
    with TestClient(create_app(Service([model, other], config))) as client:
        found = client.post("/predict", content=PNG).json()
    assert [m["mode"] for m in found["models"]] == ["tile", "tile"]
    assert found["classes"][1]["pixels"] == 450


# --- what is refused -----------------------------------------------------------------------------


def header_of(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, and has none."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 0) + b"IDAT" + b"\x35\xaf\x06\x1e"


FORM = {"content-type": "multipart/form-data; boundary=x"}


@pytest.mark.parametrize(
    ("status", "part", "request_of"),
    [
        (415, "no image that can be read: send a JPEG", {"content": b"%PDF-1.7 and so on"}),
        (415, "no image that can be read", {"content": b"\x89PNG\r\n\x1a\n"}),
        (415, "no image that can be read", {"files": {"file": b"<svg/>"}}),
        (422, "cut short", {"content": encoded(IMAGE, "JPEG")[:-60]}),
        (422, "damaged or cut short", {"content": encoded(IMAGE, "JPEG")[:300]}),
        (422, "cut short", {"content": PNG[:-60]}),
        (422, "no image was sent", {"content": b""}),
        (422, "no image was sent", {"files": {"file": b""}}),
        (422, "Received fields: image", {"files": {"image": PNG}}),
        (422, "Received fields: file", {"data": {"file": "text"}, "files": {"a": b"a"}}),
        (422, "the form cannot be read", {"content": PNG, "headers": FORM}),
        (422, "the form cannot be read", {"content": PNG, "headers": {
            "content-type": "multipart/form-data"}}),
        (422, "output: ", {"params": {"output": "video"}, "content": PNG}),
        (422, "polygons: ", {"params": {"polygons": "7"}, "content": PNG}),
        (422, "mask, overlay, cutout. Received: x", {"params": {"pictures": "x"}, "content": PNG}),
        (413, "larger than 1 MB", {"content": b"0" * 1_000_001}),
        (413, "larger than 1 MB", {"content": (b"0" * 500_000 for _ in range(5))}),
        (413, "larger than 1 MB", {"files": {"file": b"0" * 1_000_001}}),
        (413, "60000 x 50000 pixels, more than 1 mega", {"content": header_of(60000, 50000)}),
        (413, "1001 x 1000 pixels", {"files": {"file": header_of(1001, 1000)}}),
    ],
)  # fmt: skip
def test_what_is_refused_gets_one_sentence(
    status: int, part: str, request_of: dict[str, Any], client: TestClient
) -> None:
    started = time.monotonic()
    refused = client.post("/predict", **request_of)
    assert (refused.status_code, list(refused.json())) == (status, ["error"]), refused.text
    assert part in refused.json()["error"]
    assert "\n" not in refused.json()["error"]
    assert time.monotonic() - started < 2
    assert client.post("/predict", content=PNG).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/predict", 405), ("POST", "/", 405), ("GET", "/favicon.ico", 404)],
)
def test_other_addresses_are_refused_alike(
    method: str, path: str, status: int, client: TestClient
) -> None:
    refused = client.request(method, path)
    assert (refused.status_code, list(refused.json())) == (status, ["error"])
    assert f"{method} {path}" in refused.json()["error"]
    assert "/predict" in refused.json()["error"]


def test_a_full_queue_says_when_to_come_again(client: TestClient) -> None:
    service = service_of(client)
    with service.queue.place(), service.queue.place(), service.queue.place():
        assert client.post("/predict", content=PNG).status_code == 200
        with service.queue.place():
            refused = client.post("/predict", content=PNG)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["error"].startswith("4 images are being sent")
    assert client.post("/predict", content=PNG).status_code == 200


def test_a_network_that_fails_is_the_servers_fault_and_is_named(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = service_of(client).predictor
    monkeypatch.setattr(predictor, "strips", lambda image: fail(UserError("model.onnx: no memory")))
    known = client.post("/predict", content=PNG)
    assert (known.status_code, known.json()) == (500, {"error": "model.onnx: no memory"})
    monkeypatch.setattr(predictor, "strips", lambda image: fail(RuntimeError("secret")))
    unknown = client.post("/predict", content=PNG)
    assert (unknown.status_code, list(unknown.json())) == (500, ["error"])
    assert "secret" not in unknown.text


def fail(error: Exception) -> Any:
    raise error


# --- clients that go away ------------------------------------------------------------------------


async def ask_and_leave(service: Service, after: Any) -> None:
    """Sends an image, and goes away when `after` comes true."""
    sent = False

    async def receive() -> dict[str, Any]:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": PNG}
        while not after():
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": []}
    await service.answer(Request(scope, receive), Wanted())


def test_the_work_for_a_client_that_goes_away_ends(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service([model], ServeConfig(model, batch=1, queue=8))
    begun = threading.Semaphore(0)
    go_on = threading.Event()
    asked: list[int] = []

    def slow(image: Any) -> Any:
        begun.release()
        assert go_on.wait(DEADLINE)
        for row in range(2):
            asked.append(row)
            image[row : row + 1]

    monkeypatch.setattr(service.predictor, "strips", slow)

    async def all_leave() -> list[Any]:
        working = [asyncio.ensure_future(ask_and_leave(service, lambda: True)) for _ in range(2)]
        while service.queue.working < 2:
            await asyncio.sleep(0.01)
        waiting = [asyncio.ensure_future(ask_and_leave(service, lambda: True)) for _ in range(2)]
        left = await asyncio.gather(*waiting, return_exceptions=True)
        assert (service.queue.waiting, service.queue.working) == (0, 2)
        go_on.set()
        return left + await asyncio.gather(*working, return_exceptions=True)

    left = asyncio.run(all_leave())
    assert [type(error) for error in left] == [ClientDisconnect] * 4
    assert asked == [0, 0]  # both looked at one row, none at the second
    assert (service.queue.taken, service.queue.working) == (0, 0)
    service.close()


def test_nothing_more_is_asked_about_an_image_that_nobody_waits_for(model: Path) -> None:
    gone = threading.Event()
    gone.set()
    with pytest.raises(Gone):
        answer(open_predictor([model], mode="tile"), PNG, Wanted(), gone)
    with pytest.raises(Refused):  # what is decoded before is no less refused
        answer(open_predictor([model]), PNG[:-60], Wanted(), gone)


# --- what programs ask besides -------------------------------------------------------------------


def test_health_is_ready_when_the_network_has_answered(model: Path) -> None:
    config = ServeConfig(model)
    app = create_app(Service([model], config))
    before = TestClient(app).get("/health")  # nothing has been started
    assert (before.status_code, before.json()["status"]) == (503, "unready")
    assert "warmed up" in before.json()["error"]
    with TestClient(app) as client:
        end = time.monotonic() + DEADLINE
        while (now := client.get("/health")).status_code != 200:
            assert time.monotonic() < end
        assert now.json()["status"] == "ready"
        assert now.json()["models"][0]["file"] == "model.onnx"
        assert now.json()["version"]


def test_metrics_count_requests_batches_and_memory(model: Path) -> None:
    with client_of(ServeConfig(model)) as client:
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
    assert lines["segtf_batch_images_sum"] == "5.0"  # one to warm up, two tiles of two images
    assert lines["segtf_network_seconds_count"] == "5.0"
    assert lines["segtf_queue_length"] == lines["segtf_working"] == "0.0"
    assert lines["segtf_in_flight"] == "1.0"  # this one
    assert float(lines["process_resident_memory_bytes"]) > 2**20


def test_openapi_describes_what_is_sent_and_answered(client: TestClient) -> None:
    told = client.get("/openapi.json").json()
    assert sorted(told["paths"]) == ["/health", "/metrics", "/predict"]
    predict = told["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) >= {"multipart/form-data", "image/*"}
    assert set(predict["responses"]) == {"200", *["406", "408", "413", "415", "422", "429", "500"]}
    assert all(response["description"] for response in predict["responses"].values())
    assert all(parameter["description"] for parameter in predict["parameters"])
    refused = predict["responses"]["422"]["content"]["application/json"]["schema"]
    assert refused == {"$ref": "#/components/schemas/Error"}
    assert "HTTPValidationError" not in told["components"]["schemas"]
    Answer.model_validate(EXAMPLE)
    assert set(EXAMPLE) == set(Answer.model_fields)
    assert told["components"]["schemas"]["Object"]["properties"]["box"]["description"]
    assert client.get("/docs").status_code == 200


def test_the_page_fetches_nothing_from_elsewhere_and_escapes_names(client: TestClient) -> None:
    text = client.get("/").text
    assert "http://" not in text and "https://" not in text
    assert (text.count("<script"), text.count("</script")) == (2, 2)
    assert "дефект <b>" not in text


# --- a server of its own -------------------------------------------------------------------------


def test_a_server_answers_many_survives_the_rude_and_ends_in_order(model: Path) -> None:
    flags = ("--max-upload-mb", 1, "--max-megapixels", 1)
    with server(ServeConfig(model), flags) as (process, address):
        place = address.removeprefix("http://")
        mask = post(place, "/predict?output=mask")[1]
        np.testing.assert_array_equal(np.asarray(opened(mask)), wanted_mask(model))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: post(place, "/predict?output=mask"), range(40)))
        assert found == [(200, mask)] * 40

        rude(place, b"nonsense\r\n\r\n")
        rude(place, b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + PNG[:99])
        rude(
            place, b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"
        )
        assert post(place, "/predict?output=mask") == (200, mask)
        end = time.monotonic() + DEADLINE
        while b'status="499"' not in get(place, "/metrics"):
            assert time.monotonic() < end

        # refused while it is sent, with and without its length; both can read why
        large = [b"0" * 2**20] * 20
        for body in (b"".join(large), iter(large)):
            status, told = post(place, "/predict", body)
            assert (status, "larger than 1 MB" in json.loads(told)["error"]) == (413, True)

        begun = http.client.HTTPConnection(place, timeout=DEADLINE)
        begun.putrequest("POST", "/predict?output=mask")
        begun.putheader("Content-Length", str(len(PNG)))
        begun.endheaders(PNG[:50])
        while b"segtf_queue_length 1.0" not in get(place, "/metrics"):
            assert time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        with pytest.raises(OSError):
            while True:
                socket.create_connection(place.split(":"), timeout=DEADLINE).close()
        begun.send(PNG[50:])
        answered = begun.getresponse()
        assert (answered.status, answered.read()) == (200, mask)
        assert process.wait(DEADLINE) == 0
        assert process.stderr and process.stderr.read() == ""


def test_ctrl_c_ends_it_in_order(model: Path) -> None:
    with server(ServeConfig(model)) as (process, address):
        while json.loads(get(address.removeprefix("http://"), "/health"))["status"] != "ready":
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 0
        assert process.stderr and process.stderr.read() == ""


def post(place: str, path: str, body: Any = PNG) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(place, timeout=DEADLINE)
    connection.request("POST", path, body)
    answered = connection.getresponse()
    return answered.status, answered.read()


def get(place: str, path: str) -> bytes:
    connection = http.client.HTTPConnection(place, timeout=DEADLINE)
    connection.request("GET", path)
    return connection.getresponse().read()


def rude(place: str, sent: bytes) -> None:
    """Sends something and goes away."""
    host, port = place.split(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE) as connection:
        connection.sendall(sent)


# --- the command line ----------------------------------------------------------------------------


def call(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segtf-serve", *map(str, argv)])
    return main()


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["none.onnx"], "none.onnx: no such file"),
        (["text.onnx"], "text.onnx: not an ONNX file"),
        (["model.onnx,none.onnx"], "none.onnx: no such file"),
        (["model.onnx", "--port", "70000"], "--port takes 0 to 65535. Received: 70000"),
        (["model.onnx", "--host", "no.such.host.invalid"], "--host no.such.host.invalid: no such"),
        (["model.onnx", "--host", "192.0.2.1"], "cannot listen at 192.0.2.1"),
        (["model.onnx", "--queue", "0"], "--queue takes a number from 1 on"),
        (["model.onnx", "--batch", "-1"], "--batch takes 0 or more"),
        (["model.onnx", "--overlap", "1"], "--overlap 1.0"),
        (["model.onnx", "--max-upload-mb", "0"], "--max-upload-mb"),
    ],
)
def test_wrong_use_gets_one_line_and_exit_code_2(
    argv: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    (tmp_path / "text.onnx").write_text("text")
    assert call(monkeypatch, *argv, *([] if "--port" in argv else ["--port", "0"])) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("python -m segtf.serve: error: ")
    assert printed.err.count("\n") == 1
    assert part in printed.err


def test_a_port_that_is_taken_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert call(monkeypatch, model, "--port", port) == 2
    told = capsys.readouterr().err
    assert f"--port {port}: cannot listen at 127.0.0.1: address already in use" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client", "python_multipart"])
def test_without_the_extra_the_line_says_how_to_install_it(
    package: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"no package {package}: pip install 'segtf\[serve\]'"):
        serve(ServeConfig(model, port=0))


def test_a_network_that_cannot_run_ends_the_server(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segtf.services.http.shared_model import OnnxModel

    monkeypatch.setattr(OnnxModel, "probabilities", lambda *_: fail(UserError("no memory")))
    with pytest.raises(UserError, match="no memory"):
        serve(ServeConfig(model, port=0))
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_help_needs_none_of_the_packages() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'uvicorn', 'onnxruntime'])); "
        "from segtf.serve import main; sys.exit(main())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, timeout=DEADLINE
    )
    assert told.returncode == 0
    assert all(flag in told.stdout for flag in ("--max-upload-mb", "--queue", "--host", "--tta"))
