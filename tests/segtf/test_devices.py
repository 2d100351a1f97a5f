"""Precision and batch follow from the machine."""

from __future__ import annotations

import psutil
import pytest

from voc_builder.tfrecord import import_tensorflow

pytestmark = pytest.mark.slow
import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf import devices  # noqa: E402

CPU = devices.Devices(gpus=(), policy="float32", jit=False)
TINY = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])


@pytest.mark.parametrize(
    ("precision", "capability", "policy"),
    [
        ("auto", (0, 0), "float32"),
        ("auto", (6, 1), "float32"),
        ("auto", (7, 5), "mixed_float16"),
        ("auto", (9, 0), "mixed_bfloat16"),
        ("float32", (9, 0), "float32"),
        ("mixed", (0, 0), "mixed_bfloat16"),
    ],
)
def test_mixed_precision_where_a_gpu_has_it(
    precision: str, capability: tuple[int, int], policy: str
) -> None:
    assert devices.policy_for(precision, capability) == policy


@pytest.mark.parametrize(
    ("size", "free_gb", "photos", "batch"),
    [(256, 64, 91, 8), (512, 64, 91, 4), (1024, 64, 91, 2), (1024, 8, 91, 1), (256, 64, 6, 3)],
)
def test_the_batch_on_a_cpu_is_modest_and_fits_half_the_memory(
    size: int, free_gb: int, photos: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Memory:
        available = free_gb * 2**30

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    assert devices.batch_that_fits(CPU, TINY, size, photos) == batch


@pytest.mark.parametrize(
    ("gpus", "photos", "a_photo_gb", "batch"),
    [(1, 1000, 1, 32), (1, 1000, 4, 9), (1, 40, 1, 5), (2, 1000, 4, 18), (1, 1000, 90, 1)],
)
def test_the_batch_on_gpus_is_what_was_measured_to_fit(
    gpus: int, photos: int, a_photo_gb: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_free_gpu_bytes", lambda: 47 * 2**30)
    monkeypatch.setattr(devices, "_measured_bytes_a_photo", lambda *_: a_photo_gb * 2**30)
    names = tuple(f"GPU:{number}" for number in range(gpus))
    plan = devices.Devices(gpus=names, policy="mixed_bfloat16", jit=True)
    assert devices.batch_that_fits(plan, TINY, 512, photos) == batch
