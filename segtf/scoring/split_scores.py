"""The scores of one split: what `metrics_SPLIT.json` holds.

Scores are None where they are not defined, such as the IoU of a class that is neither annotated nor
predicted. Keys that older files lack are None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from segtf.run.size import HeightWidth, size_of
from segtf.run.typed_json import Key, from_json, to_json
from segtf.scoring.intervals import Interval
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from voc_builder.tree.voc import Dataset

Score = float | None  # 0 to 1


@dataclass(frozen=True)
class ObjectCounts:
    """Objects of one class, as `segtf.scoring.objects` counts them."""

    true: int
    found: int  # of the true ones
    predicted: Annotated[int, Key("alarms")]
    false_positives: Annotated[int, Key("false")]  # of the predicted ones

    @property
    def false_negatives(self) -> int:
        return self.true - self.found


@dataclass(frozen=True)
class SizeCounts:
    """The counts of one size of objects; predicted objects have the size of their own area."""

    size: str
    up_to: int | None  # pixels, the largest area of this size
    true: int
    found: int
    predicted: Annotated[int, Key("alarms")]
    false_positives: Annotated[int, Key("false")]

    @property
    def false_negatives(self) -> int:
        return self.true - self.found


@dataclass(frozen=True)
class ClassObjects:
    """Objects of one class in all images, without specks."""

    true: int
    found: int
    predicted: Annotated[int, Key("alarms")]
    false_positives: Annotated[int, Key("false")]
    false_negatives: Annotated[int, Key("missed")]
    found_fraction: Annotated[Score, Key("found_share")]  # of the true ones
    false_fraction: Annotated[Score, Key("false_share")]  # of the predicted ones
    false_positives_per_image: Annotated[Score, Key("false_a_photo")]
    sizes: tuple[SizeCounts, ...]


@dataclass(frozen=True)
class ObjectRule:
    """Fractions of pixels from which on a true object is found, and a predicted one not false."""

    found: float
    aimed: float


@dataclass(frozen=True)
class ObjectScores:
    """Objects of each class that has objects."""

    rule: ObjectRule
    classes: Mapping[str, ClassObjects]


@dataclass(frozen=True)
class Intervals:
    """Bootstrap intervals over images, per class for those of a mapping."""

    level: float
    resamples: int
    miou: Interval
    iou: Mapping[str, Interval]
    boundary_miou: Interval
    boundary_iou: Mapping[str, Interval]
    found: Mapping[str, Interval]
    false_positives_per_image: Annotated[Mapping[str, Interval], Key("false_a_photo")]


@dataclass(frozen=True)
class ChosenPoint:
    """What a threshold gives over the objects of the split on which it was chosen."""

    true: int
    precision: Score
    recall: Score
    f1: Score


@dataclass(frozen=True)
class PointPixels:
    """What a threshold gives over pixels."""

    precision: Score
    recall: Score
    f1: Score
    iou: Score


@dataclass(frozen=True)
class PointObjects:
    """What a threshold gives over objects."""

    precision: Score
    recall: Score
    f1: Score
    true: int
    found: int
    false_negatives: Annotated[int, Key("missed")]
    predicted: Annotated[int, Key("alarms")]
    false_positives: Annotated[int, Key("false")]
    found_fraction: Annotated[Score, Key("found_share")]
    false_positives_per_image: Annotated[Score, Key("false_a_photo")]


@dataclass(frozen=True)
class ThresholdCurve:
    """Precision and recall of each threshold, on the images that are scored."""

    threshold: tuple[float, ...]
    pixels_precision: tuple[Score, ...]
    pixels_recall: tuple[Score, ...]
    objects_precision: tuple[Score, ...]
    objects_recall: tuple[Score, ...]


@dataclass(frozen=True)
class PointScores:
    """The decision threshold of one class, and what it gives on the images that are scored."""

    class_name: Annotated[str, Key("class")]
    threshold: float
    criterion: str
    split: str | None  # on which it was chosen; None: it was given
    chosen: ChosenPoint | None
    pixels: PointPixels
    objects: PointObjects
    curve: ThresholdCurve


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image."""

    id: str
    miou: Score
    iou: Mapping[str, Score]
    wrong: Score  # fraction of the pixels, without void
    objects: Mapping[str, ObjectCounts] | None = None


@dataclass(frozen=True)
class ShownScores:
    """Scores of the masks that the overlays of a run show."""

    split: str | None
    rows: Annotated[tuple[ImageScores, ...], Key("photos")]


@dataclass(frozen=True)
class PixelScores:
    """Scores over the pixels of some images, and those of each image."""

    images: int
    classes: tuple[str, ...]
    iou: Mapping[str, Score]
    dice: Mapping[str, Score]
    miou: Score
    dice_mean: Score
    pixel_accuracy: Score
    iou_micro_imagewise: Score
    confusion: tuple[tuple[int, ...], ...]  # pixels, rows are the truth
    rows: Annotated[tuple[ImageScores, ...], Key("photos")]


@dataclass(frozen=True)
class Origin:
    """Which model was scored, on what."""

    split: str
    size: int | str  # as `segtf.run.size.size_of` gives it
    height: int | None
    width: int | None
    model: str  # keras, saved_model or onnx
    models: tuple[str, ...] | None = None  # this and the next two: of an ensemble or with
    ensemble: str | None = None  # test-time augmentation
    tta: str | None = None
    data: Mapping[str, str] | None = None  # path and sha256 of the data set

    @classmethod
    def of(
        cls, split: str, model: str, shape: HeightWidth, dataset: Dataset, **asked: Any
    ) -> Origin:
        """The origin of scores at the size `shape`; `asked` are models, ensemble and tta."""
        data = {"path": str(dataset.path), "sha256": dataset.sha256}
        return cls(split, size_of(shape), *shape, model, **asked, data=data)


@dataclass(frozen=True, kw_only=True)
class SplitScores(PixelScores):
    """All scores of a split."""

    origin: Origin
    objects: ObjectScores | None
    boundary_iou: Mapping[str, Score] | None
    boundary_miou: Score
    intervals: Intervals | None
    operating_point: PointScores | None
    no_operating_point: str | None  # why there is none

    def to_json(self) -> dict[str, Any]:
        """The values of `metrics_SPLIT.json`, `origin` in front."""
        values: dict[str, Any] = to_json(self)
        return {**values.pop("origin"), **values}

    @classmethod
    def from_json(cls, values: Any) -> SplitScores:
        """Raises ValueError for a value that is missing or of another type."""
        nested = {**values, "origin": values} if isinstance(values, dict) else values
        return from_json(cls, nested)


def metrics_file(split: str) -> str:
    """Name of the file that holds the scores of a run's best network."""
    return f"metrics_{split}.json"


def read_scores(path: Path) -> SplitScores:
    """The scores of a `metrics_SPLIT.json`. Raises `UserError` if it is damaged."""
    try:
        return SplitScores.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(
            f"{path}: damaged ({error}): score the run again with python -m segtf.evaluate"
        ) from None


def read_shown_scores(path: Path) -> ShownScores | None:
    """The scores of the masks that overlays show, None without the file. Raises `UserError` if it
    is damaged.
    """
    if not path.is_file():
        return None
    try:
        return from_json(ShownScores, json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}): delete it or finish the run again") from None


def read_run_scores(run: Path) -> dict[str, SplitScores]:
    """The scores of val and test, by split, as far as a run folder has them."""
    paths = {split: run / metrics_file(split) for split in ("val", "test")}
    return {split: read_scores(path) for split, path in paths.items() if path.is_file()}
