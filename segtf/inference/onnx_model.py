"""Run a network from its ONNX file: raw RGB 0 to 255 in, class probabilities out."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from segtf.inference.postprocess import UNITS, Postprocess
from segtf.inference.providers import Provider, one_line, open_session
from segtf.run.folder import CONFIG
from segtf.run.size import HeightWidth, describe
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MODEL_FILE, SUFFIX = "model.onnx", ".onnx"  # the first is its name in a run folder
SAVED_MODEL_FILE = "saved_model.pb"  # TensorFlow's name for the graph in the folder of a SavedModel
PREFIX = "segtf."  # of our metadata keys in an ONNX file
INPUT, OUTPUT = "image", "probabilities"
# input types, by onnxruntime's name
DTYPES: dict[str, type[np.uint8 | np.float32]] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
}
MODES = ("resize", "tile")
Precision = Literal["float32", "float16", "int8"]


@dataclass(frozen=True)
class ModelInfo:
    """What is needed to run a network; stored in its ONNX file as metadata."""

    classes: tuple[str, ...]  # name of each class id, 0 is the background
    colours: tuple[tuple[int, int, int], ...]  # RGB of each class id
    shape: HeightWidth  # that it was trained on
    multiple: int  # height and width of the input are divisible by this
    fixed: bool  # height and width of the input can be nothing but `shape`
    arch: str
    encoder: str
    dataset_sha256: str
    version: str  # of the package that exported it
    mode: str = "resize"  # images to `shape`; tile: tiles of that shape at full resolution
    precision: Precision = "float32"  # of weights and activations
    postprocess: Postprocess | None = None  # of its masks; None: never chosen


def metadata_of(info: ModelInfo) -> dict[str, str]:
    """The metadata of an ONNX file: `segtf.FIELD` to the field's value as JSON, without fields that
    are None. The field `shape` is `segtf.size`: one number for a square, else [height, width].
    """
    values = {k: value for k, value in dataclasses.asdict(info).items() if value is not None}
    height, width = values.pop("shape")
    values["size"] = height if height == width else [height, width]
    return {PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}


def read_info(metadata: Mapping[str, str], name: str) -> ModelInfo:
    """The inverse of `metadata_of`; other keys are ignored. Raises `UserError` naming the file
    `name` and every key that is missing, or the value that is invalid.
    """
    names = ["size" if f.name == "shape" else f.name for f in dataclasses.fields(ModelInfo)]
    keys = [PREFIX + name for name in names]
    # missing in files of earlier versions
    optional = {PREFIX + name for name in ("mode", "precision", "postprocess")}
    missing = [key for key in keys if key not in metadata and key not in optional]
    if missing:
        raise UserError(
            f"{name}: an ONNX file without the metadata {', '.join(missing)}: "
            "export it with python -m segtf.export RUN"
        )
    try:
        values = {
            key.removeprefix(PREFIX): json.loads(metadata[key]) for key in keys if key in metadata
        }
        return _checked(values)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{name}: metadata that segtf did not write ({error}): "
            "export it with python -m segtf.export RUN"
        ) from None


def _checked(values: Mapping[str, Any]) -> ModelInfo:
    """JSON values as `ModelInfo`. Raises `ValueError`, `TypeError` or `KeyError` if invalid."""
    size = values["size"]
    height, width = size if isinstance(size, list) else (size, size)
    info = ModelInfo(
        classes=tuple(str(label) for label in values["classes"]),
        colours=tuple((int(r), int(g), int(b)) for r, g, b in values["colours"]),
        shape=(int(height), int(width)),
        multiple=int(values["multiple"]),
        fixed=bool(values["fixed"]),
        arch=str(values["arch"]),
        encoder=str(values["encoder"]),
        dataset_sha256=str(values["dataset_sha256"]),
        version=str(values["version"]),
        mode=str(values.get("mode", "resize")),
        precision=values.get("precision", "float32"),
        postprocess=Postprocess.from_json(values["postprocess"])
        if values.get("postprocess")
        else None,
    )
    if info.mode not in MODES or (info.mode == "tile" and info.fixed):
        raise ValueError(f"mode {info.mode} of a network of {'one' if info.fixed else 'any'} size")
    if info.precision not in get_args(Precision):
        raise ValueError(f"precision {info.precision}")
    for rule in info.postprocess.rules if info.postprocess else ():
        if rule.label not in info.classes or rule.unit not in UNITS:
            raise ValueError(f"a rule of {rule.label} in {rule.unit}")
        if not (0 <= rule.smallest < math.inf and 0 <= rule.hole < math.inf):
            raise ValueError(f"a rule of {rule.smallest} and {rule.hole}")
    if not 1 <= len(info.classes) == len(info.colours) <= 255:
        raise ValueError(f"{len(info.classes)} classes, {len(info.colours)} colours")
    if info.multiple < 1 or any(n < 1 or n % info.multiple for n in info.shape):
        raise ValueError(f"size {describe(info.shape)} is no multiple of {info.multiple}")
    return info


def write_metadata(path: Path, info: ModelInfo) -> None:
    """Replaces our metadata in the ONNX file at `path`; all else is kept."""
    import onnx

    model = onnx.load(path)
    kept = {p.key: p.value for p in model.metadata_props if not p.key.startswith(PREFIX)}
    onnx.helper.set_model_props(model, kept | metadata_of(info))
    with replacing(path) as beside:
        onnx.save(model, beside)


def find_model(path: Path) -> Path:
    """The ONNX file at `path`, or that of the run folder `path`. Raises `UserError` if there is
    none.
    """
    found = path / MODEL_FILE if path.is_dir() else path
    if found.is_file():
        return found
    if not path.is_dir():
        raise UserError(f"{path}: no such file: name an ONNX file or a run folder")
    if (path / CONFIG).is_file():
        again = f"python -m segtf.export {shlex.quote(str(path))}"
        raise UserError(f"{path}: a run without {MODEL_FILE}: {again}")
    what, cure = f"a folder without {CONFIG} and {MODEL_FILE}", "an ONNX file or a run folder"
    if (path / SAVED_MODEL_FILE).is_file():
        what = "a SavedModel, and ONNX is wanted"
        if (path.parent / MODEL_FILE).is_file():
            cure = str(path.parent / MODEL_FILE)
        elif (path.parent / CONFIG).is_file():
            again = f"python -m segtf.export {shlex.quote(str(path.parent))}"
            cure = f"the ONNX file that {again} writes"
    raise UserError(f"{path}: {what}: name {cure}")


def is_model(path: Path) -> bool:
    """Whether `find_model` would take a path, by the names of the files alone."""
    return (path / MODEL_FILE).is_file() or (path.suffix == SUFFIX and path.is_file())


class OnnxModel:
    """A network ready to run, with the `info` of its file and the `provider` that runs it.

    `path` is an ONNX file or a run folder; for `threads` and `provider` see `open_session`. Raises
    `UserError` if there is no such file or segtf did not export it.
    """

    def __init__(self, path: Path, *, threads: int = 0, provider: Provider = "auto") -> None:
        self.path = find_model(path)
        self._session = open_session(self.path, threads=threads, provider=provider)
        self.info = read_info(self._session.get_modelmeta().custom_metadata_map, str(self.path))
        self.provider: str = self._session.get_providers()[0]
        # one call uses every core; meanwhile other threads read, blend and write
        self._turn = threading.Lock()
        self._dtype = _input_dtype(self._session, self.info, self.path)

    def probabilities(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities, shape (N, H, W, C), of RGB images, shape (N, H, W, 3), values 0 to 255.
        H and W must be divisible by `info.multiple`, and be `info.shape` if `info.fixed`. Raises
        `UserError` if onnxruntime cannot run them, for want of memory or a shape that does not fit.
        """
        feed = {INPUT: images.astype(self._dtype, copy=False)}
        try:
            with self._turn:
                (result,) = self._session.run([OUTPUT], feed)
        except Exception as error:  # the common base of all that onnxruntime raises
            raise UserError(
                f"{self.path}: cannot run on images of shape {images.shape}: {one_line(error)}"
            ) from None
        return result


def _input_dtype(
    session: InferenceSession, info: ModelInfo, path: Path
) -> type[np.uint8 | np.float32]:
    """uint8 or float32, the input type of the graph. Raises `UserError` if its input or output
    contradicts the metadata.
    """
    sides, count = list(info.shape), len(info.classes)
    inputs = {node.name: (node.type, node.shape) for node in session.get_inputs()}
    outputs = {node.name: (node.type, node.shape) for node in session.get_outputs()}
    taken, shape = inputs.get(INPUT, ("", []))
    if len(inputs) != 1 or taken not in DTYPES or not _fits(shape, [*sides, 3]):
        raise UserError(
            f"{path}: must have one input {INPUT}, uint8 or float32, shape (N, H, W, 3) with free "
            f"height and width or {describe(info.shape)}. Received: {inputs}"
        )
    given, shape = outputs.get(OUTPUT, ("", []))
    if given != "tensor(float)" or not _fits(shape, [*sides, count]):
        raise UserError(
            f"{path}: must have an output {OUTPUT}, float32, shape (N, H, W, {count}). "
            f"Received: {outputs}"
        )
    return DTYPES[taken]


def _fits(shape: list[int | str | None], wanted: list[int]) -> bool:
    """Whether a graph's shape, free where it is no number, allows the `wanted` shape."""
    sizes = zip(shape[1:], wanted, strict=False)
    return len(shape) == 4 and all(not isinstance(n, int) or n == want for n, want in sizes)
