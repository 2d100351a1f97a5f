"""Predict an image strip by strip: class ids, background probability and uncertainty."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtf.inference.decision import apply_threshold, best_of
from segtf.inference.postprocess import postprocess_in_place
from segtf.inference.predictor import Predictor
from voc_builder.base.files import replacing
from voc_builder.pixels.image_rows import Rows
from voc_builder.pixels.overlay import count_ids

# probabilities in a file are multiples of 1 / STEPS. Half a step is less than the error of float16
# near 1, and meaningless digits would not compress
STEPS = 1024
# fraction of an image's pixels. Of the measures tried (mean over all pixels, entropy, fraction of
# pixels under 0.75, expected wrong fraction of objects) this one ranks images most nearly by their
# wrong pixels
LEAST_SURE = 0.05
LEVELS = 256  # of uncertainty, in its histogram
Write = Callable[[NDArray[np.float32]], None]


@dataclass(frozen=True)
class Answer:
    """The prediction for one image."""

    mask: NDArray[np.uint8]  # class ids after post-processing, (H, W)
    # its probability, (H, W), if wanted; 0 or 1 where threshold or post-processing have decided
    background: NDArray[np.float32] | None
    uncertainty: float  # 0 to 1, see `ask`


def ask(
    predictor: Predictor,
    image: Rows,
    *,
    background: bool = False,
    probabilities: Path | None = None,
    threshold: tuple[int, float] | None = None,
) -> Answer:
    """Predict an RGB image, shape (H, W, 3), with `background` also the probability of class 0. The
    probabilities of all classes are written to the npz file `probabilities` strip by strip, so that
    memory does not limit the size of the image. Raises `UserError`, and `OSError` if that file
    cannot be written.

    With a `threshold`, a class id and its decision threshold, a pixel is of that class where its
    probability is at least the threshold, else of the most probable other class.

    `uncertainty` is 1 minus the probability of the most probable class, averaged over the least
    sure pixels, a fraction `LEAST_SURE`: the mean over all pixels would hide small objects.
    """
    height, width = image.shape[:2]
    mask = np.empty((height, width), np.uint8)
    plane = np.empty((height, width), np.float32) if background else None
    doubts = np.zeros(LEVELS, np.int64)
    with _writing(probabilities, (height, width), predictor.classes) as write:
        for top, strip in predictor.strips(image):
            rows = np.s_[top : top + len(strip)]
            mask[rows], best = best_of(strip)
            if threshold is not None:
                mask[rows] = apply_threshold(strip, *threshold)
            doubts += count_ids(np.rint((LEVELS - 1) * (1 - best)).astype(np.uint8))
            if plane is not None:
                plane[rows] = strip[..., 0]
                if threshold is not None:  # the class of the threshold is no background
                    plane[rows][mask[rows] == threshold[0]] = 0
            write(strip)
    before = mask.copy() if plane is not None and predictor.rules else None
    postprocess_in_place(mask, predictor.rules, predictor.classes)
    if plane is not None and before is not None:
        changed = before != mask
        plane[changed] = mask[changed] == 0
    return Answer(mask, plane, _uncertainty(doubts))


def _uncertainty(doubts: NDArray[np.int64]) -> float:
    """The mean uncertainty of the least sure pixels, from the histogram over the `LEVELS`."""
    wanted = max(LEAST_SURE * doubts.sum(), 1.0)
    before = doubts[::-1].cumsum() - doubts[::-1]  # pixels less sure than those of a level
    taken = np.clip(wanted - before, 0, doubts[::-1])
    return float(taken @ np.linspace(1, 0, LEVELS) / wanted)


@contextlib.contextmanager
def _writing(path: Path | None, size: tuple[int, int], classes: Sequence[str]) -> Iterator[Write]:
    """A function that appends strips of probabilities to the npz file at `path`; without a path it
    does nothing.
    """
    if path is None:
        yield lambda strip: None
        return
    with (
        replacing(path) as beside,
        zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        with archive.open("classes.npy", "w") as file:
            np.lib.format.write_array(file, np.array(classes), allow_pickle=False)
        with archive.open("probabilities.npy", "w", force_zip64=True) as file:
            shape = (*size, len(classes))
            header = {"descr": "<f2", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            yield lambda strip: _put(file, strip)


def _put(file: object, strip: NDArray[np.float32]) -> None:
    file.write((np.rint(strip * STEPS) / STEPS).astype("<f2").tobytes())  # type: ignore[attr-defined]
