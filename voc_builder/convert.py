"""Turn samples into the images and masks of a VOC tree, and count what is in them."""

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
from voc_builder.sources.sample import Sample
from voc_builder.tree.split import Kind
from voc_builder.tree.voc import IMAGES, MASKS, PICTURES

Splits = Mapping[str, Sequence[str]]
CountsBySplit = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Converted:
    """What was written for one sample, or why nothing was; digests are SHA-256 in hex."""

    sample: Sample
    problems: tuple[Problem, ...]
    source: str = ""  # digest of the image as it came
    image: str = ""  # digest of the image as it was written
    mask: str = ""  # digest of the mask's size and class ids
    counts: tuple[int, ...] = ()  # pixels by class id, 256 of them

    @property
    def id(self) -> str:
        return self.sample.id


def convert_sample(tree: Path, classes: Sequence[str], sample: Sample) -> Converted:
    """Write the image and the mask of a sample, unless it has errors. An upright JPEG is written
    as it came, any other image as one.
    """
    examined = examine(sample, classes, decode=False)
    if examined.header is None or errors(examined.problems):
        return Converted(sample, examined.problems)
    header, image, source = examined.header, examined.image, examined.sha256
    written = source
    if header.decoded is not None:
        image = as_stored(image, header)
        written = hashlib.sha256(image).hexdigest()
    mask = sample.draw_mask(classes, header.height, header.width)
    (tree / IMAGES / f"{sample.id}.jpg").write_bytes(image)
    (tree / MASKS / f"{sample.id}.png").write_bytes(encode_mask(mask))
    drawn = hashlib.sha256(b"%d %d " % mask.shape + mask.data).hexdigest()
    counts = tuple(Image.fromarray(mask).histogram())
    return Converted(sample, examined.problems, source, written, drawn, counts)


def draw_picture(tree: Path, classes: Sequence[str], image_id: str) -> None:
    """Write the mask of an image of the tree drawn over it."""
    from voc_builder.pixels.overlay import draw_overlay

    path = tree / IMAGES / f"{image_id}.jpg"
    image = decode_image(path.read_bytes(), str(path))
    mask = decode_mask((tree / MASKS / f"{image_id}.png").read_bytes())
    picture = encode_jpeg(draw_overlay(image, mask, classes, voc_colours()))
    (tree / PICTURES / f"{image_id}.jpg").write_bytes(picture)


def kind_of(converted: Converted, classes: Sequence[str]) -> Kind:
    """The classes in its mask, background and void left out."""
    first = 1 if has_background(classes) else 0
    return frozenset(name for i, name in enumerate(classes) if i >= first and converted.counts[i])


def count_pixels(
    counts: Mapping[str, Sequence[int]], splits: Splits, classes: Sequence[str]
) -> CountsBySplit:
    """Pixels by split and class, from the counts of every image by class id; those of void stand
    under labelme's name for it.
    """
    named = [*enumerate(classes), (VOID, IGNORE)]
    return {
        split: {name: sum(counts[image][i] for image in ids) for i, name in named}
        for split, ids in splits.items()
    }


def count_images(
    counts: Mapping[str, Sequence[int]], splits: Splits, classes: Sequence[str]
) -> CountsBySplit:
    """Images by split and class that show it, in the same way."""
    seen = {image: [int(number > 0) for number in of] for image, of in counts.items()}
    return count_pixels(seen, splits, classes)


def digest_set(done: Sequence[Converted], splits: Splits, classes: Sequence[str]) -> str:
    """SHA-256 of classes, ids, splits, images and masks."""
    files = sorted([one.id, one.image, one.mask] for one in done)
    content = json.dumps([list(classes), dict(splits), files], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
