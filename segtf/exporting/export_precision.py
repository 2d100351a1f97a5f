"""Add float16 and int8 to the export of a run, if they lose little on val."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segtf.exporting.precision import CALIBRATION, FILES, write_float16, write_int8
from segtf.exporting.quality import changes, loses_too_much, scores_on_val, timed
from segtf.inference.onnx_model import MODEL_FILE, OnnxModel, Precision
from segtf.run.config import TrainConfig
from segtf.run.folder import EXPORT, write_json
from voc_builder.base.files import replacing
from voc_builder.base.progress import progress
from voc_builder.pixels.images import decode_image, resize_image

if TYPE_CHECKING:
    from segtf.data.records import Split
    from voc_builder.tree.voc import Dataset

Json = dict[str, Any]
PATIENCE = 5.0  # seconds of work that nothing is said of


def read_export(folder: Path) -> Json:
    """`export.json`; without what this version writes if it is of an earlier one or not there."""
    try:
        values = json.loads((folder / EXPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) and "precisions" in values else {}


def open_precisions(folder: Path, names: Collection[str]) -> dict[str, OnnxModel]:
    """The networks of those precisions whose files are in the folder."""
    return {
        name: OnnxModel(folder / file)
        for name, file in FILES.items()
        if name in names and (folder / file).is_file()
    }


def add_precision(
    folder: Path,
    precision: Precision,
    val: Split,
    train: Iterator[NDArray[np.uint8]],
    *,
    accept_loss: bool = False,
) -> Json:
    """Writes the network of `model.onnx` in another precision beside it and measures it on val;
    returns `export.json`, in which it is added. One that loses too much is not kept, unless
    `accept_loss`. `train` are images to calibrate int8 on, RGB of shape (H, W, 3).
    """
    report = read_export(folder)
    classes = list(report["val"]["iou"])
    out = folder / FILES[precision]
    with replacing(out) as beside:
        if precision == "float16":
            write_float16(folder / MODEL_FILE, beside)
        else:
            write_int8(folder / MODEL_FILE, beside, train)
        model = OnnxModel(beside)
        after = scores_on_val(model.probabilities, val, classes)
        entry = {"file": out.name, "bytes": beside.stat().st_size, **changes(report["val"], after)}
        entry["kept"] = accept_loss or not loses_too_much(entry)
        entries = {**report["precisions"], precision: entry}
        models = {**open_precisions(folder, entries.keys() - {precision}), precision: model}
        report["precisions"] = timed(entries, models, np.asarray(val.images[0]))
    if not entry["kept"]:
        out.unlink()
    write_json(report, folder / EXPORT)
    return report


def training_images(dataset: Dataset, config: TrainConfig) -> Iterator[NDArray[np.uint8]]:
    """Images of train as the network sees them, shape (H, W, 3), spread over the split:
    squeezed, or one part of each as it is.
    """
    from segtf.data.crops import cut

    ids = dataset.splits["train"]
    rng = np.random.default_rng(config.seed)
    chosen = ids[:: max(len(ids) // CALIBRATION, 1)][:CALIBRATION]
    for image_id in progress(chosen, len(chosen), "images of train seen", patience=PATIENCE):
        path = dataset.image(image_id)
        image = decode_image(path.read_bytes(), str(path))
        if config.crop is None:
            yield resize_image(image, *config.shape)
            continue
        top, left = (int(rng.integers(max(n - config.crop, 0) + 1)) for n in image.shape[:2])
        yield cut(image, np.zeros(image.shape[:2], np.uint8), top, left, config.shape)[0]
