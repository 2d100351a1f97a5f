"""In which order the workers of pytest-xdist get the files."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Has the files handed out as they come, the short ones of `voc_builder` last. By itself
    pytest-xdist ends with those of few tests: the longest, for one of which all but one worker
    would wait.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False
