"""A server of a tiny network for tests: within the process, or as a process of its own."""

from __future__ import annotations

import dataclasses
import io
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image

from segtf.services.http.app import create_app
from segtf.services.http.config import ServeConfig
from segtf.services.http.service import Service
from tests.segtf.tiny_onnx import INFO, write_channels_model

CLASSES = ("__background__", "chip", "дефект <b>")
DEADLINE = 60  # seconds
# None: importing it fails
WITHOUT = ("tensorflow", "keras", "albumentations", "matplotlib", "onnx", "tf2onnx")


def write_model(folder: Path, **info: Any) -> Path:
    """A network for which red is background, green a chip and blue a defect."""
    known = {"classes": CLASSES, "shape": (64, 64), "mode": "tile", **info}
    facts = dataclasses.replace(INFO, **known)
    return write_channels_model(folder / "model.onnx", info=facts)


def squares(height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """A red image with a chip in its left half and a smaller defect in its right one."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = 255
    image[height // 4 : height // 2, width // 8 : width // 2] = (0, 255, 0)
    image[height // 2 : height // 2 + 4, -8:] = (0, 0, 255)
    return image


def encoded(image: NDArray[np.uint8], kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


IMAGE = squares()
PNG = encoded(IMAGE)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def client_of(config: ServeConfig, *others: Path) -> TestClient:
    """A client of an application within the process; `others` are more networks."""
    app = create_app(Service([config.model, *others], config))
    return TestClient(app, raise_server_exceptions=False)


def service_of(client: TestClient) -> Service:
    return client.app.state.service


def raise_error(error: Exception) -> Any:
    raise error


@contextmanager
def server(
    config: ServeConfig, flags: Sequence[object] = ()
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server of its own, which cannot import what training needs, and its address."""
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({WITHOUT})); "
        "from segtf.serve import main; sys.exit(main())"
    )
    command = [sys.executable, "-c", code, str(config.model), "--port", "0", *map(str, flags)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.match(r"(http://127\.0\.0\.1:\d+)  ", line)
        assert found, (line, process.stderr and process.stderr.read())
        yield process, found[1]
    finally:
        process.kill()
        process.communicate(timeout=DEADLINE)
