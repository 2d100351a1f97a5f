"""Measure training steps on an accelerator: JAX, arrays in memory, no TensorFlow needed.

`python -m scripts.bench_gpu` prints a Markdown table and writes `artifacts/bench_gpu.json`: images
a second, memory, and the share of the card's arithmetic peak, at each size and precision, with the
batch doubled until memory runs out or nothing is gained. It needs `jax[cuda13]`, keras,
segmentation-models, numpy and psutil. On a CPU, at a tiny size, it only shows that it works; on an
accelerator it has not been run yet.

A step is what `keras.Model.fit` compiles: forward and backward pass of the network, loss, metric,
Adam with moving averages. The batch lies on the device, so that no input pipeline is measured.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

GAIN = 1.03  # images a second, against half the batch, that make a larger one worth trying
ROUNDS = 3  # of which the middle one counts
FORWARD_AND_BACKWARD = 3  # the backward pass has two products for each one of the forward pass
OPERATIONS = 2  # a multiply-add


class Card(NamedTuple):
    """Dense peaks in TFLOP/s; None where its tensor cores cannot do it."""

    name: str  # regular expression, found in what JAX calls it
    float32: float
    tf32: float | None
    bfloat16: float | None
    source: str


# the first that matches counts; Nvidia's figures "with sparsity" are halved
CARDS = (
    Card(r"\bH200 NVL\b", 60, 417.5, 835.5, "NVIDIA H200 datasheet"),
    Card(r"\bH200\b", 67, 494.5, 989.5, "NVIDIA H200 datasheet"),
    Card(r"\bH100 NVL\b", 60, 417.5, 835.5, "NVIDIA H100 datasheet"),
    Card(r"\bH100 PCIe\b", 51, 378, 756, "NVIDIA H100 datasheet"),
    Card(r"\bH100\b", 67, 494.5, 989.5, "NVIDIA H100 datasheet"),
    Card(r"\bA100\b", 19.5, 156, 312, "NVIDIA A100 datasheet"),
    Card(r"\bL40S\b", 91.6, 183, 362, "NVIDIA L40S datasheet"),
    Card(r"\bL4\b", 30.3, 60, 121, "NVIDIA L4 datasheet"),
    Card(r"\bA10\b", 31.2, 62.5, 125, "NVIDIA A10 datasheet"),
    Card(r"\bRTX 4090$", 82.6, 82.6, 165.2, "NVIDIA Ada GPU architecture, appendix A"),
    Card(r"\bRTX 3090$", 35.6, 35.6, 71, "NVIDIA Ampere GA102 GPU architecture, appendix A"),
    Card(r"\bV100-SXM2\b", 15.7, None, None, "NVIDIA V100 datasheet"),
    Card(r"\bT4\b", 8.1, None, None, "NVIDIA T4 datasheet"),
)


class Row(NamedTuple):
    """What is measured."""

    size: int  # pixels
    precision: str  # Keras's dtype policy
    batch: int


@dataclass(frozen=True)
class Measured:
    """A step at one size, precision and batch."""

    size: int
    precision: str
    batch: int
    images_a_second: float
    seconds_a_step: float
    compile_seconds: float
    memory_bytes: int  # that XLA plans for the step: weights, optimiser, batch and all between
    most_bytes_so_far: int | None  # measured on the device since the bench began
    operations: int  # of a step, by the layers' shapes
    operations_by_xla: float | None  # of the same step
    teraflops: float  # a second
    share_of_peak: float | None


def peak_teraflops(device_kind: str, precision: str) -> float | None:
    """The card's dense peak for what JAX does at this precision, None if it is not known.

    JAX computes float32 convolutions in TF32 where the card can
    (https://docs.jax.dev/en/latest/201/precision.html).
    """
    card = next((card for card in CARDS if re.search(card.name, device_kind)), None)
    if card is None or precision == "mixed_bfloat16":
        return card.bfloat16 if card else None
    return card.tf32 or card.float32


def multiply_adds(network: Any, size: int) -> int:
    """Of one forward pass over one image of `size` x `size`, in the layers that have a kernel.

    Raises ValueError for a layer of weights that it does not know.
    """
    import keras

    fixed = keras.models.clone_model(network, input_tensors=keras.Input((size, size, 3)))
    total = 0
    for layer in fixed.layers:
        if hasattr(layer, "kernel"):
            # each weight is used once for each position: of the output, of the input if transposed
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            positions = (layer.input if transposed else layer.output).shape[1:-1]
            total += math.prod(layer.kernel.shape) * math.prod(positions)
        elif any(len(weight.shape) > 1 for weight in layer.weights):
            raise ValueError(f"no rule counts {layer.name}, {type(layer).__name__}")
    return total


def random_batch(batch: int, size: int, classes: int) -> tuple[Any, Any]:
    """Images (N, H, W, 3) and masks (N, H, W), uint8, on the device."""
    import jax

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    masks = rng.integers(0, classes, (batch, size, size), dtype=np.uint8)
    return jax.device_put((images, masks))


def training_step(network: Any, classes: int) -> tuple[Any, tuple[list[Any], ...]]:
    """The compilable step from one state and batch to the loss and the next state, and the first
    state: weights, averages of batch normalisation, optimiser, counts.
    """
    import jax
    import keras

    from segtf.networks.losses import SegmentationLoss
    from segtf.training.confusion import ConfusionCounts

    loss, metric = SegmentationLoss("ce + dice"), ConfusionCounts(classes)
    optimizer = keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.99)
    optimizer.build(network.trainable_variables)

    def value(weights: list[Any], others: list[Any], images: Any, masks: Any) -> Any:
        answer, others = network.stateless_call(weights, others, images, training=True)
        return loss(masks, answer), (answer, others)

    def step(state: tuple[list[Any], ...], images: Any, masks: Any) -> Any:
        weights, others, moments, counts = state
        pull = jax.value_and_grad(value, has_aux=True)
        (lost, (answer, others)), gradients = pull(weights, others, images, masks)
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        counts = metric.stateless_update_state(counts, masks, answer)
        return lost, (weights, others, moments, counts)

    groups = (network.trainable_variables, network.non_trainable_variables)
    groups = (*groups, optimizer.variables, metric.variables)
    # copies, for a step overwrites its state and the next batch starts from the same one
    state = tuple([jax.numpy.copy(variable.value) for variable in group] for group in groups)
    return jax.jit(step, donate_argnums=0), state


def seconds_a_step(step: Any, state: Any, batch: tuple[Any, Any], steps: int) -> float:
    """The middle one of some rounds of `steps` steps, after two that are not counted."""
    import jax

    for _ in range(2):
        lost, state = step(state, *batch)
    rounds = []
    for _ in range(ROUNDS):
        jax.block_until_ready(state)
        start = time.perf_counter()
        for _ in range(steps):
            lost, state = step(state, *batch)
        jax.block_until_ready(state)
        rounds.append((time.perf_counter() - start) / steps)
    if not math.isfinite(lost):
        raise FloatingPointError(f"the loss became {lost}")
    return statistics.median(rounds)


def measure(
    row: Row,
    network: Any,
    *,
    classes: int,
    steps: int,
    operations: int,
    peak: float | None,
) -> Measured:
    """One row; `operations` are those of a step. Raises what JAX raises when memory runs out."""
    import jax

    step, state = training_step(network, classes)
    batch = random_batch(row.batch, row.size, classes)
    start = time.perf_counter()
    lowered = step.lower(state, *batch)
    compiled = lowered.compile()
    compiling = time.perf_counter() - start
    plan, cost = compiled.memory_analysis(), lowered.cost_analysis()
    fixed = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    seconds = seconds_a_step(compiled, state, batch, steps)
    teraflops = operations / seconds / 1e12
    return Measured(
        **row._asdict(),
        images_a_second=row.batch / seconds,
        seconds_a_step=seconds,
        compile_seconds=compiling,
        memory_bytes=fixed + plan.temp_size_in_bytes,
        most_bytes_so_far=(jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
        operations=operations,
        operations_by_xla=(cost or {}).get("flops"),
        teraflops=teraflops,
        share_of_peak=teraflops / peak if peak else None,
    )


def sweep(
    args: argparse.Namespace, size: int, precision: str, peak: float | None
) -> Iterator[Measured]:
    """A row for each batch, doubled until memory runs out or less than 3 % is gained."""
    import keras

    from segtf.networks.model import build_model
    from segtf.training.devices import is_out_of_memory

    keras.config.set_dtype_policy(precision)
    network = build_model(args.arch, args.encoder, args.classes, (size, size))
    forward = multiply_adds(network.get_layer("network"), size)
    a_image = forward * OPERATIONS * FORWARD_AND_BACKWARD
    batch, fastest = args.batch, 0.0
    while batch <= args.largest_batch:
        try:
            measured = measure(
                Row(size, precision, batch),
                network,
                classes=args.classes,
                steps=args.steps,
                operations=a_image * batch,
                peak=peak,
            )
        except Exception as error:  # JAX has no class for it
            if not is_out_of_memory(error):
                raise
            print(f"{size} {precision}: no memory for {batch} images", file=sys.stderr)
            return
        yield measured
        if measured.images_a_second < fastest * GAIN:
            return
        batch, fastest = batch * 2, measured.images_a_second


HEAD = (
    "| size | precision | batch | images a second | ms a step | memory, GB | compile, s "
    "| TFLOP/s | of the peak | operations: XLA / layers |\n"
    "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def line(row: Measured) -> str:
    """Of the Markdown table."""
    share = "not known" if row.share_of_peak is None else f"{row.share_of_peak:.1%}"
    by_xla = row.operations_by_xla
    against = "not told" if by_xla is None else f"{by_xla / row.operations:.2f}"
    return (
        f"| {row.size} | {row.precision} | {row.batch} | {row.images_a_second:.1f} "
        f"| {row.seconds_a_step * 1e3:.1f} | {row.memory_bytes / 1e9:.2f} "
        f"| {row.compile_seconds:.0f} | {row.teraflops:.3g} | {share} | {against} |"
    )


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench_gpu", description=__doc__)
    add = parser.add_argument
    add("--arch", default="unet", help="architecture")
    add("--encoder", default="efficientnetb0", help="encoder")
    add("--classes", type=int, default=4, help="classes")
    add("--sizes", type=int, nargs="+", default=[512, 1024], help="sides of images, pixels")
    add("--precisions", nargs="+", default=["float32", "mixed_bfloat16"], help="dtype policies")
    add("--peak-tflops", type=float, nargs="+", help="the card's, one for each precision")
    add("--batch", type=int, default=1, help="images a step, to begin with")
    add("--largest-batch", type=int, default=256, help="images a step, at most")
    add("--steps", type=int, default=10, help="steps a round, of which there are three")
    add("--json", type=Path, default=Path("artifacts/bench_gpu.json"), help="where figures go")
    args = parser.parse_args(argv)
    if args.peak_tflops and len(args.peak_tflops) != len(args.precisions):
        parser.error(f"--peak-tflops: one number for each of {', '.join(args.precisions)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, write the figures."""
    args = read_arguments(argv)
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")  # of the card, for JAX's pool
    import jax
    import keras

    device = jax.devices()[0]
    about = f"{device.device_kind}, jax {jax.__version__}, keras {keras.__version__}"
    print(f"{args.arch} {args.encoder}, {args.classes} classes, {about}\n\n{HEAD}", flush=True)
    rows: list[Measured] = []
    for number, precision in enumerate(args.precisions):
        peak = peak_teraflops(device.device_kind, precision)
        peak = args.peak_tflops[number] if args.peak_tflops else peak
        for size in args.sizes:
            for row in sweep(args, size, precision, peak):
                print(line(row), flush=True)
                rows.append(row)
    told = {
        key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()
    }
    pool = (device.memory_stats() or {}).get("bytes_limit")
    figures = {
        "device": device.device_kind,
        "pool_bytes": pool,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "keras": keras.__version__,
        "arguments": told,
        "rows": [asdict(row) for row in rows],
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(f"\n{args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
