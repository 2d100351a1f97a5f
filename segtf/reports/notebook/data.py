"""Show a data set: that its splits are separate, some annotated images, training samples."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.data.crops import Image as Pixels
from segtf.data.crops import Mask
from segtf.data.sampling import Sampler
from segtf.reports.notebook.show import sheet, table, view
from segtf.run.config import TrainConfig
from segtf.run.folder import AUGMENT
from segtf.scoring.objects import object_classes
from voc_builder.pixels.images import decode_image, resize_image, resize_mask
from voc_builder.pixels.png import decode_mask
from voc_builder.tree.voc import ABOUT, Dataset

if TYPE_CHECKING:
    from IPython.display import HTML, Image

LOOKED_AT = 60  # images of a split among which the varied ones are chosen
SAMPLES, ACROSS = 8, 4


@dataclasses.dataclass(frozen=True)
class Separation:
    """Whether the splits are separate; counted from the lists, not read."""

    images: int  # in all splits
    images_twice: tuple[str, ...]  # ids in more than one split
    groups: int  # of images that share a mask, a pattern or their bytes
    groups_twice: tuple[str, ...]  # groups with images in more than one split


def separation(dataset: Dataset) -> Separation:
    """Counts the images and the groups that are in more than one split."""
    where: dict[str, set[str]] = {}
    for name, ids in dataset.splits.items():
        for image_id in ids:
            where.setdefault(image_id, set()).add(name)
    groups: dict[str, dict[str, list[str]]] = json.loads(
        (dataset.path / ABOUT).read_text(encoding="utf-8")
    )["groups"]
    found = {
        group: {split for ids in placed.values() for one in ids for split in where.get(one, ())}
        for group, placed in groups.items()
    }
    return Separation(
        images=len(where),
        images_twice=tuple(image_id for image_id, names in where.items() if len(names) > 1),
        groups=len(groups),
        groups_twice=tuple(group for group, names in found.items() if len(names) > 1),
    )


def separation_table(dataset: Dataset) -> HTML:
    """`separation` as a table; the counts that must be 0 are followed by names if they are not."""
    found = separation(dataset)
    rows = (
        ("images in all splits", str(found.images)),
        (
            "images in two splits",
            ", ".join([str(len(found.images_twice)), *found.images_twice[:5]]),
        ),
        ("groups (one mask, one pattern, equal bytes)", str(found.groups)),
        (
            "groups in two splits",
            ", ".join([str(len(found.groups_twice)), *found.groups_twice[:5]]),
        ),
    )
    return table(("", "count"), rows)


def load_image(dataset: Dataset, image_id: str) -> NDArray[np.uint8]:
    """RGB, shape (H, W, 3)."""
    path = dataset.image(image_id)
    return decode_image(path.read_bytes(), str(path))


def load_mask(dataset: Dataset, image_id: str) -> NDArray[np.uint8]:
    """Class ids, shape (H, W), 255 ignored."""
    return decode_mask(dataset.mask(image_id).read_bytes())


def varied_images(dataset: Dataset, split: str, count: int) -> list[str]:
    """Ids of at most `count` images of a split that show as many classes as possible: each adds the
    classes that were shown least often. The same ones every time.
    """
    known = list(dataset.splits[split])
    if len(known) > LOOKED_AT:
        known = [known[i * len(known) // LOOKED_AT] for i in range(LOOKED_AT)]
    wanted = set(object_classes(dataset.classes))
    shown = {one: wanted & set(np.unique(load_mask(dataset, one)).tolist()) for one in known}
    times: Counter[int] = Counter()
    chosen: list[str] = []
    while len(chosen) < min(count, len(known)):
        left = [one for one in known if one not in chosen]
        best = max(left, key=lambda one: sum(1 / (1 + times[i]) ** 2 for i in shown[one]))
        chosen.append(best)
        times.update(shown[best])
    return chosen


def annotated(dataset: Dataset, ids: Sequence[str]) -> Image:
    """The images in one row, the same with their masks drawn over them in the next."""
    images = [load_image(dataset, one) for one in ids]
    masks = [load_mask(dataset, one) for one in ids]
    above = [
        (one, view(image, None, dataset.classes)) for one, image in zip(ids, images, strict=True)
    ]
    below = [
        ("", view(image, mask, dataset.classes)) for image, mask in zip(images, masks, strict=True)
    ]
    return sheet([above, below])


@dataclasses.dataclass(frozen=True)
class _Images:
    """What a `Sampler` draws from."""

    images: list[Pixels]
    masks: list[Mask]

    def __len__(self) -> int:
        return len(self.images)


def augmented(run: Path, config: TrainConfig, dataset: Dataset, ids: Sequence[str]) -> Image:
    """Training samples of the images, drawn and augmented as training does it."""
    images = [load_image(dataset, one) for one in ids]
    masks = [load_mask(dataset, one) for one in ids]
    if config.crop is None:
        images = [resize_image(image, *config.shape) for image in images]
        masks = [resize_mask(mask, *config.shape) for mask in masks]
    begun = run / AUGMENT
    alone = dataclasses.replace(
        config,
        batch=1,
        shards=1,
        processes=1,
        augment=str(begun) if begun.is_file() else config.augment,
    )
    sampler = Sampler(_Images(images, masks), alone, len(dataset.classes), range(1), len(ids))
    shown = [view(*sampler.sample(number), dataset.classes) for number in range(SAMPLES)]
    titled = [(f"sample {number + 1}", image) for number, image in enumerate(shown)]
    return sheet([titled[start : start + ACROSS] for start in range(0, SAMPLES, ACROSS)])
