"""Gather what the outputs of an image are made of while the network answers strip by strip."""

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

# steps of 1: what a probability is rounded to in a file. Half a step is less than float16 loses
# near 1, and digits that mean nothing would not compress
STEPS = 1024
# share of an image's pixels. Of the measures tried (the mean over all pixels, entropy, the share of
# pixels under 0.75, the wrong share to be expected of objects) this one puts images most nearly in
# the order of their wrong pixels
LEAST_SURE = 0.05
LEVELS = 256  # that doubts are counted by
Write = Callable[[NDArray[np.float32]], None]


@dataclass(frozen=True)
class Answer:
    """What a predictor says of one image."""

    mask: NDArray[np.uint8]  # class ids after post-processing, (H, W)
    # its probability, (H, W), if it was asked for; 0 or 1 where something else has decided
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
    """What `predictor` says of an RGB image, shape (H, W, 3), and with `background` how probable
    that is. The probabilities of all classes go to the npz file `probabilities`, as they come, so
    that an image of any size has room. Raises `UserError`, and `OSError` if that cannot be written.

    With a `threshold`, a class id and a probability, a pixel is of that class where it has at least
    that probability, and else of the most probable other one.

    `uncertainty` is by how much the best class falls short of a probability of 1, as the mean over
    the `LEAST_SURE` of the pixels: over all of them a small object would be lost in its ground.
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
                if threshold is not None:  # what the threshold marks is no background
                    plane[rows][mask[rows] == threshold[0]] = 0
            write(strip)
    before = mask.copy() if plane is not None and predictor.rules else None
    postprocess_in_place(mask, predictor.rules, predictor.classes)
    if plane is not None and before is not None:
        swept = before != mask
        plane[swept] = mask[swept] == 0
    return Answer(mask, plane, _uncertainty(doubts))


def _uncertainty(doubts: NDArray[np.int64]) -> float:
    """The mean doubt of the least sure pixels, of how many there are at each of the `LEVELS`."""
    wanted = max(LEAST_SURE * doubts.sum(), 1.0)
    before = doubts[::-1].cumsum() - doubts[::-1]  # pixels less sure than those of a level
    taken = np.clip(wanted - before, 0, doubts[::-1])
    return float(taken @ np.linspace(1, 0, LEVELS) / wanted)


@contextlib.contextmanager
def _writing(path: Path | None, size: tuple[int, int], classes: Sequence[str]) -> Iterator[Write]:
    """A function that takes strips of probabilities and puts them into the file at `path`, if there
    is to be one.
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
