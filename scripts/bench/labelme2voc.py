"""The baseline of `scripts.bench.build`: the algorithm of labelme's `labelme2voc.py --noviz`.

python -m scripts.bench.labelme2voc FOLDER OUT [--no-instances]

Written anew; it imports nothing that the algorithm does not need.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from voc_builder.base.colours import voc_colours


def convert(folder: Path, out: Path, *, instances: bool) -> None:
    """Decodes and encodes one image after the other with Pillow, draws every shape into a mask of
    its own at full size, and saves class ids and instance numbers as palette PNG and NumPy files.
    Without `instances` only the images and the class PNG, the minimum of a VOC tree.
    """
    palette = voc_colours().ravel().tolist()
    names = (folder / "obj.names").read_text(encoding="utf-8").split()
    layers = ("SegmentationClass", "SegmentationObject")[: 1 + instances]
    for name in ("JPEGImages", *layers, *(f"{layer}Npy" for layer in layers)):
        (out / name).mkdir(parents=True)
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        image = np.asarray(Image.open(folder / content["imagePath"]))
        Image.fromarray(image).save(out / "JPEGImages" / f"{path.stem}.jpg")
        drawn = draw_shapes(content["shapes"], names, image.shape[:2])
        for layer, ids in zip(layers, drawn, strict=False):
            mask = Image.fromarray(ids.astype(np.uint8), mode="P")
            mask.putpalette(palette)
            mask.save(out / layer / f"{path.stem}.png")
            if instances:
                np.save(out / f"{layer}Npy" / f"{path.stem}.npy", ids)


def draw_shapes(
    shapes: Sequence[dict[str, Any]], names: Sequence[str], size: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Class ids and instance numbers, shape `size`; one full-size mask per polygon, as labelme's
    `shapes_to_label` does it.
    """
    class_ids, instances = np.zeros(size, np.int32), np.zeros(size, np.int32)
    for number, shape in enumerate(shapes, start=1):
        canvas = Image.fromarray(np.zeros(size, np.uint8))
        points = [tuple(point) for point in shape["points"]]
        ImageDraw.Draw(canvas).polygon(points, outline=1, fill=1)
        inside = np.array(canvas, dtype=bool)
        class_ids[inside] = names.index(shape["label"])
        instances[inside] = number
    return class_ids, instances


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]), instances="--no-instances" not in sys.argv)
