"""Settings of how annotations are read, shared by several commands."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["auto", "labelme", "masks", "boxes", "yolo", "pairs", "coco"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """The format and the meaning of annotations."""

    source: Source = "auto"
    """Format of the annotations: labelme JSON, folder of masks, Pascal VOC boxes, YOLO text files,
    CSV of image and mask pairs, COCO JSON; auto: detected."""
    images: Path | None = None
    """Folder of images, relative to the data; null: images, JPEGImages, train, ..."""
    masks: Path | None = None
    """Folder of masks, box files or YOLO files, relative to the data; null: masks, annotations,
    SegmentationClass, train_mask, labels, ..."""
    mask_pattern: str | None = None
    """Regular expression for the whole stem of an image; its first group is the stem of the mask:
    '(.*)_\\d+' if 0001.png is the mask of 0001_1.jpg; null: the same stem."""
    mask_values: str | None = None
    """Classes of the values in masks: '2=background,1=pet,3=void'; null: values are class ids."""
    colors: Path | None = None
    """File with the classes of the colours in masks, a line 'NAME R G B' or 'NAME #RRGGBB' each,
    class 0 first; null: masks hold values."""
    classes: Path | None = None
    """File of class names, one per line, the background first (for masks, line 1 is id 0); null:
    obj.names, labels.txt, classes.txt or class_names.txt in the data, else the labels used."""
    merge: str | None = None
    """New classes from these: 'background=clutter+ground,object=*', * is all others; null: none."""
    group_by: str | None = None
    """Regular expression: images whose ids match with the same text stay in one split or fold."""


def source_settings(config: SourceConfig) -> dict[str, Any]:
    """The fields of `SourceConfig` with their values in `config`."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(SourceConfig)}


def flag_of(name: str) -> str:
    """The flag of a field: `--mask-pattern`."""
    return f"--{name.replace('_', '-')}"


def name_of(place: Path) -> str:
    """The name of a data set: that of its folder, or the stem of its file."""
    whole = place.resolve()
    return whole.stem if whole.is_file() else whole.name


def base_of(place: Path) -> Path:
    """The folder that relative paths start from: the place itself, or the folder of a file."""
    return place.parent if place.is_file() else place
