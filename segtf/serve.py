"""Answer images over HTTP with an ONNX file, without TensorFlow: `python -m segtf.serve`."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from segtf.inference.ensembles import model_paths
from segtf.inference.onnx_model import find_model
from segtf.services.http.config import ServeConfig
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one

if TYPE_CHECKING:
    from segtf.services.http.service import Service

BACKLOG = 2048  # connections that may wait to be accepted
GRACE = 60  # seconds that clients have to read their answers when the server ends
PORTS = range(2**16)


def serve(config: ServeConfig) -> int:
    """Serves until SIGTERM or Ctrl-C. Raises `UserError`."""
    check(config)
    with listen(config.host, config.port) as listening:
        service = _open_service(config)
        address = address_of(listening)
        names = ", ".join(service.predictor.classes)
        print(
            f"{address}  a page for images; {address}/docs for programs; classes: {names}",
            flush=True,
        )
        _run(service, listening)
    if service.failure:
        raise service.failure
    return 0


def check(config: ServeConfig) -> None:
    """Raises `UserError` for a flag with a value that is out of range and a model that is missing:
    before imports that take long.
    """
    refuse_below_one(
        max_upload_mb=config.max_upload_mb,
        max_megapixels=config.max_megapixels,
        queue=config.queue,
    )
    if config.port not in PORTS:
        raise UserError(f"--port takes 0 to {PORTS[-1]}. Received: {config.port}")
    for name, number in (("threads", config.threads), ("batch", config.batch)):
        if number < 0:
            raise UserError(f"--{name} takes 0 or more. Received: {number}")
    for path in model_paths(config.model):
        find_model(path)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `UserError`."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UserError(f"--host {host}: no such address ({error.strerror})") from None
    family, _, _, _, place = found[0]
    try:
        return socket.create_server(
            place[:2],
            family=family,
            backlog=BACKLOG,
            dualstack_ipv6=family == socket.AF_INET6 and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        raise UserError(
            f"--port {port}: cannot listen at {host}: {reason}: end the program that listens there "
            "or choose another port"
        ) from None


def address_of(listening: socket.socket) -> str:
    """The URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _open_service(config: ServeConfig) -> Service:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"no package {error.name}: pip install 'segtf[serve]'") from None
    from segtf.services.http.service import Service

    return Service(model_paths(config.model), config)


def _run(service: Service, listening: socket.socket) -> None:
    """Serves until SIGTERM or Ctrl-C. After its own shutdown uvicorn raises the signal again for
    the handler from before: `end`, so that the exit code is 0.
    """
    import uvicorn

    from segtf.services.http.app import create_app

    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service),
            http="h11",
            ws="none",
            log_level="error",
            timeout_graceful_shutdown=GRACE,
            server_header=False,
        )
    )

    def end(*_: Any) -> None:
        server.should_exit = True

    service.stop = end
    before = {kind: signal.signal(kind, end) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listening])
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def main() -> int:
    return run(serve, ServeConfig, "python -m segtf.serve")


if __name__ == "__main__":
    sys.exit(main())
