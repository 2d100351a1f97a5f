"""Precision and batch follow from the machine."""

from __future__ import annotations

import pytest

from voc_builder.base.tensorflow import import_tensorflow

pytestmark = pytest.mark.slow
import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf.training import devices  # noqa: E402

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
    ("size", "free_gb", "images", "batch"),
    [(256, 64, 91, 8), (512, 64, 91, 4), (1024, 64, 91, 2), (1024, 8, 91, 1), (256, 64, 6, 3)],
)
def test_the_batch_on_a_cpu_is_modest_and_fits_half_the_memory(
    size: int, free_gb: int, images: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda: free_gb * 2**30)
    assert devices.batch_that_fits(CPU, TINY, (size, size), images) == batch


def test_training_takes_what_its_layers_give() -> None:
    pixels = keras.Input((None, None, 3))
    halved = keras.layers.Conv2D(4, 2, strides=2)(pixels)
    network = keras.Model(pixels, keras.layers.UpSampling2D(2)(halved), name="network")
    image = keras.Input((None, None, 3))
    model = keras.Model(image, network(image))
    numbers = 4 * 4 * 4 + 8 * 8 * 4
    assert devices.training_bytes(model, (8, 8), 3) == 3 * numbers * devices.BYTES_A_NUMBER
    assert devices.training_bytes(model, (8, 16), 1) == 2 * numbers * devices.BYTES_A_NUMBER
    assert len(model.get_layer("network").layers) == 3, "the network is as it was"


def test_a_repeatable_batch_does_not_depend_on_what_else_takes_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "free_memory", lambda: 0)
    assert devices.batch_that_fits(CPU, TINY, (512, 512), 100) == 1
    found = devices.batch_that_fits(CPU, TINY, (512, 512), 100, repeatable=True)
    assert found == 4


@pytest.mark.parametrize(
    ("gpus", "images", "each_gb", "batch"),
    [(1, 1000, 1, 32), (1, 1000, 4, 9), (1, 40, 1, 5), (2, 1000, 4, 18), (1, 1000, 90, 1)],
)
def test_the_batch_on_gpus_is_what_was_measured_to_fit(
    gpus: int, images: int, each_gb: int, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "_free_gpu_bytes", lambda: 47 * 2**30)
    monkeypatch.setattr(devices, "_measured_bytes_per_image", lambda *_: each_gb * 2**30)
    names = tuple(f"GPU:{number}" for number in range(gpus))
    plan = devices.Devices(gpus=names, policy="mixed_bfloat16", jit=True)
    assert devices.batch_that_fits(plan, TINY, (512, 512), images) == batch


@pytest.mark.parametrize(
    ("name", "capability"), [("9.0", (9, 0)), ("12.0", (12, 0)), ("gfx90a", (8, 0)), (None, (8, 0))]
)
def test_what_jax_calls_the_capability_is_read(
    name: str | None, capability: tuple[int, int]
) -> None:
    class Gpu:
        if name:
            compute_capability = name

    assert devices._capability(Gpu()) == capability


def test_tensorflow_sees_no_gpu_where_jax_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    config, seen = import_tensorflow().config, {"GPU": ["GPU:0"], "CPU": ["CPU:0"]}
    monkeypatch.setattr(
        config, "set_visible_devices", lambda these, kind: seen.update({kind: these})
    )
    devices.leave_gpus_to_jax()
    assert seen == {"GPU": [], "CPU": ["CPU:0"]}


def test_networks_are_made_where_the_strategy_keeps_them() -> None:
    with CPU.scope():
        assert devices.Devices((), "float32", False).strategy is CPU.strategy


def test_tensorflow_running_out_of_memory_is_told_from_other_errors() -> None:
    tf = import_tensorflow()
    assert devices.is_out_of_memory(tf.errors.ResourceExhaustedError(None, None, "OOM"))
    assert not devices.is_out_of_memory(tf.errors.InternalError(None, None, "broken"))


def test_two_images_that_do_not_fit_leave_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> int:
        raise import_tensorflow().errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(devices, "_free_gpu_bytes", lambda: 2**30)
    monkeypatch.setattr(devices, "_measured_bytes_per_image", exhausted)
    plan = devices.Devices(gpus=("GPU:0",), policy="float32", jit=True)
    assert devices.batch_that_fits(plan, TINY, (512, 512), 100) == 1
