"""How annotations are read: the settings that checking, building and training share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Source = Literal["auto", "labelme", "masks", "boxes", "yolo", "pairs", "coco"]


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """In what form annotations are, and what they mean."""

    source: Source = "auto"
    """What the annotations are: labelme JSON, masks in a folder, Pascal VOC boxes, YOLO text files,
    a CSV of pairs, COCO JSON; auto: what lies at the place."""
    images: Path | None = None
    """Folder of the images, seen from that of the data; null: images, JPEGImages, train, ..."""
    masks: Path | None = None
    """Folder of masks, box files or YOLO files, seen from that of the data; null: masks,
    annotations, SegmentationClass, train_mask, labels, ..."""
    mask_pattern: str | None = None
    """Regular expression that matches the whole stem of an image and whose first bracket finds that
    of its mask, as '(.*)_\\d+' where 0001.png is the mask of 0001_1.jpg; null: the same stem."""
    mask_values: str | None = None
    """Which value in masks is which class: '2=background,1=pet,3=void'; null: class ids."""
    colors: Path | None = None
    """File that says which colour in masks is which class, a line 'NAME R G B' or 'NAME #RRGGBB'
    for each, class 0 first; null: masks hold values."""
    classes: Path | None = None
    """File of class names, one a line, the background first; null: obj.names, labels.txt,
    classes.txt or class_names.txt at the place, else the labels used; of masks, id 0 is line 1."""
    merge: str | None = None
    """New classes made of those: 'background=clutter+ground,object=*', * all others; null: none."""
    group_by: str | None = None
    """Regular expression: images whose ids match with the same text stay in one split or fold."""


def source_settings(config: SourceConfig) -> dict[str, Any]:
    """What `config` says of how annotations are read, by the names of its fields."""
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(SourceConfig)}


def flag_of(name: str) -> str:
    """The flag of a field: `--mask-pattern`."""
    return f"--{name.replace('_', '-')}"


def name_of(place: Path) -> str:
    """What annotations are called after the folder or file that holds them."""
    whole = place.resolve()
    return whole.stem if whole.is_file() else whole.name


def base_of(place: Path) -> Path:
    """The folder that other paths are seen from: the place itself, or that of the file it is."""
    return place.parent if place.is_file() else place
