"""The network's operations are counted right, and the bench runs without TensorFlow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench_gpu import multiply_adds, peak_teraflops
from voc_builder.base.tensorflow import import_tensorflow

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
ROOT = Path(__file__).parents[2]
COMMAND = """
import sys
from tests.segtf.one_backend import WithoutTensorFlow
sys.meta_path.insert(0, WithoutTensorFlow())
from scripts import bench_gpu
bench_gpu.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("device", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "float32", 494.5),
        ("NVIDIA H100 PCIe", "mixed_bfloat16", 756),
        ("NVIDIA A100-SXM4-40GB", "mixed_bfloat16", 312),
        ("NVIDIA L40S", "float32", 183),
        ("NVIDIA L4", "float32", 60),
        ("Tesla T4", "float32", 8.1),
        ("Tesla T4", "mixed_bfloat16", None),
        ("NVIDIA A10G", "float32", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "float32", None),
        ("cpu", "float32", None),
    ],
)
def test_a_card_is_known_by_its_whole_name(device: str, precision: str, peak: float | None) -> None:
    assert peak_teraflops(device, precision) == peak


@pytest.mark.slow
def test_multiply_adds_of_each_kind_of_layer() -> None:
    import_tensorflow()
    import keras
    from keras import layers

    x = image = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same")(x)  # to 16 x 16
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(5, padding="same")(x)
    x = layers.Conv2D(4, 1, groups=2)(x)
    x = layers.Conv2DTranspose(6, 2, strides=2)(x)  # to 32 x 32
    x = layers.Dense(10)(layers.GlobalAveragePooling2D()(x))
    parts = (3 * 3 * 3 * 8 * 16 * 16, 5 * 5 * 8 * 16 * 16, 4 * 4 * 16 * 16, 2 * 2 * 4 * 6 * 16 * 16)
    assert multiply_adds(keras.Model(image, x), 32) == sum(parts) + 6 * 10


@pytest.mark.slow
def test_multiply_adds_of_mobilenet_are_those_that_its_authors_name() -> None:
    import_tensorflow()
    import keras

    network = keras.applications.MobileNetV2(weights=None)
    # "300M", table 4 of https://arxiv.org/abs/1801.04381
    assert multiply_adds(network, 224) == pytest.approx(300e6, rel=0.01)


@pytest.mark.slow
def test_a_layer_that_no_rule_counts_is_named() -> None:
    import_tensorflow()
    import keras
    from keras import layers

    x = image = keras.Input((None, None, 3))
    network = keras.Model(image, layers.SeparableConv2D(4, 3, name="separable")(x))
    with pytest.raises(ValueError, match="no rule counts separable"):
        multiply_adds(network, 32)


@pytest.mark.slow
def test_the_bench_runs_on_a_cpu_without_tensorflow(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    tiny = ["--arch", "tiny", "--sizes", "32", "--largest-batch", "2", "--steps", "1"]
    peaks = ["--peak-tflops", "0.1", "0.1"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *tiny, *peaks, "--json", str(figures)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": QUICK},
        check=True,
        capture_output=True,
        text=True,
    )
    rows = json.loads(figures.read_text(encoding="utf-8"))["rows"]
    assert {row["precision"] for row in rows} == {"float32", "mixed_bfloat16"}
    assert done.stdout.count("| 32 |") == len(rows) >= 2
    for row in rows:
        assert row["images_a_second"] == pytest.approx(row["batch"] / row["seconds_a_step"])
        rate = row["operations"] / row["seconds_a_step"]
        assert row["share_of_peak"] == pytest.approx(rate / 0.1e12)
        # XLA leaves out what padding multiplies, and the gradient of the image that nobody needs
        assert 0.75 < row["operations_by_xla"] / row["operations"] < 1.1
        weights = 7_000 * 4 * 4  # and their gradients' two averages, and the moving average
        values = row["batch"] * 32 * 32 * 64 * 4  # that pass through the layers
        assert weights < row["memory_bytes"] < weights + 4 * values
