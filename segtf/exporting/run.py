"""SavedModel and ONNX of a run, and the proof that they give the same answer."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segtf.exporting.export_precision import (
    open_precisions,
    read_export,
)
from segtf.exporting.postprocess_choice import Answers, Trial, choose_postprocess
from segtf.exporting.precision import FILES
from segtf.exporting.quality import changes, timed
from segtf.exporting.writers import OPSET, model_info, write_onnx, write_saved_model
from segtf.inference.backends import keras_predict, saved_model_predict
from segtf.inference.onnx_model import MODEL_FILE as ONNX
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.postprocess import Postprocess, Unit
from segtf.run.config import TrainConfig
from segtf.run.folder import (
    BEST,
    EXPORT,
    SAVED_MODEL,
    read_config,
    read_data,
    write_json,
)
from segtf.scoring.evaluation import join_tiles
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

if TYPE_CHECKING:
    from segtf.data.records import Split

Json = dict[str, Any]
LARGEST_DIFFERENCE = 1e-4  # of a probability
EQUAL_ARGMAX = 0.9999  # share of pixels with the same class
TIE = 1e-6  # classes whose probabilities lie as near to each other are told apart by rounding alone
IMAGES = 16  # real images that the parity is measured on


@dataclass(frozen=True)
class OnVal:
    """How the Keras network does on val."""

    scores: Json  # `miou` and `iou` by class
    postprocess: Postprocess  # chosen there
    trials: tuple[Trial, ...]  # what was tried for that


def on_val(scores: Json, answers: Answers, val: Split, config: TrainConfig) -> OnVal:
    """From the scores of val and the answers that they were counted from."""
    kept = {"miou": scores["miou"], "iou": scores["iou"]}
    unit: Unit = "pixels" if config.crop else "share"
    truths = Answers.of(join_tiles(val.masks, val))
    found = Answers.of(join_tiles(answers, val))  # a component may lie in several tiles
    return OnVal(kept, *choose_postprocess(found, truths, list(kept["iou"]), unit=unit))


def export_run(folder: Path, images: NDArray[np.uint8], val: OnVal) -> Json:
    """Writes `saved_model/`, `model.onnx` and `export.json` into the run folder; returns the last.

    `images`, shape (N, H, W, 3), are what the parity and the speed are measured on.
    """
    import tensorflow as tf

    # the GPU's shortened float32 differs from other machines by more than the tolerance
    tf.config.experimental.enable_tensor_float_32_execution(False)
    config = read_config(folder)
    info = dataclasses.replace(model_info(config, read_data(folder)), postprocess=val.postprocess)
    write_saved_model(folder / BEST, folder / SAVED_MODEL, info)
    write_onnx(folder / SAVED_MODEL, folder / ONNX, info)
    on_cpu = OnnxModel(folder / ONNX, provider="cpu")  # others shorten float32 too
    agreement = parity(
        {
            "keras": keras_predict(folder / BEST),
            "saved_model": saved_model_predict(folder / SAVED_MODEL),
            "onnx": on_cpu.probabilities,
        },
        images,
    )
    size = (folder / ONNX).stat().st_size
    entry = {"file": ONNX, "bytes": size, **changes(), "kept": True}
    network = network_hash(folder / BEST)
    entries = {"float32": entry, **_others(folder, network)}
    models = open_precisions(folder, entries)
    report = {
        **agreement,
        "onnx": {"bytes": size, "opset": OPSET},
        "network": network,
        "provider": models["float32"].provider,
        "val": val.scores,
        "postprocess": dataclasses.asdict(val.postprocess),
        "postprocess_trials": [dataclasses.asdict(trial) for trial in val.trials],
        "precisions": timed(entries, models, images[0]),
    }
    write_json(report, folder / EXPORT)
    return report


def _others(folder: Path, network: str) -> Json:
    """What `export.json` says of the files of other precisions, if they are of the same network."""
    known = read_export(folder)
    left = [name for name in list(FILES)[1:] if (folder / FILES[name]).is_file()]
    if known.get("network") == network:
        return {name: known["precisions"][name] for name in left if name in known["precisions"]}
    for name in left:
        note(
            f"{folder / FILES[name]}: of another network than {BEST}: export it again with "
            f"--precision {name}"
        )
    return {}


def network_hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def require_parity(report: dict[str, Any], folder: Path) -> None:
    """Raises `UserError` if, by its `export.json`, a network does not answer alike everywhere."""
    if not report["passed"]:
        raise UserError(
            f"{folder / EXPORT}: Keras, SavedModel and ONNX differ by more than "
            f"{LARGEST_DIFFERENCE} or in more than {1 - EQUAL_ARGMAX:.2%} of pixels: do not use "
            f"{ONNX}; try another --arch or --encoder"
        )


def parity(engines: dict[str, Any], images: NDArray[np.uint8]) -> dict[str, Any]:
    """How far the answers of the engines lie apart, pair by pair, on real images."""
    names = list(engines)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    largest, equal = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0)
    pixels = images.shape[0] * images.shape[1] * images.shape[2]
    for image in images:
        answers = {name: predict(image[None])[0] for name, predict in engines.items()}
        for a, b in pairs:
            difference = float(np.abs(answers[a] - answers[b]).max())
            # a NaN must not pass for agreement
            largest[a, b] = max(largest[a, b], np.inf if np.isnan(difference) else difference)
            equal[a, b] += _same_class(answers[a], answers[b])
    comparisons = [
        {
            "a": a,
            "b": b,
            "largest_difference": largest[a, b],
            "equal_argmax": equal[a, b] / pixels,
            "passed": largest[a, b] <= LARGEST_DIFFERENCE and equal[a, b] / pixels >= EQUAL_ARGMAX,
        }
        for a, b in pairs
    ]
    return {
        "photos": len(images),
        "tolerance": {"probability": LARGEST_DIFFERENCE, "argmax": EQUAL_ARGMAX},
        "comparisons": comparisons,
        "passed": all(comparison["passed"] for comparison in comparisons),
    }


def _same_class(a: NDArray[np.float32], b: NDArray[np.float32]) -> int:
    """Pixels of which two answers, shape (H, W, C), name the same class, or one that is as probable
    for both.
    """
    of_a, of_b = (answer.argmax(-1)[..., None] for answer in (a, b))
    gaps = [np.take_along_axis(x, of_a, -1) - np.take_along_axis(x, of_b, -1) for x in (a, b)]
    return int(((of_a == of_b) | (np.abs(gaps) <= TIE).all(0)).sum())
