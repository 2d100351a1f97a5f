"""Find what people have annotated on images that are predicted."""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtf.inference.find_images import folder_of, shared_folder
from voc_builder.base.colours import VOID
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.pixels.images import SUFFIXES
from voc_builder.sources.labelme import Annotation, draw_mask, read_annotation
from voc_builder.sources.listing import folded
from voc_builder.sources.mask_files import decode_ids
from voc_builder.tree.voc import is_tree, read_dataset

Find = Callable[[Path], Path | None]


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


def truth_finder(images: Sequence[Path], masks: Path | None = None) -> Find:
    """A function that gives the annotation of each of the `images`, None for one without. Raises
    `UserError` for masks of a VOC tree that is damaged.

    Of a VOC tree's folder of masks an image has one if the tree holds that very image, whatever its
    name; of another folder see `match_masks`. Without a folder it is the labelme file of its name
    beside it, of which `read_truth` finds out whether it is that of another image.
    """
    if masks is None:
        return _beside
    if is_tree(masks.parent):
        return TreeMasks(masks).of
    return match_masks(images, masks).get


def _beside(image: Path) -> Path | None:
    found = image.with_suffix(".json")
    return found if found.is_file() else None


class TreeMasks:
    """The masks of a VOC tree by the image that they are of. Raises `UserError` if the tree cannot
    be read.
    """

    def __init__(self, masks: Path) -> None:
        self._masks, self._dataset = masks, read_dataset(masks.parent, records=False)
        self._by_size: dict[int, list[str]] = defaultdict(list)  # ids, by bytes of the image
        for image_id in itertools.chain(*self._dataset.splits.values()):
            with _reading(self._dataset.image(image_id)) as path:
                self._by_size[path.stat().st_size].append(image_id)

    def of(self, image: Path) -> Path | None:
        """The mask of an image that the tree holds, of twins that of its name if there is one."""
        from segtf.run.provenance import stored_image

        encoded = stored_image(image)
        alike = self._by_size.get(len(encoded), [])
        for image_id in sorted(alike, key=lambda one: one != image.stem):
            with _reading(self._dataset.image(image_id)) as path:
                if path.read_bytes() == encoded:
                    found = self._masks / f"{image_id}.png"
                    return found if found.is_file() else None
        return None


def match_masks(images: Sequence[Path], masks: Path) -> dict[Path, Path]:
    """The PNG files of a folder of masks, by the image that they are of.

    A mask is that of the image with its path: as seen from the folder that all images share, or
    their own folders as far as they go. A mask in no subfolder is also that of the only image with
    its stem. A mask that several images have the same right to is none's, and a note says so.
    """
    root = shared_folder(images)
    by_path: dict[Path, list[Path]] = defaultdict(list)
    by_stem: dict[Path, list[Path]] = defaultdict(list)
    for image in images:
        named = folder_of(image) / f"{image.stem}.png"
        places = [masks.joinpath(*named.parts[n:]) for n in range(1, len(named.parts) - 1)]
        places += [masks / named.relative_to(root)] if root else []
        flat = masks / named.name
        if found := next((place for place in places if place.is_file()), None):
            by_path[found].append(image)
        elif flat.is_file():
            by_stem[flat].append(image)
    claims = by_stem | by_path
    disputed = {mask: claiming for mask, claiming in claims.items() if len(claiming) > 1}
    if disputed:
        mask, (first, second, *_) = next(iter(disputed.items()))
        note(
            f"{len(disputed)} masks are not compared with, as several images have their names: "
            f"{mask} may be that of {first} or of {second}: put it into a subfolder named as that "
            "of its image"
        )
    return {claiming[0]: mask for mask, claiming in claims.items() if mask not in disputed}


@contextmanager
def _reading(path: Path) -> Iterator[Path]:
    """Raises `UserError` if the image of a tree cannot be read."""
    try:
        yield path
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}), and must be compared with images that are "
            "predicted: put it back"
        ) from None


def read_truth(
    path: Path, image: Path, classes: Sequence[str], height: int, width: int
) -> NDArray[np.uint8] | None:
    """Class ids, shape (height, width), 255 void, of an annotation that `truth_finder` gives; None
    for a labelme file of another image. Raises `UserError` if it cannot be read, is of another size
    or knows other classes.
    """
    if path.suffix == ".json":
        annotation = read_annotation(path)
        if not _is_of(annotation, image):
            return None
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


def _is_of(annotation: Annotation, image: Path) -> bool:
    """Whether a labelme file that has the name of an image is that image's: the file names it, or
    names none that is there, and no other image of that name lies beside it.
    """
    if annotation.image is not None:
        named = annotation.image
        return folded(named.name) == folded(image.name) or named.samefile(image)
    return not any(
        other.stem == image.stem and other.suffix.lower() in SUFFIXES and other.name != image.name
        for other in image.parent.iterdir()
    )


def _check_size(path: Path, found: tuple[int, ...], wanted: tuple[int, int]) -> None:
    if tuple(found) != wanted:
        raise UserError(
            f"{path}: made for an image of {found[1]} x {found[0]}, this one has {wanted[1]} x "
            f"{wanted[0]}: annotate the image as it is"
        )
