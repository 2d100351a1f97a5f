"""Order of the test files for the workers of pytest-xdist."""

from __future__ import annotations

import pytest

import segtf  # noqa: F401  turns off what packages report to their makers

# The first trains the run that many tests share, the second takes long.
FIRST = ("test_train.py", "test_backends.py")


def pytest_configure(config: pytest.Config) -> None:
    """Distribute the files in their order, with the short ones of `voc_builder` last. By default
    pytest-xdist ends with files of few tests, which take longest and leave other workers idle.
    """
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files of `FIRST` first."""
    place = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(FIRST)))
