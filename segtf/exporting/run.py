"""Write SavedModel and ONNX of a run, and prove that they answer as its Keras network does."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.exporting.postprocess_choice import MaskStore, Trial, choose_postprocess
from segtf.exporting.precision import FILES, open_precisions
from segtf.exporting.quality import timed
from segtf.exporting.report import (
    EQUAL_ARGMAX,
    LARGEST_DIFFERENCE,
    Comparison,
    ExportReport,
    PrecisionReport,
    ValScores,
    read_export,
    write_export,
)
from segtf.exporting.writers import OPSET, model_info, write_onnx, write_saved_model
from segtf.inference.backends import keras_predict, saved_model_predict
from segtf.inference.onnx_model import MODEL_FILE, OnnxModel
from segtf.inference.postprocess import Postprocess, Unit
from segtf.run.config import TrainConfig
from segtf.run.folder import BEST, EXPORT, SAVED_MODEL, read_config, read_data
from segtf.scoring.evaluation import Predict, join_tiles
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

if TYPE_CHECKING:
    from segtf.data.records import Split

TIE = 1e-6  # classes whose probabilities are this close differ by rounding alone
IMAGES = 16  # real images that parity is measured on


@dataclass(frozen=True)
class OnVal:
    """How the Keras network does on val."""

    scores: ValScores
    postprocess: Postprocess  # chosen there
    trials: tuple[Trial, ...]  # all limits that were tried


def on_val(scores: ValScores, predicted: MaskStore, val: Split, config: TrainConfig) -> OnVal:
    """Choose post-processing by the masks `predicted` on val, one per image or tile."""
    unit: Unit = "pixels" if config.crop else "share"
    truths = MaskStore(join_tiles(val.masks, val))
    masks = MaskStore(join_tiles(predicted, val))  # a component may lie in several tiles
    choice = choose_postprocess(masks, truths, list(scores.iou), unit=unit)
    return OnVal(scores, choice.chosen, choice.trials)


def export_run(folder: Path, images: NDArray[np.uint8], val: OnVal) -> ExportReport:
    """Writes `saved_model/`, `model.onnx` and `export.json` into the run folder.

    Parity is measured on `images`, shape (N, H, W, 3), speed on the first of them.
    """
    import tensorflow as tf

    # the GPU's TensorFloat-32 differs from other machines by more than the tolerance
    tf.config.experimental.enable_tensor_float_32_execution(False)
    info = model_info(read_config(folder), read_data(folder))
    info = dataclasses.replace(info, postprocess=val.postprocess)
    write_saved_model(folder / BEST, folder / SAVED_MODEL, info)
    write_onnx(folder / SAVED_MODEL, folder / MODEL_FILE, info)
    on_cpu = OnnxModel(folder / MODEL_FILE, provider="cpu")  # other providers may round too
    comparisons = parity(
        {
            "keras": keras_predict(folder / BEST),
            "saved_model": saved_model_predict(folder / SAVED_MODEL),
            "onnx": on_cpu.probabilities,
        },
        images,
    )
    size, network = (folder / MODEL_FILE).stat().st_size, network_hash(folder)
    entries = {"float32": PrecisionReport(MODEL_FILE, size), **_other_precisions(folder, network)}
    models = open_precisions(folder, entries)
    report = ExportReport(
        images=len(images),
        comparisons=comparisons,
        onnx_bytes=size,
        opset=OPSET,
        network=network,
        provider=models["float32"].provider,
        val=val.scores,
        postprocess=val.postprocess,
        trials=val.trials,
        precisions=timed(entries, models, images[0]),
    )
    write_export(report, folder)
    return report


def previous_export(folder: Path) -> ExportReport | None:
    """The report of an earlier export of a run, if it is readable."""
    try:
        return read_export(folder)
    except UserError:
        return None


def _other_precisions(folder: Path, network: str) -> dict[str, PrecisionReport]:
    """The entries of the files in other precisions that are of the same network. A note on stderr
    names files of another network.
    """
    known = previous_export(folder)
    files = [name for name in FILES if name != "float32" and (folder / FILES[name]).is_file()]
    if known is not None and known.network == network:
        return {name: known.precisions[name] for name in files if name in known.precisions}
    for name in files:
        note(
            f"{folder / FILES[name]}: of another network than {BEST}: export it again with "
            f"--precision {name}"
        )
    return {}


def network_hash(folder: Path) -> str:
    """SHA-256 of the Keras network of a run."""
    return hashlib.sha256((folder / BEST).read_bytes()).hexdigest()


def require_parity(report: ExportReport, folder: Path) -> None:
    """Raises `UserError` unless all engines agree."""
    if not report.passed:
        raise UserError(
            f"{folder / EXPORT}: Keras, SavedModel and ONNX differ by more than "
            f"{LARGEST_DIFFERENCE} or in more than {1 - EQUAL_ARGMAX:.2%} of pixels: do not use "
            f"{MODEL_FILE}; try another --arch or --encoder"
        )


def parity(engines: Mapping[str, Predict], images: NDArray[np.uint8]) -> tuple[Comparison, ...]:
    """Compare the answers of each pair of engines on images, shape (N, H, W, 3)."""
    pairs = list(combinations(engines, 2))
    largest, equal = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0)
    for image in images:
        answers = {name: predict(image[None])[0] for name, predict in engines.items()}
        for a, b in pairs:
            difference = float(np.abs(answers[a] - answers[b]).max())
            # a NaN must not pass for agreement
            largest[a, b] = max(largest[a, b], np.inf if np.isnan(difference) else difference)
            equal[a, b] += _same_class(answers[a], answers[b])
    pixels = images.shape[0] * images.shape[1] * images.shape[2]
    return tuple(
        Comparison(
            a,
            b,
            largest[a, b],
            equal[a, b] / pixels,
            largest[a, b] <= LARGEST_DIFFERENCE and equal[a, b] / pixels >= EQUAL_ARGMAX,
        )
        for a, b in pairs
    )


def _same_class(a: NDArray[np.float32], b: NDArray[np.float32]) -> int:
    """The number of pixels in which two answers, shape (H, W, C), give the same class, or classes
    that are equally probable in both.
    """
    of_a, of_b = (answer.argmax(-1)[..., None] for answer in (a, b))
    gaps = [np.take_along_axis(x, of_a, -1) - np.take_along_axis(x, of_b, -1) for x in (a, b)]
    return int(((of_a == of_b) | (np.abs(gaps) <= TIE).all(0)).sum())
