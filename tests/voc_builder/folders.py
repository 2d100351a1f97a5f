"""Small folders of annotated images made on the fly, and what comes of them."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from voc_builder.build import BuildConfig, build
from voc_builder.check import CheckConfig, check
from voc_builder.tree.voc import Dataset

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"  # real images, beside the checkout
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="no real images beside the checkout")

Shape = dict[str, Any]


def image_bytes(seed: int = 0, *, size: tuple[int, int] = (8, 6), kind: str = "JPEG") -> bytes:
    """An image of (width, height) that only this seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_image(path: Path) -> Path:
    """An image that only its name gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "PNG" if path.suffix == ".png" else "JPEG"
    seed = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16)
    path.write_bytes(image_bytes(seed, kind=kind))
    return path


def write_mask(path: Path, ids: Sequence[int], *, size: tuple[int, int] = (8, 6)) -> Path:
    """A grey mask of (width, height) with these ids in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    Image.fromarray(np.resize(np.array(ids, np.uint8), (height, width))).save(path)
    return path


def square(label: str, side: float = 3, **fields: Any) -> Shape:
    corners = [[0, 0], [side, 0], [side, side], [0, side]]
    return {"label": label, "points": corners, "shape_type": "polygon", **fields}


def write_annotated(
    path: Path, shapes: Sequence[Shape] = (), *, seed: int | None = None, **fields: Any
) -> Path:
    """The labelme JSON `path` and its image, which is drawn from the name if not from `seed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if seed is None:
        seed = int(hashlib.sha256(path.stem.encode()).hexdigest()[:8], 16)
    path.with_suffix(".jpg").write_bytes(image_bytes(seed))
    return write_json(path, shapes, **fields)


def write_json(path: Path, shapes: Sequence[Shape] = (), **fields: Any) -> Path:
    content = {
        "version": "5.0.1",
        "flags": {},
        "shapes": list(shapes),
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": 6,
        "imageWidth": 8,
        **fields,
    }
    kept = {name: value for name, value in content.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return path


def chips(folder: Path, *, empty: int = 5, clean: int = 10, defective: int = 5) -> Path:
    """A folder of so many images of each kind, classes `chip` and `defect`."""
    kinds = {"empty": (empty, []), "clean": (clean, ["chip"])}
    kinds["bad"] = (defective, ["chip", "defect"])
    for name, (count, labels) in kinds.items():
        for number in range(count):
            shapes = [square(label, 4 - 2 * place) for place, label in enumerate(labels)]
            write_annotated(folder / f"{name}{number:03d}.json", shapes)
    (folder / "obj.names").write_text("__background__\nchip\ndefect\n", encoding="utf-8")
    return folder


def write_badly_named(folder: Path, suffix: str) -> Path:
    """A file whose name is not UTF-8; the test is skipped where the disk takes none."""
    path = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9" + suffix.encode()))
    try:
        path.write_bytes(image_bytes(3) if suffix == ".jpg" else b"{}")
    except OSError:
        pytest.skip("this disk has names in UTF-8 alone")
    return path


def built(folder: Path, out: Path | None = None, **settings: Any) -> Dataset:
    """The data set of the folder, by default beside it and without TFRecords."""
    return build(
        BuildConfig(folder, out or folder.parent / "out", **{"records": False, **settings})
    )


def about(dataset: Dataset) -> dict[str, Any]:
    return json.loads((dataset.path / "dataset.json").read_text(encoding="utf-8"))


def sizes(dataset: Dataset) -> tuple[int, ...]:
    """The number of images in train, val and test."""
    return tuple(map(len, dataset.splits.values()))


def read_mask(path: Path) -> Any:
    with Image.open(path) as image:
        return np.array(image)


def rules(folder: Path, **settings: Any) -> list[tuple[str, str, str, int | None]]:
    """File name, severity, rule and shape of every problem that `check` finds."""
    found, _ = check(CheckConfig(folder, **settings))
    return [(one.file.name, one.severity, one.rule, one.shape) for one in found]


def tree_bytes(folder: Path) -> dict[str, bytes]:
    """Every file under the folder, by its name in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
