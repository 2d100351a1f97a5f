"""Find what people have annotated on photos that are predicted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voc_builder.colours import VOID
from voc_builder.errors import UserError
from voc_builder.labelme import draw_mask, read_annotation
from voc_builder.mask_files import decode_ids
from voc_builder.voc import is_tree, read_dataset


def check_truth(masks: Path, classes: Sequence[str]) -> None:
    """Raises `UserError` if `masks` is no folder, or that of a VOC tree with other classes."""
    if not masks.is_dir():
        raise UserError(f"--truth {masks}: no such folder: name the one of the masks")
    if is_tree(masks.parent) and (known := _classes(masks.parent)) != tuple(classes):
        raise UserError(
            f"--truth {masks}: the classes there are {', '.join(known)}, those of the network "
            f"{', '.join(classes)}: their ids mean other things; build the masks with its classes"
        )


def _classes(tree: Path) -> tuple[str, ...]:
    return read_dataset(tree, records=False).classes


def find_truth(photo: Path, masks: Path | None = None) -> Path | None:
    """The annotation of a photo: a PNG of its name in the folder `masks`, such as SegmentationClass
    of a VOC tree; without that folder a labelme file of its name beside it. None if there is none.
    """
    if masks is None:
        found = photo.with_suffix(".json")
        return found if found.is_file() else None
    found = masks / f"{photo.stem}.png"
    return found if found.is_file() else None


def read_truth(path: Path, classes: Sequence[str], height: int, width: int) -> NDArray[np.uint8]:
    """Class ids, shape (height, width), 255 void, of an annotation of `find_truth`. Raises
    `UserError` if it cannot be read, is of another size or knows other classes.
    """
    if path.suffix == ".json":
        annotation = read_annotation(path)
        size = (annotation.height or height, annotation.width or width)
        _check_size(path, size, (height, width))
        sized = dataclasses.replace(annotation, height=height, width=width)
        return draw_mask(sized, classes)
    try:
        ids = decode_ids(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
    _check_size(path, ids.shape, (height, width))
    unknown = sorted(set(np.unique(ids).tolist()) - {*range(len(classes)), VOID})
    if unknown:
        raise UserError(
            f"{path}: holds the ids {unknown}, and the network knows {len(classes)} classes, 0 to "
            f"{len(classes) - 1}: name the masks of its own classes"
        )
    return ids.astype(np.uint8)


def _check_size(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if tuple(found) != wanted:
        raise UserError(
            f"{path}: made for a photo of {found[1]} x {found[0]}, this one has {wanted[1]} x "
            f"{wanted[0]}: annotate the photo as it is"
        )
