"""Measure how far an image's tiles, blended, answer as the network does about the whole image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.bench_table import Table, met
from segtf.inference.decision import most_probable
from segtf.inference.onnx_model import OnnxModel
from segtf.inference.tiles import blended_strips, flat_window, gaussian_window
from segtf.run.size import describe
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note
from voc_builder.pixels.images import decode_image

LIMIT = 0.995  # share of pixels
WINDOWS = {"Gaussian": gaussian_window, "flat": flat_window}


def measure_seam(run: Path, images: Sequence[Path], *, overlap: float) -> Table:
    """Shares of pixels on which tiles blended either way name the class that the network names when
    it sees the image as a whole; half a tile's overlap along the image's border is left out, where
    the whole image too is seen from one side alone. Raises `UserError` for a network of one size.
    """
    model = OnnxModel(run)
    if model.info.fixed:
        raise UserError(
            f"{model.path}: takes nothing but {describe(model.info.shape)}: there is no whole"
        )
    tile = model.info.shape
    down, across = (max(round(length * overlap / 2), 1) for length in tile)
    agree: dict[str, list[float]] = {name: [] for name in WINDOWS}
    for path in images:
        note(f"seam: {path.name}")
        image = decode_image(path.read_bytes(), str(path))
        inner = np.s_[down:-down, across:-across]
        whole = whole_mask(model, image)[inner]
        for name, window in WINDOWS.items():
            found = np.empty(image.shape[:2], np.uint8)
            for top, strip in blended_strips(
                model.probabilities,
                lambda top, end, image=image: image[top:end],  # type: ignore[misc]
                *image.shape[:2],
                tile=tile,
                overlap=overlap,
                window=window,
            ):
                found[top : top + len(strip)] = most_probable(strip)
            agree[name].append(float((found[inner] == whole).mean()))
    means = {name: float(np.mean(shares)) for name, shares in agree.items()}
    return Table(
        title=f"Seams: tiles of {describe(tile)}, {model.info.arch} {model.info.encoder}",
        columns=("blended", "same class, mean of images", "worst image", "other class"),
        rows=tuple(
            (name, f"{means[name]:.3%}", f"{min(shares):.3%}", f"{1 - means[name]:.3%}")
            for name, shares in agree.items()
        ),
        verdict=f"{len(images)} images of {image.shape[1]} x {image.shape[0]}, tiles that share "
        f"{overlap:.0%}, half of that along the border left out. Wanted: the Gaussian agrees "
        f"with the whole image on {LIMIT:.1%}: {met(means['Gaussian'], LIMIT, least=True)}; and "
        f"flat averaging is worse: {met(means['flat'], means['Gaussian'])}.",
        figures=agree,
    )


def whole_mask(model: OnnxModel, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Class ids, shape (H, W), of an image that the network sees at once, mirrored below and at the
    right to a size that it can take.
    """
    height, width = image.shape[:2]
    below, right = (-length % model.info.multiple for length in (height, width))
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
    answer = model.probabilities(np.asarray(padded, np.uint8)[None])[0]
    return most_probable(answer[:height, :width])
