"""Gather what the outputs of a photo are made of while the network answers strip by strip."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtf.photo_rows import Rows
from segtf.predictor import Predictor, best_of
from voc_builder.classes import has_background
from voc_builder.files import replacing

# steps of 1: what a probability is rounded to in a file. Half a step is less than float16 loses
# near 1, and digits that mean nothing would not compress
STEPS = 1024
SURE = 0.001  # share of a photo that counts as objects at least, so that a blank one is no doubt
Write = Callable[[NDArray[np.float32]], None]


@dataclass(frozen=True)
class Answer:
    """What a predictor says of one photo."""

    mask: NDArray[np.uint8]  # class ids, (H, W)
    background: NDArray[np.float32] | None  # its probability, (H, W), if it was asked for
    uncertainty: float  # 0 to 1, see `ask`


def ask(
    predictor: Predictor,
    photo: Rows,
    *,
    background: bool = False,
    probabilities: Path | None = None,
) -> Answer:
    """What `predictor` says of an RGB photo, shape (H, W, 3), and with `background` how probable
    that is. The probabilities of all classes go to the npz file `probabilities`, as they come, so
    that a photo of any size has room. Raises `UserError`, and `OSError` if that cannot be written.

    `uncertainty` is the share of wrong pixels to be expected, if probabilities mean what they say,
    among those that are to be expected to show something else than the background: of a photo with
    one small defect the sky around it, however sure, says nothing.
    """
    height, width = photo.shape[:2]
    mask = np.empty((height, width), np.uint8)
    plane = np.empty((height, width), np.float32) if background else None
    apart = has_background(predictor.classes)
    wrong, objects = 0.0, 0.0  # pixels to be expected
    with _writing(probabilities, (height, width), predictor.classes) as write:
        for top, strip in predictor.strips(photo):
            rows = np.s_[top : top + len(strip)]
            mask[rows], best = best_of(strip)
            wrong += best.size - float(best.sum(dtype=np.float64))
            objects += best.size - (float(strip[..., 0].sum(dtype=np.float64)) if apart else 0.0)
            if plane is not None:
                plane[rows] = strip[..., 0]
            write(strip)
    return Answer(mask, plane, wrong / max(objects, wrong, SURE * mask.size))


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
