"""One interface to a network, whether Keras, a SavedModel or onnxruntime runs it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.inference.ensembles import Ensemble, classes_together, together
from segtf.inference.onnx_model import ModelInfo, OnnxModel, read_info
from segtf.inference.predictor import TURNS, Tta, check_turns, turned
from segtf.run.folder import BEST, CONFIG, read_config, read_data
from segtf.run.size import HeightWidth, describe
from voc_builder.base.errors import UserError

INFO = Path("assets.extra", "segtf.json")  # in a SavedModel: what an ONNX file has as metadata


@dataclass(frozen=True)
class Engine:
    """A network, and what is needed to run it."""

    kind: str  # keras, saved_model, onnx, onnx_float16 or onnx_int8
    classes: tuple[str, ...]
    shape: HeightWidth  # that it was trained at
    crop: bool  # trained on crops at full resolution, not on images resized to that shape
    predict: Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, H, W, 3) -> (N, H, W, C)
    run: Path | None  # the run folder that it is in
    path: Path  # that it was opened by
    data: str | None = None  # SHA-256 of the data set that it was trained on


def open_engine(path: Path) -> Engine:
    """The network of a run folder, a SavedModel folder or an ONNX file. Raises `UserError`."""
    if path.is_dir() and (path / CONFIG).is_file():
        config, data = read_config(path), read_data(path)
        predict = keras_predict(path / BEST)
        classes, crop = tuple(data["classes"]), bool(config.crop)
        return Engine("keras", classes, config.shape, crop, predict, path, path, data["sha256"])
    run = path.parent if (path.parent / CONFIG).is_file() else None
    if path.is_dir():
        info = saved_model_info(path)
        predict = saved_model_predict(path)
        tiles = info.mode == "tile"
        data_of = info.dataset_sha256
        return Engine("saved_model", info.classes, info.shape, tiles, predict, run, path, data_of)
    model = OnnxModel(path)
    info, predict = model.info, model.probabilities
    kind = "onnx" if info.precision == "float32" else f"onnx_{info.precision}"
    tiles, data_of = info.mode == "tile", info.dataset_sha256
    return Engine(kind, info.classes, info.shape, tiles, predict, run, path, data_of)


def asked_together(engines: Sequence[Engine], *, ensemble: Ensemble, tta: Tta) -> Engine:
    """An ensemble of one network or several, with test-time augmentation. Its `run` is the run
    folder that all of them are in, if they share one. Raises `UserError` for networks that cannot
    be combined.
    """
    first = engines[0]
    for other in engines[1:]:
        if (other.shape, other.crop) != (first.shape, first.crop):
            raise UserError(
                f"{other.path} takes {_view(other)}, {first.path} {_view(first)}: an ensemble "
                "needs networks of one size and mode; score these one by one"
            )
    known = [(str(engine.path), engine.classes) for engine in engines]
    classes = classes_together(known, ensemble)
    check_turns(tta, [(str(engine.path), engine.shape) for engine in engines])
    networks = [turned(engine.predict, TURNS[tta]) for engine in engines]
    kinds = {engine.kind for engine in engines}
    runs = {engine.run.resolve() if engine.run else None for engine in engines}
    return Engine(
        kinds.pop() if len(kinds) == 1 else "mixed",
        classes,
        first.shape,
        first.crop,
        lambda images: together([network(images) for network in networks], known, ensemble),
        first.run if len(runs) == 1 else None,
        Path(",".join(str(engine.path) for engine in engines)),
    )


def with_classes(engine: Engine, classes: Sequence[str]) -> Engine:
    """The engine with `classes` in that order: other classes are left out, the probabilities scaled
    to a sum of 1; a class that it does not know has probability 0.
    """
    known = [place for place, name in enumerate(classes) if name in engine.classes]
    order = [engine.classes.index(classes[place]) for place in known]

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        answer = engine.predict(images)
        kept = np.zeros((*answer.shape[:-1], len(classes)), np.float32)
        kept[..., known] = answer[..., order]
        if len(order) < len(engine.classes):
            kept[..., known] += np.finfo(np.float32).tiny  # where all are 0 they are equal
            kept /= kept.sum(-1, keepdims=True)
        return kept

    return replace(engine, classes=tuple(classes), predict=predict)


def _view(engine: Engine) -> str:
    size = describe(engine.shape)
    return f"tiles of {size}" if engine.crop else f"images resized to {size}"


def keras_predict(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The network of a `.keras` file as a function of images, loaded by the first call. Raises
    `UserError` if there is no file.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: the run kept no network; train it first")

    @cache
    def model() -> Any:
        from segtf.networks.model import load_model

        return load_model(path)

    return lambda images: np.asarray(model().predict_on_batch(images), np.float32)


def saved_model_predict(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The network of a SavedModel folder as a function of images, loaded by the first call, which
    raises `UserError` if that fails.
    """

    @cache
    def loaded() -> Any:
        import tensorflow as tf

        try:
            return tf.saved_model.load(str(path))
        except (OSError, tf.errors.OpError) as error:
            raise UserError(f"{path}: not a SavedModel that can be read ({error})") from error

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import tensorflow as tf

        serve = loaded().signatures["serving_default"]
        return np.asarray(serve(image=tf.constant(images))["probabilities"], np.float32)

    return predict


def saved_model_info(path: Path) -> ModelInfo:
    """The metadata that `segtf.export` wrote into a SavedModel folder."""
    info = path / INFO
    if not info.is_file():
        raise UserError(
            f"{path}: neither a run folder (no {CONFIG}) nor a SavedModel of segtf (no {INFO})"
        )
    return read_info(json.loads(info.read_text(encoding="utf-8")), str(info))
