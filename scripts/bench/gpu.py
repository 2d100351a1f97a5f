"""Measure training steps on an accelerator under JAX, without TensorFlow.

`python -m scripts.bench.gpu` prints a Markdown table and writes artifacts/bench_gpu.json: images
per second, memory, and the fraction of the card's peak, for each size and precision, with the batch
doubled until memory runs out or the gain is small. It needs `jax[cuda13]`, keras, numpy and psutil,
and segmentation-models but for `--arch unet_plain`.

A step is what `keras.Model.fit` compiles: forward and backward pass, loss, metric, and Adam with
moving averages. The batch lies on the device, so that no input pipeline is measured.
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

GAIN = 1.03  # in images per second, that makes a batch twice as large worth trying
ROUNDS = 3  # the median counts


class Card(NamedTuple):
    """Dense peaks in TFLOP/s."""

    name: str  # regular expression, found in JAX's name of the device
    float32: float  # TF32 where the card has it: JAX's default for float32 convolutions
    bfloat16: float | None  # None where the tensor cores lack it


# NVIDIA's datasheets and architecture papers, their figures "with sparsity" halved; the first match
# counts
CARDS = (
    Card(r"\bH[12]00 NVL\b", 417.5, 835.5),
    Card(r"\bH100 PCIe\b", 378, 756),
    Card(r"\bH[12]00\b", 494.5, 989.5),
    Card(r"\bA100\b", 156, 312),
    Card(r"\bL40S\b", 183, 362),
    Card(r"\bL4\b", 60, 121),
    Card(r"\bA10\b", 62.5, 125),
    Card(r"\bRTX 4090$", 82.6, 165.2),
    Card(r"\bRTX 3090$", 35.6, 71),
    Card(r"\bV100-SXM2\b", 15.7, None),
    Card(r"\bT4\b", 8.1, None),
)


@dataclass(frozen=True)
class Step:
    """A training step at one size, precision and batch."""

    size: int  # pixels
    precision: str  # Keras's dtype policy
    batch: int
    images_per_second: float
    seconds: float
    compile_seconds: float
    memory_bytes: int  # that XLA plans: weights, optimiser, batch and everything between
    operations: float  # as XLA counts them before it optimises
    fraction_of_peak: float | None


def peak_teraflops(device_kind: str, precision: str) -> float | None:
    """The card's dense peak for what JAX does at this precision; None if it is not known."""
    card = next((card for card in CARDS if re.search(card.name, device_kind)), None)
    return card and (card.bfloat16 if precision == "mixed_bfloat16" else card.float32)


def random_batch(batch: int, size: int, classes: int) -> tuple[Any, Any]:
    """Images (N, H, W, 3) and masks (N, H, W), uint8, on the device."""
    import jax

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
    masks = rng.integers(0, classes, (batch, size, size), dtype=np.uint8)
    return jax.device_put((images, masks))


def training_step(network: Any, classes: int) -> tuple[Any, Any]:
    """The function from a state and a batch to the loss and the next state, ready to compile, and
    the first state: weights, averages of batch normalisation, optimiser, counts.
    """
    import jax
    import keras

    from segtf.networks.losses import SegmentationLoss
    from segtf.training.confusion import ConfusionCounts

    loss, metric = SegmentationLoss("ce + dice"), ConfusionCounts(classes)
    optimizer = keras.optimizers.Adam(1e-3, use_ema=True, ema_momentum=0.99)
    optimizer.build(network.trainable_variables)

    def value(weights: Any, others: Any, images: Any, masks: Any) -> Any:
        answer, others = network.stateless_call(weights, others, images, training=True)
        return loss(masks, answer), (answer, others)

    def step(state: Any, images: Any, masks: Any) -> Any:
        weights, others, moments, counts = state
        pull = jax.value_and_grad(value, has_aux=True)
        (lost, (answer, others)), gradients = pull(weights, others, images, masks)
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        counts = metric.stateless_update_state(counts, masks, answer)
        return lost, (weights, others, moments, counts)

    groups = [network.trainable_variables, network.non_trainable_variables]
    groups += [optimizer.variables, metric.variables]
    # copies, for a step overwrites its state and the next batch starts from the same one
    state = tuple([jax.numpy.copy(variable.value) for variable in group] for group in groups)
    return jax.jit(step, donate_argnums=0), state


def seconds_per_step(step: Any, state: Any, batch: tuple[Any, Any], steps: int) -> float:
    """The median of some rounds of `steps` steps, after two that are not counted."""
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
    network: Any,
    size: int,
    precision: str,
    batch: int,
    args: argparse.Namespace,
    peak: float | None,
) -> Step:
    """One row; `peak` is in TFLOP/s. Raises what JAX raises when memory runs out."""
    step, state = training_step(network, args.classes)
    data = random_batch(batch, size, args.classes)
    start = time.perf_counter()
    lowered = step.lower(state, *data)
    compiled = lowered.compile()
    compile_seconds = time.perf_counter() - start
    plan = compiled.memory_analysis()
    kept = plan.argument_size_in_bytes + plan.output_size_in_bytes - plan.alias_size_in_bytes
    operations = (lowered.cost_analysis() or {}).get("flops", math.nan)
    seconds = seconds_per_step(compiled, state, data, args.steps)
    return Step(
        size=size,
        precision=precision,
        batch=batch,
        images_per_second=batch / seconds,
        seconds=seconds,
        compile_seconds=compile_seconds,
        memory_bytes=kept + plan.temp_size_in_bytes,
        operations=operations,
        fraction_of_peak=operations / seconds / 1e12 / peak if peak else None,
    )


def measure_batches(
    args: argparse.Namespace, size: int, precision: str, peak: float | None
) -> Iterator[Step]:
    """A row for each batch, doubled until memory runs out or the gain is less than `GAIN`."""
    import keras

    from segtf.networks.model import build_model
    from segtf.training.devices import is_out_of_memory

    keras.config.set_dtype_policy(precision)
    network = build_model(args.arch, args.encoder, args.classes, (size, size))
    batch, fastest = args.batch, 0.0
    while batch <= args.largest_batch:
        try:
            row = measure(network, size, precision, batch, args, peak)
        except Exception as error:  # JAX has no class for it
            if not is_out_of_memory(error):
                raise
            print(f"{size} {precision}: no memory for {batch} images", file=sys.stderr)
            return
        yield row
        if row.images_per_second < fastest * GAIN:
            return
        batch, fastest = batch * 2, row.images_per_second


HEAD = (
    "| size | precision | batch | images per second | ms per step | memory, GB | compile, s "
    "| of the peak |\n| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def line(row: Step) -> str:
    """Of the Markdown table."""
    fraction = "not known" if row.fraction_of_peak is None else f"{row.fraction_of_peak:.1%}"
    return (
        f"| {row.size} | {row.precision} | {row.batch} | {row.images_per_second:.1f} "
        f"| {row.seconds * 1e3:.1f} | {row.memory_bytes / 1e9:.2f} | {row.compile_seconds:.0f} "
        f"| {fraction} |"
    )


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line, by argparse: the machine may have no jsonargparse."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.gpu", description=__doc__)
    add = parser.add_argument
    add("--arch", default="unet", help="architecture")
    add("--encoder", default="efficientnetb0", help="encoder")
    add("--classes", type=int, default=4, help="number of classes")
    add("--sizes", type=int, nargs="+", default=[512, 1024], help="image sizes, pixels")
    add("--precisions", nargs="+", default=["float32", "mixed_bfloat16"], help="dtype policies")
    add("--peak-tflops", type=float, nargs="+", help="the card's, one for each precision")
    add("--batch", type=int, default=1, help="images per step of the first measurement")
    add("--largest-batch", type=int, default=256, help="images per step at most")
    add("--steps", type=int, default=10, help="steps in each of three rounds")
    add("--json", type=Path, default=Path("artifacts/bench_gpu.json"), help="file for all figures")
    args = parser.parse_args(argv)
    if args.peak_tflops and len(args.peak_tflops) != len(args.precisions):
        parser.error(f"--peak-tflops: one number for each of {', '.join(args.precisions)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, prints the table, and writes the figures after each row."""
    args = read_arguments(argv)
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")  # of the card, for JAX's pool
    import jax
    import keras

    device = jax.devices()[0]
    about = {
        "device": device.device_kind,
        "python": platform.python_version(),
        "jax": jax.__version__,
        "keras": keras.__version__,
        "arguments": {**vars(args), "json": str(args.json)},
    }
    print(
        f"{args.arch} {args.encoder}, {args.classes} classes, {device.device_kind}, "
        f"jax {jax.__version__}, keras {keras.__version__}\n\n{HEAD}",
        flush=True,
    )
    peaks = args.peak_tflops or [peak_teraflops(device.device_kind, p) for p in args.precisions]
    args.json.parent.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for precision, peak in zip(args.precisions, peaks, strict=True):
        for size in args.sizes:
            for row in measure_batches(args, size, precision, peak):
                print(line(row), flush=True)
                rows.append(asdict(row))
                text = json.dumps({**about, "rows": rows}, indent=2)
                args.json.write_text(f"{text}\n", encoding="utf-8")
    print(f"\n{args.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
