"""A data set and a run small enough to make for the tests that need one."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from scripts.make_fishki import FishkiConfig, make_fishki
from segtf import train
from voc_builder.build import BuildConfig, build
from voc_builder.tree.voc import Dataset


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 drawn images of 96 x 96 with labelme annotations."""
    folder = tmp_path_factory.mktemp("drawn") / "fishki"
    make_fishki(FishkiConfig(folder, count=20, size=96, seed=3))
    return folder


@pytest.fixture(scope="session")
def dataset(images: Path) -> Dataset:
    """Their VOC tree with TFRecords: 16, 2 and 2 images."""
    return build(BuildConfig(images, images.parent / "voc"))


@pytest.fixture(scope="session")
def jax_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of a child that computes with JAX on a CPU: what runs a few times need not be compiled well,
    and what one child has compiled the next one reads.
    """
    compiled = of_all_workers(tmp_path_factory) / "compiled_by_jax"
    return {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
        "JAX_COMPILATION_CACHE_DIR": str(compiled),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(autouse=True)
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """`segtf.train` finishes a run where it is: it would put another program in the place of the
    one that tests it.
    """

    def finish_here(folder: Path) -> int:
        return 1 if train.finish(folder) else 0

    monkeypatch.setattr(train, "hand_over", finish_here)


def of_all_workers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of this session that pytest-xdist's workers share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of two epochs at 64 x 64, with everything that a training leaves. Of several
    workers one trains it, and each has a copy to write in.
    """
    from segtf.run.folder import read_config, write_config

    told = of_all_workers(tmp_path_factory) / "tiny_run"
    with FileLock(f"{told}.lock"):
        if not told.is_file():
            told.write_text(str(tiny_run(images, tmp_path_factory.mktemp("trained"))))
    trained = Path(told.read_text())
    artifacts = tmp_path_factory.mktemp("artifacts")
    folder = shutil.copytree(trained, artifacts / "runs" / trained.name)
    write_config(replace(read_config(folder), artifacts=artifacts), folder)
    return folder


def tiny_run(images: Path, artifacts: Path) -> Path:
    from segtf.run.config import TrainConfig

    return train.train(
        TrainConfig(
            data=images,
            size=64,
            encoder="mobilenetv2",
            encoder_weights="none",
            epochs=2,
            batch=4,
            predict="*3.jpg",
            run="tiny",
            artifacts=artifacts,
        )
    )
