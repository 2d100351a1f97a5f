"""The command `segtf.serve`: its server as a process, its errors and its end."""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import open_predictor
from segtf.serve import listen, main, serve
from segtf.services.http.config import ServeConfig
from tests.segtf.services.http.serving import (
    DEADLINE,
    IMAGE,
    PNG,
    opened,
    raise_error,
    server,
    write_model,
)
from voc_builder.base.errors import UserError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("serve"))


@pytest.mark.slow
def test_a_server_answers_many_survives_the_rude_and_ends_in_order(model: Path) -> None:
    flags = ("--max-upload-mb", 1, "--max-megapixels", 1)
    with server(ServeConfig(model), flags) as (process, address):
        place = address.removeprefix("http://")
        mask = post(place, "/predict?output=mask")[1]
        np.testing.assert_array_equal(opened(mask), open_predictor([model]).mask(IMAGE))
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

        # refused during the upload, with and without its length; both read the answer
        large = [b"0" * 2**20] * 20
        for body in (b"".join(large), iter(large)):
            status, told = post(place, "/predict", body)
            assert (status, list(json.loads(told))) == (413, ["error"])

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


@pytest.mark.slow
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


def call(monkeypatch: pytest.MonkeyPatch, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segtf-serve", *map(str, argv)])
    return main()


@pytest.mark.parametrize(
    ("argv", "fragment"),
    [
        (["none.onnx"], "none.onnx"),
        (["text.onnx"], "text.onnx"),
        (["model.onnx,none.onnx"], "none.onnx"),
        (["run"], "run"),
        (["model.onnx", "--port", "70000"], "--port"),
        (["model.onnx", "--host", "no.such.host.invalid"], "--host"),
        (["model.onnx", "--host", "192.0.2.1"], "192.0.2.1"),
        (["model.onnx", "--queue", "0"], "--queue"),
        (["model.onnx", "--batch", "-1"], "--batch"),
        (["model.onnx", "--overlap", "1"], "--overlap"),
        (["model.onnx", "--max-upload-mb", "0"], "--max-upload-mb"),
    ],
)
def test_wrong_use_gets_one_line_and_exit_code_2(
    argv: list[str],
    fragment: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path)
    (tmp_path / "text.onnx").write_text("text")
    (tmp_path / "run").mkdir()
    assert call(monkeypatch, *argv, *([] if "--port" in argv else ["--port", "0"])) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert fragment in printed.err


def test_a_port_that_is_taken_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert call(monkeypatch, model, "--port", port) == 2
    told = capsys.readouterr().err
    assert f"--port {port}: " in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("package", ["fastapi", "uvicorn", "prometheus_client", "python_multipart"])
def test_a_missing_model_is_noticed_first_and_a_missing_package_then(
    package: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"none\.onnx"):
        serve(ServeConfig(model.with_name("none.onnx"), port=0))
    with pytest.raises(UserError, match=rf"{package}: pip install 'segtf\[serve\]'"):
        serve(ServeConfig(model, port=0))


def test_a_network_that_cannot_run_ends_the_server(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxModel, "probabilities", lambda *_: raise_error(UserError("no memory")))
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
