"""Measure prediction beside the bare network: python -m scripts.bench.predict RUN

Use a machine that does nothing else; its load is written down too.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.bench.measure import Table, measure
from scripts.bench.predict_memory import measure_memory
from segtf.inference.decision import most_probable
from segtf.inference.find_images import find_images
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import Mode, Predictor
from segtf.inference.tiles import blended_strips, flat_window, gaussian_window, tile_starts
from segtf.outputs.files import Wanted
from segtf.outputs.folder import predict_images
from segtf.run.folder import BEST, SAVED_MODEL
from segtf.run.size import HeightWidth, describe
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image, encode_jpeg, resize_image

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class PredictBench:
    """Measure prediction from file to files, the engines, the seams of tiles, and the memory that a
    giant image and many images take.
    """

    run: Path
    """Run folder with best.keras, saved_model and model.onnx."""
    images: Path = Path("fishki_labelme")
    """Folder of images that the network was not trained on; side by side they make larger ones."""
    only: str = "whole,engines,seam,memory"
    """Parts to measure, separated by commas."""
    out: Path = Path("artifacts/bench_predict")
    """Folder for tables.md and figures.json."""
    side: int = 2448
    """Size of the images of the parts whole and seam, pixels."""
    count: int = 3
    """Images of the parts whole and seam."""
    rounds: int = 3
    """Measurements of each side, by turns; the medians count."""
    sizes: tuple[int, ...] = (512, 1024, 2448)
    """Sizes of the part engines, rounded up to what the network takes, pixels."""
    overlap: float = 0.25
    """Fraction of a tile that it shares with its neighbour."""
    giant: int = 20_000
    """Size of the giant image of the part memory, pixels."""
    many: tuple[int, ...] = (50, 500)
    """Few and many images of the part memory."""
    many_side: int = 1024
    """Their size, pixels."""


def bench_predict(config: PredictBench) -> None:
    """Measures, prints and writes. Raises `UserError` for a run without its networks and for
    settings that leave nothing to measure.
    """
    refuse_below_one(side=config.side, count=config.count, rounds=config.rounds, giant=config.giant)
    if len(config.many) != 2 or not 0 < config.many[0] < config.many[1]:
        raise UserError(f"--many takes two rising numbers from 1 on. Received: {config.many}")
    parts = {
        "whole": measure_whole,
        "engines": measure_engines,
        "seam": measure_seam,
        "memory": _memory,
    }
    bound = {name: partial(part, config) for name, part in parts.items()}
    measure(bound, config.only, config.out, ("onnxruntime",))


def read_image(path: Path) -> Image:
    """RGB, shape (H, W, 3)."""
    return decode_image(path.read_bytes(), str(path))


def lay_images(images: Path, folder: Path, side: int, count: int) -> list[Path]:
    """Writes `count` JPEG files of `side` x `side` pixels into a folder. Each shows the `images`,
    one after the other, side by side in the size of the first.
    """
    folder.mkdir(parents=True)
    found = find_images([images])
    height, width = read_image(found[0]).shape[:2]
    cells = (resize_image(read_image(path), height, width) for path in itertools.cycle(found))
    paths = [folder / f"{number:03}.jpg" for number in range(count)]
    for path in paths:
        rows = [
            np.hstack(list(itertools.islice(cells, -(-side // width))))
            for _ in range(-(-side // height))
        ]
        laid = np.ascontiguousarray(np.vstack(rows)[:side, :side])
        path.write_bytes(encode_jpeg(laid, quality=90))
    return paths


def inputs_of(path: Path, shape: HeightWidth, mode: Mode, overlap: float) -> Iterator[Image]:
    """The arrays that the network is given of an image, each of shape (1, *shape, 3)."""
    image = read_image(path)
    if mode == "resize":
        yield resize_image(image, *shape)[None]
        return
    starts = map(tile_starts, image.shape[:2], shape, (overlap, overlap))
    for top, left in itertools.product(*starts):
        tile = image[top : top + shape[0], left : left + shape[1]]
        yield np.ascontiguousarray(tile)[None]


def seconds_of(work: Callable[[], object]) -> float:
    """The duration of a call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def measure_whole(config: PredictBench, folder: Path) -> Table:
    """Seconds per image of `segtf.predict`, in tiles and resized, and of the same `session.run`
    calls on inputs that lie ready in memory.
    """
    model = OnnxModel(config.run)
    shape, side = model.info.shape, config.side
    images = lay_images(config.images, folder / "images", side, config.count)
    modes: tuple[Mode, ...] = ("resize",) if model.info.fixed else ("tile", "resize")
    rows: list[tuple[str, ...]] = []
    figures: dict[str, Any] = {}
    for mode in modes:
        note(f"whole: {mode}")
        inputs = [each for path in images for each in inputs_of(path, shape, mode, config.overlap)]
        predictor = Predictor([model], mode=mode, overlap=config.overlap)
        model.probabilities(inputs[0])  # onnxruntime plans its memory
        ours, bare = [], []
        for _ in range(config.rounds):
            out = folder / mode
            ours.append(
                seconds_of(lambda: predict_images(predictor, images, out, Wanted()))  # noqa: B023
            )
            bare.append(seconds_of(lambda: [*map(model.probabilities, inputs)]))  # noqa: B023
        medians = statistics.median(ours), statistics.median(bare)
        calls, ratio = len(inputs) // len(images), medians[0] / medians[1]
        figures[mode] = {"ours": ours, "bare": bare, "ratio": ratio, "calls": calls}
        name = f"{'in tiles of' if mode == 'tile' else 'resized to'} {describe(shape)}"
        each = (f"{seconds / len(images):.3f}" for seconds in medians)
        rows.append((name, str(calls), *each, f"{ratio:.3f}"))
    return Table(
        title=f"Prediction: {len(images)} images of {side} x {side}, {model.info.arch} "
        f"{model.info.encoder}",
        columns=("images", "calls per image", "segtf.predict, s", "bare session.run, s", "ratio"),
        rows=tuple(rows),
        note=f"Seconds per image, medians of {config.rounds} rounds, {model.provider}. "
        "`segtf.predict` reads the JPEG, cuts, runs, blends, and writes mask and overlay. "
        "Target: a ratio of at most 1.15 in tiles.",
        figures=figures,
    )


def measure_engines(config: PredictBench, folder: Path) -> Table:
    """Seconds per image of onnxruntime, SavedModel and Keras on the same network."""
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    from segtf.inference.backends import keras_predict, saved_model_predict

    model = OnnxModel(config.run)
    info = model.info
    engines: dict[str, Callable[[Image], object]] = {
        "onnxruntime": model.probabilities,
        "SavedModel": saved_model_predict(config.run / SAVED_MODEL),
        "Keras": keras_predict(config.run / BEST),
    }
    (path,) = lay_images(config.images, folder / "images", max(config.sizes), 1)
    pixels = read_image(path)
    rounded = [-(-size // info.multiple) * info.multiple for size in config.sizes]
    shapes = [info.shape] if info.fixed else [(size, size) for size in rounded]
    seconds: dict[str, dict[str, float]] = {name: {} for name in engines}
    for shape in shapes:
        note(f"engines: {describe(shape)}")
        image = resize_image(pixels, *shape)[None]
        taken: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(config.rounds + 1):
            for name, predict in engines.items():
                taken[name].append(seconds_of(lambda: predict(image)))  # noqa: B023
        for name, found in taken.items():  # the first call builds graphs and plans memory
            seconds[name][describe(shape)] = statistics.median(found[1:])
    return Table(
        title=f"Engines: {info.arch} {info.encoder}, seconds per image",
        columns=("engine", *map(describe, shapes)),
        rows=tuple(
            (name, *(f"{value:.3f}" for value in found.values())) for name, found in seconds.items()
        ),
        note=f"One image at a time, medians of {config.rounds} calls by turns, {model.provider}.",
        figures=seconds,
    )


def whole_mask(model: OnnxModel, image: Image) -> Image:
    """Class ids, shape (H, W), of an image that the network sees at once, mirrored at the bottom
    and at the right to a size that it takes.
    """
    height, width = image.shape[:2]
    below, right = (-length % model.info.multiple for length in (height, width))
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    answer = model.probabilities(np.asarray(padded, np.uint8)[None])[0]
    return most_probable(answer[:height, :width])


def measure_seam(config: PredictBench, folder: Path) -> Table:
    """Fraction of pixels for which blended tiles and the whole image name the same class, without
    half an overlap along the image's border. Raises `UserError` for a network of one size.
    """
    model = OnnxModel(config.run)
    tile, overlap = model.info.shape, config.overlap
    if model.info.fixed:
        raise UserError(f"{model.path}: takes {describe(tile)} only: leave seam out of --only")
    down, across = (max(round(length * overlap / 2), 1) for length in tile)
    inner = np.s_[down:-down, across:-across]
    windows = {"Gaussian": gaussian_window, "flat": flat_window}
    agree: dict[str, list[float]] = {name: [] for name in windows}
    for path in lay_images(config.images, folder / "images", config.side, config.count):
        note(f"seam: {path.name}")
        image = read_image(path)
        whole = whole_mask(model, image)
        for name, window in windows.items():
            strips = blended_strips(
                model.probabilities,
                lambda top, end: image[top:end],  # noqa: B023
                *image.shape[:2],
                tile=tile,
                overlap=overlap,
                window=window,
            )
            mask = np.vstack([most_probable(strip) for _, strip in strips])
            agree[name].append(float((mask == whole)[inner].mean()))
    return Table(
        title=f"Seams: tiles of {describe(tile)}, {model.info.arch} {model.info.encoder}",
        columns=("window", "same class, mean of images", "worst image"),
        rows=tuple(
            (name, f"{np.mean(found):.3%}", f"{min(found):.3%}") for name, found in agree.items()
        ),
        note=f"{config.count} images of {config.side} x {config.side}, tiles that share "
        f"{overlap:.0%}. Target: 99.5 % with the Gaussian window, and more than with the flat one.",
        figures=agree,
    )


def _memory(config: PredictBench, folder: Path) -> Table:
    folders = []
    for count in config.many:
        folders.append(folder / f"images-{count}")
        lay_images(config.images, folders[-1], config.many_side, count)
    return measure_memory(folder, giant=config.giant, model=config.run, few_and_many=folders)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(bench_predict, PredictBench, "python -m scripts.bench.predict", argv)


if __name__ == "__main__":
    raise SystemExit(main())
