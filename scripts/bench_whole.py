"""Measure what prediction takes from file to files, beside the network's bare answers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.bench_table import Table, met
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import Mode, Predictor
from segtf.inference.tiles import tile_starts
from segtf.outputs.files import Wanted
from segtf.outputs.folder import predict_images
from segtf.run.size import HeightWidth, describe
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image, encode_jpeg, resize_image

LIMIT = 1.15  # times the bare runs
SAVE = ("mask", "overlay")


def lay_images(found: Sequence[Path], folder: Path, side: int, count: int) -> list[Path]:
    """JPEG files of `side` x `side` pixels in the folder, each of as many of the images `found`,
    one after the other, as it takes to fill it, side by side as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first = decode_image(found[0].read_bytes(), str(found[0]))
    rows, columns = (-(-side // length) for length in first.shape[:2])
    taken, paths = 0, []
    for number in range(count):
        canvas = np.zeros((rows * first.shape[0], columns * first.shape[1], 3), np.uint8)
        for row in range(rows):
            for column in range(columns):
                path = found[taken % len(found)]
                image = resize_image(decode_image(path.read_bytes(), str(path)), *first.shape[:2])
                top, left = row * first.shape[0], column * first.shape[1]
                canvas[top : top + first.shape[0], left : left + first.shape[1]] = image
                taken += 1
        paths.append(folder / f"{number:03}.jpg")
        paths[-1].write_bytes(encode_jpeg(np.ascontiguousarray(canvas[:side, :side]), quality=90))
    return paths


def measure_whole(
    run: Path, images: Sequence[Path], folder: Path, *, overlap: float, rounds: int
) -> Table:
    """Seconds an image of `segtf.predict` in tiles and squeezed, and of the same calls of the
    network on inputs that lie ready in memory.
    """
    model = OnnxModel(run)
    rows, figures = [], {}
    for mode in ("tile", "resize"):
        if mode == "tile" and model.info.fixed:
            continue
        ours, bare, calls = _both(model, images, folder, mode, overlap, rounds)
        ratio = statistics.median(ours) / statistics.median(bare)
        figures[mode] = {"ours": ours, "bare": bare, "ratio": ratio, "calls": calls}
        name = f"{'in tiles of' if mode == 'tile' else 'squeezed to'} {describe(model.info.shape)}"
        each = [statistics.median(side) / len(images) for side in (ours, bare)]
        rows.append((name, str(calls), *(f"{value:.3f}" for value in each), f"{ratio:.3f}"))
    side = decode_image(images[0].read_bytes(), "").shape[0]
    judged = figures.get("tile", figures["resize"])["ratio"]
    return Table(
        title=f"Prediction: {len(images)} images of {side} x {side}, {model.info.arch} "
        f"{model.info.encoder}",
        columns=("photos", "calls per image", "segtf.predict, s", "bare session.run, s", "ratio"),
        rows=tuple(rows),
        verdict=f"Seconds per image, medians of {rounds} rounds, provider {model.provider}. "
        "`segtf.predict` reads the JPEG, cuts, runs, blends, draws and writes mask and overlay. "
        f"Wanted: at most {LIMIT} times the bare calls, in tiles: {met(judged, LIMIT)} "
        f"({judged:.3f}).",
        figures=figures,
    )


def _both(
    model: OnnxModel,
    images: Sequence[Path],
    folder: Path,
    mode: Mode,
    overlap: float,
    rounds: int,
) -> tuple[list[float], list[float], int]:
    """Seconds of each round for all images, ours and bare, and the calls per image."""
    inputs = [
        image for path in images for image in inputs_of(path, model.info.shape, mode, overlap)
    ]
    predictor = Predictor([model], mode=mode, overlap=overlap)
    model.probabilities(inputs[0])  # onnxruntime plans its memory
    ours, bare = [], []
    for number in range(rounds):
        note(f"prediction, {mode}: round {number + 1} of {rounds}")
        started = time.perf_counter()
        predict_images(predictor, images, folder / mode, Wanted(SAVE))
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        for image in inputs:
            model.probabilities(image)
        bare.append(time.perf_counter() - started)
    return ours, bare, len(inputs) // len(images)


def inputs_of(
    path: Path, shape: HeightWidth, mode: Mode, overlap: float
) -> list[NDArray[np.uint8]]:
    """What the network is given of an image, each of shape (1, *shape, 3)."""
    image = decode_image(path.read_bytes(), str(path))
    if mode == "resize":
        return [resize_image(image, *shape)[None]]
    tops, lefts = map(tile_starts, image.shape[:2], shape, (overlap, overlap))
    return [
        np.ascontiguousarray(image[top : top + shape[0], left : left + shape[1]])[None]
        for top in tops
        for left in lefts
    ]
