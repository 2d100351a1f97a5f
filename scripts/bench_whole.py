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
from segtf.outputs.folder import predict_photos
from segtf.run.size import HeightWidth, describe
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image, encode_jpeg, resize_image

LIMIT = 1.15  # times the bare runs
SAVE = ("mask", "overlay")


def lay_photos(found: Sequence[Path], folder: Path, side: int, count: int) -> list[Path]:
    """JPEG files of `side` x `side` pixels in the folder, each of as many of the photos `found`,
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
                photo = resize_image(decode_image(path.read_bytes(), str(path)), *first.shape[:2])
                top, left = row * first.shape[0], column * first.shape[1]
                canvas[top : top + first.shape[0], left : left + first.shape[1]] = photo
                taken += 1
        paths.append(folder / f"{number:03}.jpg")
        paths[-1].write_bytes(encode_jpeg(np.ascontiguousarray(canvas[:side, :side]), quality=90))
    return paths


def measure_whole(
    run: Path, photos: Sequence[Path], folder: Path, *, overlap: float, rounds: int
) -> Table:
    """Seconds a photo of `segtf.predict` in tiles and squeezed, and of the same calls of the
    network on inputs that lie ready in memory.
    """
    model = OnnxModel(run)
    rows, figures = [], {}
    for mode in ("tile", "resize"):
        if mode == "tile" and model.info.fixed:
            continue
        ours, bare, calls = _both(model, photos, folder, mode, overlap, rounds)
        ratio = statistics.median(ours) / statistics.median(bare)
        figures[mode] = {"ours": ours, "bare": bare, "ratio": ratio, "calls": calls}
        name = f"{'in tiles of' if mode == 'tile' else 'squeezed to'} {describe(model.info.shape)}"
        each = [statistics.median(side) / len(photos) for side in (ours, bare)]
        rows.append((name, str(calls), *(f"{value:.3f}" for value in each), f"{ratio:.3f}"))
    side = decode_image(photos[0].read_bytes(), "").shape[0]
    judged = figures.get("tile", figures["resize"])["ratio"]
    return Table(
        title=f"Prediction: {len(photos)} photos of {side} x {side}, {model.info.arch} "
        f"{model.info.encoder}",
        columns=("photos", "calls a photo", "segtf.predict, s", "bare session.run, s", "ratio"),
        rows=tuple(rows),
        verdict=f"Seconds a photo, medians of {rounds} rounds by turns, provider {model.provider}. "
        "`segtf.predict` reads the JPEG, cuts, runs, blends, draws and writes mask and overlay. "
        f"Wanted: at most {LIMIT} times the bare calls, in tiles: {met(judged, LIMIT)} "
        f"({judged:.3f}).",
        figures=figures,
    )


def _both(
    model: OnnxModel,
    photos: Sequence[Path],
    folder: Path,
    mode: Mode,
    overlap: float,
    rounds: int,
) -> tuple[list[float], list[float], int]:
    """Seconds of each round for all photos, ours and bare, and the calls a photo."""
    inputs = [
        image for path in photos for image in inputs_of(path, model.info.shape, mode, overlap)
    ]
    predictor = Predictor([model], mode=mode, overlap=overlap)
    model.probabilities(inputs[0])  # onnxruntime plans its memory
    ours, bare = [], []
    for number in range(rounds):
        note(f"prediction, {mode}: round {number + 1} of {rounds}")
        started = time.perf_counter()
        predict_photos(predictor, photos, folder / mode, Wanted(SAVE))
        ours.append(time.perf_counter() - started)
        started = time.perf_counter()
        for image in inputs:
            model.probabilities(image)
        bare.append(time.perf_counter() - started)
    return ours, bare, len(inputs) // len(photos)


def inputs_of(
    path: Path, shape: HeightWidth, mode: Mode, overlap: float
) -> list[NDArray[np.uint8]]:
    """What the network is given of a photo, each of shape (1, *shape, 3)."""
    photo = decode_image(path.read_bytes(), str(path))
    if mode == "resize":
        return [resize_image(photo, *shape)[None]]
    tops, lefts = map(tile_starts, photo.shape[:2], shape, (overlap, overlap))
    return [
        np.ascontiguousarray(photo[top : top + shape[0], left : left + shape[1]])[None]
        for top in tops
        for left in lefts
    ]
