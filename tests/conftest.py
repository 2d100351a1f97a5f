"""Which test files are read, and in which order the workers of pytest-xdist get them."""

from __future__ import annotations

from pathlib import Path

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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave a file alone that is slow as a whole where slow tests are left out: most of these
    import TensorFlow, which takes longer than the quick tests of many files.
    """
    if "not slow" not in config.option.markexpr or not collection_path.name.startswith("test_"):
        return None
    lines = collection_path.read_text(encoding="utf-8").splitlines()
    marks = [line for line in lines if line.startswith("pytestmark = ")]
    return any("pytest.mark.slow" in line for line in marks) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files of `FIRST` first."""
    place = {name: number for number, name in enumerate(FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(FIRST)))
