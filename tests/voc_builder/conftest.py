"""Fixtures of the tests of voc_builder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from voc_builder import cache
from voc_builder.build import BuildConfig, build
from voc_builder.tree.voc import Dataset


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that `build_cached` builds, without TFRecords: importing TensorFlow is slow."""
    made: list[Path] = []

    def without_records(config: BuildConfig, **_: bool) -> Dataset:
        made.append(config.out)
        return build(replace(config, records=False))

    monkeypatch.setattr(cache, "build", without_records)
    return made
