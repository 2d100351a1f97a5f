"""A tiny network and a client of its service, for the tests of the HTTP service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from segtf.services.http.config import ServeConfig
from tests.segtf.services.http.serving import client_of, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="module")
def client(model: Path) -> Iterator[TestClient]:
    config = ServeConfig(model, max_upload_mb=1, max_megapixels=1, queue=4)
    with client_of(config) as client:
        yield client
