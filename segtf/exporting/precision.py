"""Export a network in float16 and int8, and keep those files if they lose little on val."""

from __future__ import annotations

import dataclasses
import logging
import math
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.exporting.quality import loses_too_much, scores_on_val, timed, with_changes
from segtf.exporting.report import ExportReport, PrecisionReport, write_export
from segtf.inference.onnx_model import INPUT, MODEL_FILE, OnnxModel, Precision, write_metadata
from segtf.run.config import TrainConfig
from voc_builder.base.files import replacing
from voc_builder.base.progress import progress
from voc_builder.pixels.images import decode_image, resize_image

if TYPE_CHECKING:
    import onnx

    from segtf.data.records import Split
    from voc_builder.tree.voc import Dataset

FILES: dict[Precision, str] = {
    "float32": MODEL_FILE,
    "float16": "model_float16.onnx",
    "int8": "model_int8.onnx",
}
CALIBRATION = 64  # train images at most
QUANTIZED = ("Conv", "Relu", "Clip")  # kinds of nodes that compute with 8 bits
FLOAT32_FIRST = 0.2  # fraction of the convolutions, from the first on, that stay float32
PATIENCE = 5.0  # seconds of work before a progress bar appears


def add_precision(
    folder: Path,
    report: ExportReport,
    precision: Precision,
    val: Split,
    train: Iterable[NDArray[np.uint8]],
    *,
    accept_loss: bool = False,
) -> ExportReport:
    """Writes `model.onnx` in another precision beside it, measures it on val and adds it to
    `export.json`; returns that. Unless `accept_loss`, the file is deleted if it loses too much.
    `train` are the images that int8 is calibrated on, RGB of shape (H, W, 3).
    """
    out = folder / FILES[precision]
    with replacing(out) as beside:
        if precision == "float16":
            write_float16(folder / MODEL_FILE, beside)
        else:
            write_int8(folder / MODEL_FILE, beside, train)
        model = OnnxModel(beside)
        scores = scores_on_val(model.probabilities, val, list(report.val.iou))
        entry = PrecisionReport(out.name, beside.stat().st_size)
        entry = with_changes(entry, report.val, scores)
        entry = dataclasses.replace(entry, kept=accept_loss or not loses_too_much(entry))
        entries = {**report.precisions, precision: entry}
        models = open_precisions(folder, entries.keys() - {precision}) | {precision: model}
        report = dataclasses.replace(
            report, precisions=timed(entries, models, np.asarray(val.images[0]))
        )
    if not entry.kept:
        out.unlink()
    write_export(report, folder)
    return report


def open_precisions(folder: Path, names: Collection[str]) -> dict[str, OnnxModel]:
    """The networks of those precisions whose files are in the folder."""
    return {
        name: OnnxModel(folder / file)
        for name, file in FILES.items()
        if name in names and (folder / file).is_file()
    }


def training_images(dataset: Dataset, config: TrainConfig) -> Iterator[NDArray[np.uint8]]:
    """Train images as the network sees them, shape (H, W, 3), spread over the split: resized to the
    training size, or one random crop of each.
    """
    from segtf.data.crops import cut

    ids = dataset.splits["train"]
    rng = np.random.default_rng(config.seed)
    chosen = ids[:: max(len(ids) // CALIBRATION, 1)][:CALIBRATION]
    for image_id in progress(chosen, len(chosen), "train images calibrated on", patience=PATIENCE):
        path = dataset.image(image_id)
        image = decode_image(path.read_bytes(), str(path))
        if config.crop is None:
            yield resize_image(image, *config.shape)
            continue
        top, left = (int(rng.integers(max(n - config.crop, 0) + 1)) for n in image.shape[:2])
        yield cut(image, np.zeros(image.shape[:2], np.uint8), top, left, config.shape)[0]


def write_float16(source: Path, out: Path) -> None:
    """Convert the float32 network at `source` to float16: half the size, for GPUs. Input, output
    and all from the softmax on stay float32, since float16 cannot tell apart classes that are
    nearly equally probable.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel as Graph

    model = _named(onnx.load(source))
    exact = _after_softmax(model.graph)
    with _quiet():
        model = convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=DEFAULT_OP_BLOCK_LIST,
            node_block_list=exact,
        )
        _drop_casts(model.graph, exact)
        graph = Graph(model)
        graph.topological_sort()  # the conversion appends its casts at the end
    onnx.checker.check_model(graph.model)
    onnx.save(graph.model, out)
    _copy_metadata(source, out, "float16")


def write_int8(source: Path, out: Path, images: Iterable[NDArray[np.uint8]]) -> None:
    """Quantise the float32 network at `source` to 8-bit weights and activations: a quarter of the
    size, for CPUs. The ranges of activations are calibrated on `images`, RGB of shape (H, W, 3).

    Weights have a scale per channel, without which depthwise convolutions (MobileNet, EfficientNet)
    lose most, and 7 of the 8 bits: CPUs without VNNI add two products in 16 bits, which 8 bits
    would overflow, and the file must give the same answer everywhere.

    The first convolutions stay float32, since their ranges differ most between channels and images:
    with only the very first in float32, a U-Net on MobileNetV2 lost ten times as much. The last
    one and the softmax, which make the probabilities, and sums of branches stay float32 too.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.preprocess import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            image = next(self._left, None)
            return None if image is None else {INPUT: image[None]}

    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".int8-") as folder, _quiet():
        folded = Path(folder, "folded.onnx")  # batch normalisation is part of the convolutions
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        model = _named(onnx.load(folded))
        onnx.save(model, folded)
        quantize_static(
            str(folded),
            str(out),
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_float32_nodes(model.graph),
            calibrate_method=CalibrationMethod.MinMax,
        )
    _copy_metadata(source, out, "int8")


def _named(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a name for every node."""
    for i, node in enumerate(model.graph.node):
        node.name = node.name or f"node_{i}"
    return model


def _float32_nodes(graph: onnx.GraphProto) -> list[str]:
    """The names of the nodes that stay float32: the first convolutions, the last one, and their
    activations, whose input would be rounded to 8 bits otherwise.
    """
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    first = math.ceil(len(convolutions) * FLOAT32_FIRST)
    kept = [*convolutions[:first], *convolutions[-1:]]
    made = {output for node in kept for output in node.output}
    behind = [n for n in graph.node if n.op_type in QUANTIZED and n.input[0] in made]
    return [node.name for node in (*kept, *behind)]


def _after_softmax(graph: onnx.GraphProto) -> list[str]:
    """The names of the softmax and of all nodes behind it."""
    named: list[str] = []
    reached: set[str] = set()
    for node in graph.node:
        if node.op_type == "Softmax" or reached & set(node.input):
            named.append(node.name)
            reached |= set(node.output)
    return named


def _drop_casts(graph: onnx.GraphProto, exact: Collection[str]) -> None:
    """Removes casts to float16 and back of what the float32 nodes `exact` give."""
    import onnx

    made = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        before = made.get(node.input[0]) if node.op_type == "Cast" else None
        if before is None or before.op_type != "Cast" or before.input[0] not in made:
            continue
        if made[before.input[0]].name in exact:
            straight = onnx.helper.make_node("Identity", before.input, node.output, node.name)
            node.CopyFrom(straight)
    used = {name for node in graph.node for name in node.input}
    for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in used]:
        if node.output[0] not in {value.name for value in graph.output}:
            graph.node.remove(node)


def _copy_metadata(source: Path, out: Path, precision: Precision) -> None:
    """Gives the file `out` the metadata of `source`, with its own precision."""
    info = OnnxModel(source, provider="cpu").info
    write_metadata(out, dataclasses.replace(info, precision=precision))


@contextmanager
def _quiet() -> Iterator[None]:
    """Mute onnxruntime's advice on the root logger."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
