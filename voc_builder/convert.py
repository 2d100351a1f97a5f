"""Write samples as the images and masks of a VOC tree, and count their pixels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from voc_builder.base.classes import has_background
from voc_builder.base.colours import IGNORE, VOID, voc_colours
from voc_builder.base.problems import Problem, errors
from voc_builder.pixels.images import as_stored, decode_image, encode_jpeg
from voc_builder.pixels.png import decode_mask, encode_mask
from voc_builder.sources.checks import examine
from voc_builder.sources.sample import Found, Sample
from voc_builder.tree.split import Kind
from voc_builder.tree.voc import IMAGES, MASKS, OVERLAYS

Splits = Mapping[str, Sequence[str]]
CountsBySplit = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Converted:
    """What was written for one sample; without counts nothing was. Digests are SHA-256 in hex."""

    sample: Sample
    problems: tuple[Problem, ...]
    source: str = ""  # digest of the original image
    image: str = ""  # digest of the image as written
    mask: str = ""  # digest of the mask's size and class ids
    counts: tuple[int, ...] = ()  # pixels by class id, 256 numbers

    @property
    def id(self) -> str:
        return self.sample.id


def convert_sample(tree: Path, found: Found, sample: Sample) -> Converted:
    """Write the image and the mask of a sample, unless it has errors. An upright JPEG is copied,
    any other image is encoded as JPEG.
    """
    examined = examine(sample, found.original_classes, decode=False)
    if examined.header is None or errors(examined.problems):
        return Converted(sample, examined.problems)
    header, source = examined.header, examined.sha256
    image = as_stored(examined.image, header)
    written = source if header.decoded is None else hashlib.sha256(image).hexdigest()
    mask = found.draw_mask(sample, header.height, header.width)
    (tree / IMAGES / f"{sample.id}.jpg").write_bytes(image)
    (tree / MASKS / f"{sample.id}.png").write_bytes(encode_mask(mask))
    digest = hashlib.sha256(b"%d %d " % mask.shape + mask.data).hexdigest()
    counts = tuple(Image.fromarray(mask).histogram())
    return Converted(sample, examined.problems, source, written, digest, counts)


def write_overlay(tree: Path, classes: Sequence[str], image_id: str) -> None:
    """Write an image of the tree with its mask drawn over it."""
    from voc_builder.pixels.overlay import draw_overlay

    path = tree / IMAGES / f"{image_id}.jpg"
    image = decode_image(path.read_bytes(), str(path))
    mask = decode_mask((tree / MASKS / f"{image_id}.png").read_bytes())
    overlay = encode_jpeg(draw_overlay(image, mask, classes, voc_colours()))
    (tree / OVERLAYS / f"{image_id}.jpg").write_bytes(overlay)


def kind_of(converted: Converted, classes: Sequence[str]) -> Kind:
    """The classes in its mask, without background and ignored pixels."""
    first = 1 if has_background(classes) else 0
    return frozenset(name for i, name in enumerate(classes) if i >= first and converted.counts[i])


def count_pixels(
    counts: Mapping[str, Sequence[int]], splits: Splits, classes: Sequence[str]
) -> CountsBySplit:
    """Pixels by split and class, from the counts of every image by class id; ignored pixels are
    under labelme's name for them.
    """
    named = [*enumerate(classes), (VOID, IGNORE)]
    return {
        split: {name: sum(counts[image][i] for image in ids) for i, name in named}
        for split, ids in splits.items()
    }


def count_images(
    counts: Mapping[str, Sequence[int]], splits: Splits, classes: Sequence[str]
) -> CountsBySplit:
    """Number of images with the class, by split and class as in `count_pixels`."""
    seen = {image: [int(number > 0) for number in of] for image, of in counts.items()}
    return count_pixels(seen, splits, classes)


def digest_set(done: Sequence[Converted], splits: Splits, classes: Sequence[str]) -> str:
    """SHA-256 of classes, ids, splits, images and masks."""
    files = sorted([one.id, one.image, one.mask] for one in done)
    content = json.dumps([list(classes), dict(splits), files], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
