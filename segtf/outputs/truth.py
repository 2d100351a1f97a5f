"""Find the annotations of images that are predicted, and score predictions against them.

Images that a network was trained on are not scored: their scores would be optimistically biased.
"""

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
from segtf.inference.predictor import Predictor
from segtf.run.folder import write_json
from segtf.run.provenance import digest_image, stored_image, trained_on_by_models
from segtf.run.typed_json import to_json
from segtf.scoring import metrics
from segtf.scoring.scores import pixel_scores
from segtf.scoring.split_scores import PixelScores
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
    """Raises `UserError` if `masks` is no folder, or of a VOC tree with other classes."""
    if not masks.is_dir():
        raise UserError(f"--truth {masks}: no such folder: name the one of the masks")
    if is_tree(masks.parent) and (known := _classes(masks.parent)) != tuple(classes):
        raise UserError(
            f"--truth {masks}: the classes there are {', '.join(known)}, those of the network "
            f"{', '.join(classes)}: the ids differ in meaning; build the masks with its classes"
        )


def _classes(tree: Path) -> tuple[str, ...]:
    return read_dataset(tree, records=False).classes


class Truths:
    """The annotations of images, and the scores of their predictions.

    `masks` is a folder of masks, see `truth_finder`; without one annotations are labelme files
    beside the images, and nothing is scored. Raises `UserError` for masks of a damaged VOC tree.
    """

    def __init__(self, images: Sequence[Path], masks: Path | None, predictor: Predictor) -> None:
        self._find, self._masks, self._classes = (
            truth_finder(images, masks),
            masks,
            predictor.classes,
        )
        models = [model.path for model in predictor.models]
        self._hashes = frozenset[str]() if masks is None else trained_on_by_models(models)
        self._counts: list[tuple[str, metrics.Counts]] = []
        self._trained_on = self._unusable = 0  # images

    def read(self, image: Path, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8] | None, str]:
        """The true class ids of an image, if it has an annotation, and why that is unusable."""
        try:
            found = self._find(image)
            if found is None:
                return None, ""
            return read_truth(found, image, self._classes, *shape[:2]), ""
        except UserError as error:
            return None, " ".join(str(error).split())

    def trained_on(self, image: Path) -> bool:
        """Whether a network was trained on an image, by the run folder of the network."""
        return bool(self._hashes) and digest_image(image) in self._hashes

    def add(
        self, image_id: str, counts: metrics.Counts | None, trained_on: bool, unusable: bool
    ) -> None:
        """Takes in the pixels of an image by true and predicted class, if it has an annotation."""
        self._trained_on += trained_on
        self._unusable += unusable
        if counts is not None and not trained_on:
            self._counts.append((image_id, counts))

    def write_scores(self, file: Path) -> PixelScores | None:
        """Writes and returns the scores of the images that no network was trained on; removes the
        file of an earlier prediction if there are none.
        """
        if self._trained_on:
            note(f"not scored: {self._trained_on} annotated images that the network was trained on")
        elif not self._counts and not self._unusable:
            note(f"nothing is scored: no image has a mask in {self._masks}")
        if not self._counts:
            file.unlink(missing_ok=True)
            return None
        scores = pixel_scores(self._counts, self._classes)
        write_json({**to_json(scores), "left_out_as_trained_on": self._trained_on}, file)
        return scores


def truth_finder(images: Sequence[Path], masks: Path | None = None) -> Find:
    """A function that gives the annotation file of one of the `images`, or None. Raises `UserError`
    for masks of a damaged VOC tree.

    In the folder of masks of a VOC tree an image has a mask if the tree holds that very image,
    whatever its name; for other folders see `match_masks`. Without a folder it is the labelme file
    of the same name beside the image; `read_truth` checks that it is not of another image.
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
    """The masks of a VOC tree, found by the bytes of the image. Raises `UserError` if the tree
    cannot be read.
    """

    def __init__(self, masks: Path) -> None:
        self._masks, self._dataset = masks, read_dataset(masks.parent, records=False)
        self._by_size: dict[int, list[str]] = defaultdict(list)  # ids, by bytes of the image
        for image_id in itertools.chain(*self._dataset.splits.values()):
            with _reading(self._dataset.image(image_id)) as path:
                self._by_size[path.stat().st_size].append(image_id)

    def of(self, image: Path) -> Path | None:
        """The mask of an image that the tree holds; among duplicates the one of its name wins."""
        encoded = stored_image(image)
        alike = self._by_size.get(len(encoded), [])
        for image_id in sorted(alike, key=lambda one: one != image.stem):
            with _reading(self._dataset.image(image_id)) as path:
                if path.read_bytes() == encoded:
                    found = self._masks / f"{image_id}.png"
                    return found if found.is_file() else None
        return None


def match_masks(images: Sequence[Path], masks: Path) -> dict[Path, Path]:
    """The PNG files of a folder of masks, by their image.

    A mask belongs to the image with the same relative path, from the folder that all images share
    or from any folder above the image. A mask in no subfolder also belongs to the only image with
    its stem. A mask that several images could claim is skipped, with a note on stderr.
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
