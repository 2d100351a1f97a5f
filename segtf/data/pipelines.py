"""Read, check and write augmentation pipelines, the YAML files of albumentations."""

from __future__ import annotations

import copy
import difflib
import inspect
import io
import math
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import yaml
from pydantic import ValidationError

from segtf.run.config import AUGMENTATIONS, augmentation_file
from segtf.run.size import HeightWidth, describe
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import note

CLASS = "__class_fullname__"  # albumentations' key for the name of a transform
NEAREST = (cv2.INTER_NEAREST, cv2.INTER_NEAREST_EXACT)
PROBE_IDS = (1, 100, 200)  # without 0, so that filling with it and blending show
PROBE_PIXELS = 8_000_000  # of all probe images together, so that 1024 takes as long as 512
REFUSED = {
    "Lambda": "is code, not data: leave it out",
    "Morphological": "treats class ids as brightness, so the mask would be wrong: leave it out",
    "Mosaic": "needs other images: use --mosaic instead",
    "ReplayCompose": "keeps every image in memory: use Compose",
    "SelectiveChannelTransform": "is written without its channels by albumentations: leave it out",
}
QUARTER_TURNS = ("D4", "RandomRotate90", "SquareSymmetry", "Transpose")
HARMLESS = ("ShiftScaleRotate is a special case", "This augmenter is very slow")
Json = dict[str, Any]


def load_pipeline(augment: str, shape: HeightWidth = (1, 1)) -> A.Compose:
    """The pipeline of a preset or of a YAML file of albumentations, for images of `shape`; a preset
    has no quarter turns where that is not a square.

    A transform that uncovers pixels and has no `fill_mask` in the file fills the mask with void,
    where albumentations would fill it with class 0. Raises `UserError` naming file, transform and
    fix for a file that is no YAML or no pipeline, for an unknown transform, and for one that would
    put a wrong class into a mask or would turn a rectangle by a quarter.
    """
    path = augmentation_file(augment)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    top = content.get("transform") if isinstance(content, dict) else None
    if not isinstance(top, dict) or top.get(CLASS) != "Compose":
        raise UserError(
            f"{path}: not a pipeline of albumentations: its 'transform' must be a Compose, as "
            "albumentations.save(pipeline, file, data_format='yaml') writes it"
        )
    square = shape[0] == shape[1]
    if not square and path.parent == AUGMENTATIONS:
        kept = [item for item in top["transforms"] if item[CLASS] not in QUARTER_TURNS]
        top = {**top, "transforms": kept}
    pipeline = _build(_checked(top, f"{path}: Compose", ()), str(path))
    assert isinstance(pipeline, A.Compose)
    if not square and (turning := _quarter_turns(pipeline)):
        raise UserError(
            f"{path}: transform {', '.join(turning)}: turns images of {describe(shape)} by a "
            "quarter: leave it out, or train on squares"
        )
    return pipeline


def _quarter_turns(pipeline: A.Compose) -> list[str]:
    """The positions of the transforms that turn 48 x 80 into 80 x 48."""
    return [place for place, leaf in leaves(pipeline) if type(leaf).__name__ in QUARTER_TURNS]


def write_pipeline(pipeline: A.Compose, path: Path) -> None:
    """Writes the YAML that `load_pipeline` reads; equal pipelines give equal bytes."""
    # read once more, so that it is written the same every time: 0 becomes 0.0
    pipeline = _build(A.to_dict(pipeline)["transform"], str(path))
    with replacing(path) as beside:
        A.save(pipeline, beside, data_format="yaml")


def check_pipeline(augment: str, shape: HeightWidth) -> A.Compose:
    """The pipeline, after a trial of its transforms on images of `shape`. Prints to stderr which
    quarter turns of a preset are left out. Raises `UserError` naming file, transform and fix if a
    transform fails, or returns another size, another type, or a new class id.
    """
    pipeline, path = load_pipeline(augment, shape), augmentation_file(augment)
    if shape[0] != shape[1] and (lost := _quarter_turns(load_pipeline(augment))):
        note(f"--augment {augment}: without {', '.join(lost)}, which would turn rectangles")
    often = _often(pipeline)
    runs = max(4, min(24, PROBE_PIXELS // math.prod(shape) // 2))
    for seed in range(2 * runs):
        _try((often, pipeline)[seed % 2], path, shape, seed)
    return pipeline


def leaves(pipeline: Any, number: str = "") -> Iterator[tuple[str, A.BasicTransform]]:
    """The transforms of a pipeline in order, nested ones too, each with its position: `2.1
    (HorizontalFlip)` is the first within the second.
    """
    for index, transform in enumerate(pipeline.transforms, 1):
        place = f"{number}{index}"
        if isinstance(transform, A.BaseCompose):
            yield from leaves(transform, f"{place}.")
        else:
            yield f"{place} ({type(transform).__name__})", transform


def _checked(item: Any, where: str, number: tuple[int, ...]) -> Json:
    """`item` of the file, with void for what is uncovered where it leaves that open."""
    cls = _class_of(item, where)
    if not issubclass(cls, A.BaseCompose):
        return _checked_leaf(cls, item, where)
    _check_names(item, where, set(inspect.signature(cls).parameters))
    for name in ("bbox_params", "keypoint_params", "seed"):
        if item.get(name) is not None:
            raise UserError(f"{where}: {name} {item[name]}: has no place here, leave it out")
    if item.get("mask_interpolation") not in (None, *NEAREST):
        raise UserError(f"{where}: {_blended(item['mask_interpolation'])}")
    if not isinstance(item.get("transforms"), list):
        raise UserError(f"{where}: 'transforms' must be a list of transforms")
    file = where.partition(": ")[0] if not number else where.rpartition(": transform ")[0]
    inside = []
    for index, inner in enumerate(item["transforms"], 1):
        place = (*number, index)
        name = inner.get(CLASS, "?") if isinstance(inner, dict) else inner
        at = f"{file}: transform {'.'.join(map(str, place))} ({name})"
        inside.append(_checked(inner, at, place))
    built = {**item, "transforms": inside}
    _build({**item, "transforms": []} if cls is A.Compose else built, where)
    return built


def _class_of(item: Any, where: str) -> type[Any]:
    if not isinstance(item, dict) or not isinstance(item.get(CLASS), str):
        raise UserError(f"{where}: not a transform: it needs a line '{CLASS}: NAME'")
    name = item[CLASS].rpartition(".")[2]
    if name in REFUSED:
        raise UserError(f"{where}: {REFUSED[name]}")
    cls = getattr(A, name, None)
    if not isinstance(cls, type) or not issubclass(cls, A.BasicTransform | A.BaseCompose):
        close = difflib.get_close_matches(name, dir(A), 1)
        meant = f", did you mean {close[0]}?" if close else ""
        raise UserError(f"{where}: no transform of albumentations {A.__version__}{meant}")
    if issubclass(cls, A.Transform3D):
        raise UserError(f"{where}: changes volumes, not images: leave it out")
    if "p" not in item and cls not in (A.Compose, A.Sequential):
        raise UserError(f"{where}: without p: say how often it is applied, from 0 to 1")
    return cls


def _check_names(item: Json, where: str, known: set[str]) -> None:
    unknown = sorted(set(item) - known - {CLASS}, key=str)
    if unknown:
        raise UserError(
            f"{where}: takes no {', '.join(map(str, unknown))}: it takes {', '.join(sorted(known))}"
        )


def _checked_leaf(cls: type[Any], item: Json, where: str) -> Json:
    known = set(inspect.signature(cls).parameters) - {"strict"}
    leaf = _build({key: item[key] for key in item if key in known or key == CLASS}, where)
    # albumentations writes what a parent class would take, and warns when it reads that again
    written = yaml.safe_load(_yaml(leaf, where))["transform"]
    own = {key: item[key] for key in item if key in known or written.get(key) != item[key]}
    _check_names(own, where, known)
    own = {CLASS: item[CLASS], **own}
    if getattr(leaf, "mask_interpolation", NEAREST[0]) not in NEAREST:
        raise UserError(f"{where}: {_blended(leaf.mask_interpolation)}")
    name = "mask_drop_value" if hasattr(leaf, "mask_drop_value") else "fill_mask"
    value = getattr(leaf, name, None)
    uncovers = getattr(leaf, "border_mode", cv2.BORDER_CONSTANT) == cv2.BORDER_CONSTANT
    uncovers &= getattr(leaf, "pad_if_needed", True)
    if value is None or not uncovers or np.all(np.asarray(value) == VOID):
        return own
    if name in item:
        raise UserError(
            f"{where}: {name} {value}: labels pixels outside the image: write {name}: {VOID} (void)"
        )
    return {**own, name: VOID}


def _blended(interpolation: int) -> str:
    return (
        f"mask_interpolation {interpolation}: blends class ids into others: write "
        f"mask_interpolation: {cv2.INTER_NEAREST} (nearest)"
    )


def _build(item: Json, where: str) -> Any:
    """The transform of a part of the file; a warning of albumentations is an error."""
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            built = A.from_dict({"transform": item})
    except Exception as error:  # transforms raise errors of any type
        raise UserError(f"{where}: {_reason(error)}") from None
    changed = [str(w.message) for w in said if not str(w.message).startswith(HARMLESS)]
    if changed:
        raise UserError(f"{where}: {' '.join(changed[0].split())}")
    return built


def _reason(error: Exception) -> str:
    if isinstance(error.__cause__, ValidationError):
        first = error.__cause__.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "arguments"
        return f"{name} {first['input']}: {first['msg']}"
    return " ".join(f"{type(error).__name__}: {error}".split()).removeprefix("ValueError: ")


def _yaml(transform: A.BasicTransform, where: str) -> str:
    text = io.StringIO()
    try:
        A.save(transform, text, data_format="yaml")
    except (yaml.YAMLError, NotImplementedError):
        raise UserError(
            f"{where}: cannot be kept in a run folder, albumentations does not write it: leave it "
            "out"
        ) from None
    return text.getvalue()


def _often(pipeline: A.Compose) -> A.Compose:
    """A copy in which every transform with p above 0 has p = 1."""
    often = copy.deepcopy(pipeline)
    waiting: list[Any] = [often]
    while waiting:
        transform = waiting.pop()
        transform.p = float(transform.p > 0)
        if isinstance(transform, A.BaseCompose):
            waiting += transform.transforms
    return often


def _try(pipeline: A.Compose, path: Path, shape: HeightWidth, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    stripes = rng.integers(0, len(PROBE_IDS), -(-shape[1] // 8))
    mask = np.broadcast_to(np.asarray(PROBE_IDS, np.uint8)[stripes].repeat(8)[: shape[1]], shape)
    watched = copy.deepcopy(pipeline)
    watch = _Watch(watched)
    watched.set_random_state(rng, random.Random(seed))
    try:
        changed = watched(image=image, mask=np.ascontiguousarray(mask))
    except Exception as error:  # transforms raise errors of any type
        raise UserError(
            f"{path}: transform {watch.current}: fails on an image of {describe(shape)}: "
            f"{_reason(error)}"
        ) from None
    if watch.invents is not None:
        place, ids = watch.invents
        raise UserError(
            f"{path}: transform {place}: puts class ids {ids} into a mask that has "
            f"{', '.join(map(str, PROBE_IDS))} alone: leave it out"
        )
    for name, wanted in (("image", image), ("mask", mask)):
        got = changed[name]
        if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
            by = ", ".join(dict.fromkeys(watch.reshaped)) or "?"
            raise UserError(
                f"{path}: transform {by}: makes of {name} {wanted.shape} {wanted.dtype} "
                f"{got.shape} {got.dtype}: size and type must stay"
            )


class _Watch:
    """Observes which transform of a pipeline runs and its effect on size, type and class ids."""

    def __init__(self, pipeline: A.Compose) -> None:
        self.current = "?"
        self.invents: tuple[str, list[int]] | None = None
        self.reshaped: list[str] = []
        for place, leaf in leaves(pipeline):
            self._watch(place, leaf)

    def _watch(self, place: str, leaf: Any) -> None:
        should_apply, apply = leaf.should_apply, leaf.apply_with_params

        def asked(force_apply: bool = False) -> bool:
            self.current = place
            return bool(should_apply(force_apply=force_apply))

        def applied(params: Json, *args: Any, **before: Any) -> Json:
            after: Json = apply(params, *args, **before)
            strange = set(np.unique(after["mask"]).tolist()) - {*PROBE_IDS, VOID}
            if strange and self.invents is None:
                self.invents = (place, sorted(strange)[:5])
            if any(
                (before[name].shape, before[name].dtype) != (after[name].shape, after[name].dtype)
                for name in ("image", "mask")
            ):
                self.reshaped.append(place)
            return after

        leaf.should_apply, leaf.apply_with_params = asked, applied
