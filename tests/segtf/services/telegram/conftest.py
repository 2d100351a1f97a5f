"""A tiny network that cuts images out, for the tests of the Telegram bot."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from segtf.inference.predictor import open_predictor

if TYPE_CHECKING:
    from tests.segtf.services.telegram.talking import Cut


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Cut:
    # aiogram takes seconds: not where its tests are left out
    from segtf.services.telegram.cutout import cut_image
    from tests.segtf.services.telegram.talking import LIMITS, write_model

    predictor = open_predictor([write_model(tmp_path_factory.mktemp("network"))])
    return partial(cut_image, predictor, megapixels=LIMITS.megapixels)


@pytest.fixture
def anyio_backend() -> str:
    """Event loop of the async tests."""
    return "asyncio"
