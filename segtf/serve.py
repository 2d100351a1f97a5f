"""Answer images over HTTP with an ONNX file, without TensorFlow: `python -m segtf.serve`."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

from segtf.inference.ensembles import model_paths
from segtf.services.http.config import ServeConfig
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one

if TYPE_CHECKING:
    from uvicorn import Server

    from segtf.services.http.service import Service

BACKLOG = 2048  # connections that the system holds until they are taken
GRACE = 60  # seconds that clients have to take their answers when the server ends
PORTS = range(2**16)


def serve(config: ServeConfig) -> int:
    """Serves until it is told to end. Raises `UserError`."""
    _check(config)
    listening = listen(config.host, config.port)
    with listening:
        service = _service(config)
        address = address_of(listening)
        names = ", ".join(service.predictor.classes)
        print(f"{address}  a page for images; {address}/docs for programs; classes: {names}")
        sys.stdout.flush()
        _run(service, listening)
    if service.failure:
        raise service.failure
    return 0


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises `UserError` where there can be none."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise UserError(f"--host {host}: no such address ({error.strerror})") from None
    listening = socket.socket(family, kind, protocol)
    try:
        # a port is free at once when the server that had it has ended
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"--port {port}: cannot listen at {host}: {reason}: end what listens there, or choose "
            "another port"
        ) from None
    return listening


def address_of(listening: socket.socket) -> str:
    """The URL of a socket."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _check(config: ServeConfig) -> None:
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


def _service(config: ServeConfig) -> Service:
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"no package {error.name}: pip install 'segtf[serve]'") from None
    from segtf.services.http.service import Service

    return Service(model_paths(config.model), config)


def _server(service: Service) -> Server:
    import uvicorn

    from segtf.services.http.app import create_app

    return uvicorn.Server(
        uvicorn.Config(
            create_app(service),
            http="h11",
            ws="none",
            log_level="error",
            timeout_graceful_shutdown=GRACE,
            server_header=False,
        )
    )


def _run(service: Service, listening: socket.socket) -> None:
    """Until SIGTERM or Ctrl-C. uvicorn takes the signals itself, then sends them again to whoever
    had them before: that is `end` here, so that an orderly end has the exit code 0.
    """

    server = _server(service)

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
