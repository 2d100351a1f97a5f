from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench.gpu import peak_teraflops

QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
ROOT = Path(__file__).parents[3]
COMMAND = """
import sys
from tests.segtf.one_backend import WithoutTensorFlow
sys.meta_path.insert(0, WithoutTensorFlow())
from scripts.bench import gpu
gpu.main(sys.argv[1:])
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
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"])
        rate = row["operations"] / row["seconds"]
        assert row["fraction_of_peak"] == pytest.approx(rate / 0.1e12)
        weights = 7_000 * 4 * 4  # with Adam's two averages and the moving average
        values = row["batch"] * 32 * 32 * 64 * 4  # between the layers
        assert weights < row["memory_bytes"] < weights + 4 * values
