"""Show a data set: its splits, that none of them knows another, its sizes and some images."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segtf.reports.notebook.show import Picture, Table, sheet, view
from segtf.run.folder import read_sizing
from segtf.scoring.objects import object_classes
from segtf.training.survey import survey
from voc_builder.pixels.images import decode_image
from voc_builder.pixels.overlay import count_ids, format_fraction
from voc_builder.pixels.png import decode_mask
from voc_builder.tree.voc import ABOUT, Dataset

SPLITS = ("train", "val", "test")
IGNORED = "__ignore__"  # void, as dataset.json calls it
NAMED = 2  # classes over an image, there is no room for more
LOOKED_AT = 60  # images of a split among which the telling ones are target
Json = dict[str, Any]


@dataclass(frozen=True)
class Separation:
    """Whether the splits know each other; counted from the lists, not read."""

    images: int  # in all splits
    images_twice: tuple[str, ...]  # ids that stand in more than one split
    groups: int  # what shares a mask, a pattern or its bytes
    grouped: int  # images in them
    groups_twice: tuple[str, ...]  # groups with images in more than one split


def load_image(dataset: Dataset, image_id: str) -> NDArray[np.uint8]:
    """RGB, shape (H, W, 3)."""
    path = dataset.image(image_id)
    return decode_image(path.read_bytes(), str(path))


def load_mask(dataset: Dataset, image_id: str) -> NDArray[np.uint8]:
    """Class ids, shape (H, W), 255 void."""
    return decode_mask(dataset.mask(image_id).read_bytes())


def split_table(dataset: Dataset) -> Table:
    """Images of each split, and of each class its share of the pixels and the images that show it;
    void is a share of all pixels.
    """
    names = [name for name in SPLITS if dataset.splits[name]]
    rows = [("photos", *(f"{len(dataset.splits[name]):,}" for name in names))]
    for label in (*dataset.classes, IGNORED):
        pixels = [dataset.pixels[name].get(label, 0) for name in names]
        if label == IGNORED and not any(pixels):
            continue
        cells = []
        for name, count in zip(names, pixels, strict=True):
            known = sum(dataset.pixels[name].get(each, 0) for each in dataset.classes)
            share = count / max(1, known + (count if label == IGNORED else 0))
            cells.append(f"{format_fraction(share)} in {dataset.images[name].get(label, 0):,}")
        rows.append(("void" if label == IGNORED else label, *cells))
    return Table(("share of pixels, images", *names), tuple(rows))


def separation(dataset: Dataset) -> Separation:
    """Counts the images and the groups that are in more than one split."""
    where: dict[str, set[str]] = {}
    for name in SPLITS:
        for image_id in dataset.splits[name]:
            where.setdefault(image_id, set()).add(name)
    about = json.loads((dataset.path / ABOUT).read_text(encoding="utf-8"))
    groups = {
        group: [image_id for ids in placed.values() for image_id in ids]
        for group, placed in about["groups"].items()
    }
    twice = [
        group
        for group, ids in groups.items()
        if len({name for image_id in ids for name in where.get(image_id, ())}) > 1
    ]
    return Separation(
        images=len(where),
        images_twice=tuple(image_id for image_id, names in where.items() if len(names) > 1),
        groups=len(groups),
        grouped=sum(len(ids) for ids in groups.values()),
        groups_twice=tuple(twice),
    )


def separation_table(dataset: Dataset) -> Table:
    """`separation` as a table; the two numbers that must be 0 say which, if they are not."""
    found = separation(dataset)

    def of(names: Sequence[str]) -> str:
        return ", ".join([str(len(names)), *names[:5]])

    return Table(
        ("", "count"),
        (
            ("images in all splits", f"{found.images:,}"),
            ("images that are in two splits", of(found.images_twice)),
            ("groups (one mask, one pattern, equal bytes)", f"{found.groups:,}"),
            ("images in groups", f"{found.grouped:,}"),
            ("groups that are in two splits", of(found.groups_twice)),
        ),
    )


def survey_of(run: Path, dataset: Dataset) -> Json:
    """What the run's sizing.json says of images and objects of train and val, with the size of the
    smallest objects at the training size as `trained`; measured anew, without that, if the run has
    none.
    """
    sizing = read_sizing(run)
    found: Json = sizing["survey"] if sizing else survey(dataset).to_json()
    return found


def size_table(found: Json) -> Table:
    """Height and width of the images of train and val, pixels."""
    rows = [
        (f"{side}, pixels", *(f"{value:,}" for value in found[f"{side}s"]))
        for side in ("height", "width")
    ]
    return Table(("", "smallest", "median", "largest"), tuple(rows))


def object_table(found: Json) -> Table:
    """The objects of each class in train and val, and how large the smallest of them are."""
    rows = [
        (
            each["name"],
            f"{each['count']:,}",
            f"{each['size']:,.1f}",
            f"{each['trained']:,.1f}" if "trained" in each else "–",
        )
        for each in found["objects"]
    ]
    head = ("class", "objects", "pixels in the image", "pixels as the network sees them")
    return Table(head, tuple(rows))


def telling_images(dataset: Dataset, split: str, count: int) -> list[str]:
    """Ids of at most `count` images of a split that show as much of the classes as so few can: each
    adds what was seen least often. The same ones every time.
    """
    ids = dataset.splits[split]
    spread = [ids[i * len(ids) // LOOKED_AT] for i in range(LOOKED_AT)]
    known = ids if len(ids) <= LOOKED_AT else spread
    shown = {image_id: set(np.unique(load_mask(dataset, image_id)).tolist()) for image_id in known}
    wanted = set(object_classes(dataset.classes))
    seen: Counter[int] = Counter()
    chosen: list[str] = []
    while len(chosen) < min(count, len(known)):
        left = [image_id for image_id in known if image_id not in chosen]
        best = max(left, key=lambda one: sum(1 / (1 + seen[i]) ** 2 for i in shown[one] & wanted))
        chosen.append(best)
        seen.update(shown[best])
    return chosen


def images_with_masks(dataset: Dataset, ids: Sequence[str]) -> Picture:
    """Above the images, below the same with their masks drawn over them."""
    pairs = [(load_image(dataset, one), load_mask(dataset, one)) for one in ids]
    plain = [
        (one, view(image, None, dataset.classes))
        for one, (image, _) in zip(ids, pairs, strict=True)
    ]
    painted = [
        (_present(mask, dataset.classes), view(image, mask, dataset.classes))
        for image, mask in pairs
    ]
    return sheet([plain, painted], dataset.classes)


def _present(mask: NDArray[np.uint8], classes: Sequence[str]) -> str:
    """The largest classes of a mask but the background, with their shares of its pixels."""
    counts = count_ids(mask)
    present = [i for i in object_classes(classes) if counts[i]]
    present.sort(key=lambda i: -counts[i])
    named = [f"{classes[i]} {format_fraction(counts[i] / mask.size)}" for i in present[:NAMED]]
    if len(present) > NAMED:
        named.append(f"{len(present) - NAMED} more")
    return ", ".join(named) or f"{classes[0]} alone"
