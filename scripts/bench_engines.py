"""Measure onnxruntime, SavedModel and Keras side by side on one image at several sizes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.bench_table import Table
from segtf.inference.onnx_model import OnnxModel
from segtf.run.folder import BEST, SAVED_MODEL
from segtf.run.size import describe
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image, resize_image


def measure_engines(run: Path, photo: Path, sizes: Sequence[int], *, rounds: int) -> Table:
    """Seconds that each engine takes to answer about one image squeezed to each of the sizes,
    rounded up to what the network can take.
    """
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    from segtf.inference.backends import keras_predict, saved_model_predict

    model = OnnxModel(run)
    engines: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {
        "onnxruntime": model.probabilities,
        "SavedModel": saved_model_predict(run / SAVED_MODEL),
        "Keras": keras_predict(run / BEST),
    }
    pixels = decode_image(photo.read_bytes(), str(photo))
    info = model.info
    rounded = [-(-size // info.multiple) * info.multiple for size in sizes]
    able = [info.shape] if info.fixed else [(size, size) for size in rounded]
    found: dict[str, dict[str, float]] = {name: {} for name in engines}
    for shape in able:
        note(f"engines: {describe(shape)}")
        image = resize_image(pixels, *shape)[None]
        taken: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds + 1):  # the first builds graphs and plans memory
            for name, answer in engines.items():
                started = time.perf_counter()
                answer(image)
                taken[name].append(time.perf_counter() - started)
        for name, seconds in taken.items():
            found[name][describe(shape)] = statistics.median(seconds[1:])
    return Table(
        title=f"Engines: {info.arch} {info.encoder}, seconds per image",
        columns=("engine", *map(describe, able)),
        rows=tuple(
            (name, *(f"{by_size[size]:.3f}" for size in able)) for name, by_size in found.items()
        ),
        verdict=f"One image at a time, medians of {rounds} calls by turns, after a first one that "
        f"does not count; provider {model.provider}.",
        figures=found,
    )
