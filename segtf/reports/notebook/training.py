"""Show how images become training samples: the pipeline of random changes, and what it does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
from numpy.typing import NDArray

from segtf.data.augment import augmenter, mosaic
from segtf.data.crops import cut
from segtf.data.pipelines import load_pipeline
from segtf.reports.notebook.data import load_image, load_mask, telling_images
from segtf.reports.notebook.show import Picture, Table, sheet, view
from segtf.run.config import TrainConfig
from segtf.run.folder import AUGMENT
from segtf.run.size import HeightWidth
from segtf.scoring.objects import object_classes
from voc_builder.pixels.images import resize_image, resize_mask
from voc_builder.tree.voc import Dataset

SAMPLES = 7  # of the image; with the image itself two rows
ACROSS = 4
Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]  # image (H, W, 3) and class ids (H, W)


@dataclasses.dataclass(frozen=True)
class Change:
    """A transform of a pipeline."""

    name: str
    share: float | None  # of the samples that it changes, 0 to 1; None: not told by the pipeline
    settings: dict[str, Any]  # that are not as albumentations has them by default


def pipeline_of(run: Path, config: TrainConfig) -> str:
    """What `--augment` would take for the pipeline that the run began with."""
    begun = run / AUGMENT
    return str(begun) if begun.is_file() else config.augment


def changes(augment: str, shape: HeightWidth) -> list[Change]:
    """The transforms of a preset or a file for images of that shape, in order. Raises `UserError`
    as `load_pipeline` does.
    """
    return list(_changes(load_pipeline(augment, shape), 1.0))


def _changes(transform: Any, share: float | None) -> Iterator[Change]:
    """`share` of the samples come to the transform."""
    applied = None if share is None else share * transform.p
    if not isinstance(transform, A.BaseCompose):
        yield Change(type(transform).__name__, applied, _settings(transform))
        return
    total = sum(inner.p for inner in transform.transforms)
    for inner in transform.transforms:
        if isinstance(transform, A.OneOf):
            for change in _changes(inner, 1.0):
                rng = applied * inner.p / total if applied is not None and total else None
                within = isinstance(inner, A.BaseCompose)
                yield dataclasses.replace(change, share=None if within else rng)
        elif type(transform) in (A.Compose, A.Sequential):
            yield from _changes(inner, applied)
        else:
            yield from _changes(inner, None)


def untouched(augment: str, shape: HeightWidth) -> float:
    """The share of the samples, 0 to 1, that a pipeline leaves as they are, if what it applies
    always changes something.
    """
    return _untouched(load_pipeline(augment, shape))


def _untouched(transform: Any) -> float:
    """The same of one transform."""
    inside = 0.0
    if type(transform) in (A.Compose, A.Sequential):
        inside = math.prod(_untouched(inner) for inner in transform.transforms)
    return float(1 - transform.p * (1 - inside))


def _settings(transform: Any) -> dict[str, Any]:
    own = transform.get_transform_init_args()
    try:
        usual = type(transform)(p=transform.p).get_transform_init_args()
    except TypeError:  # some have arguments without a default
        usual = {}
    changed = {key: own[key] for key in own if own[key] != usual.get(key)}
    return {key: value for key, value in changed.items() if key != "p" and value is not None}


def pipeline_table(run: Path, config: TrainConfig) -> Table:
    """The random changes of a run in their order, how many samples each changes, and its settings
    where they are not albumentations' own.
    """
    rows = [
        (
            change.name,
            "–" if change.share is None else f"{100 * change.share:.3g} %",
            ", ".join(f"{key} {_value(value)}" for key, value in change.settings.items()),
        )
        for change in changes(pipeline_of(run, config), config.shape)
    ]
    if config.mosaic:
        rows.insert(0, ("mosaic of four images", f"{100 * config.mosaic:.3g} %", ""))
    columns = 3 if any(settings for _, _, settings in rows) else 2
    return Table(("change", "samples", "settings")[:columns], tuple(row[:columns] for row in rows))


def _value(value: Any) -> str:
    """A setting in few words: that of both sides once, ends with `to` between them."""
    if isinstance(value, dict) and len({str(each) for each in value.values()}) == 1:
        return _value(next(iter(value.values())))
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return f"{_value(value[0])} to {_value(value[1])}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def augmented_image(run: Path, config: TrainConfig, dataset: Dataset, image_id: str) -> Picture:
    """A training image as the network could get it: at the training size, then as often changed as
    fits into two rows, masks drawn over. Chance begins with the run's seed.
    """
    others = [one for one in telling_images(dataset, "train", 4) if one != image_id]
    ids = [image_id, *(others * 3)[:3]] if others else [image_id] * 4
    images = [(load_image(dataset, one), load_mask(dataset, one)) for one in ids]
    change = augmenter(pipeline_of(run, config), config.shape)
    rng = np.random.default_rng(config.seed)
    whole = view(*images[0], dataset.classes)
    shown = [(f"{image_id}, unchanged", whole)]
    for number in range(1, SAMPLES + 1):
        image, mask = sample_of(config, dataset, images[0], rng)
        title = f"sample {number}"
        if rng.random() < config.mosaic:
            rest = [sample_of(config, dataset, photo, rng) for photo in images[1:]]
            image, mask = mosaic([(image, mask), *rest], rng)
            title += ", mosaic"
        image, mask = change(image, mask, int(rng.integers(2**32)))
        shown.append((title, view(image, mask, dataset.classes)))
    rows = [shown[start : start + ACROSS] for start in range(0, len(shown), ACROSS)]
    return sheet(rows, dataset.classes)


def sample_of(
    config: TrainConfig, dataset: Dataset, photo: Sample, rng: np.random.Generator
) -> Sample:
    """An image squeezed to the training size, or a crop of it as training draws one."""
    image, mask = photo
    if config.crop is None:
        return resize_image(image, *config.shape), resize_mask(mask, *config.shape)
    side, (height, width) = config.crop, mask.shape
    top = int(rng.integers(min(0, height - side), max(0, height - side), endpoint=True))
    left = int(rng.integers(min(0, width - side), max(0, width - side), endpoint=True))
    target = np.flatnonzero(np.isin(mask, list(object_classes(dataset.classes))))
    if target.size and rng.random() < config.foreground:
        row, column = divmod(int(rng.choice(target)), width)
        top = min(max(row - side // 2, 0), max(height - side, 0))
        left = min(max(column - side // 2, 0), max(width - side, 0))
    return cut(image, mask, top, left, config.shape)
