"""A data set and a run small enough to make for the tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.make_fishki import FishkiConfig, make_fishki
from voc_builder.build import BuildConfig, build
from voc_builder.voc import Dataset


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 drawn photos of 96 x 96 with labelme annotations."""
    folder = tmp_path_factory.mktemp("drawn") / "fishki"
    make_fishki(FishkiConfig(folder, count=20, size=96, seed=3))
    return folder


@pytest.fixture(scope="session")
def dataset(photos: Path) -> Dataset:
    """Their VOC tree with TFRecords: 16, 2 and 2 photos."""
    return build(BuildConfig(photos, photos.parent / "voc"))


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two epochs at 64 x 64, with everything that a training leaves."""
    from segtf.config import TrainConfig
    from segtf.train import train

    return train(
        TrainConfig(
            data=photos,
            size=64,
            encoder="mobilenetv2",
            encoder_weights="none",
            epochs=2,
            batch=4,
            run="tiny",
            artifacts=tmp_path_factory.mktemp("artifacts"),
        )
    )
