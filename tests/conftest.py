"""In which order the workers of pytest-xdist get the files."""

from __future__ import annotations

import pytest

import segtf  # noqa: F401  turns off what packages report to their makers

# One trains the run that many others wait for, the other takes long and waits for nobody.
FIRST = ("test_train.py", "test_backends.py")


def pytest_configure(config: pytest.Config) -> None:
    """Has the files handed out as they come, the short ones of `voc_builder` last. By itself
    pytest-xdist ends with those of few tests: the longest, for one of which all but one worker
    would wait.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts two files in front that two workers begin with."""
    place = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(FIRST)))
