"""Predict photos with an ONNX file: a mask and an overlay for each, without TensorFlow."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtf.photo_rows import Rows, open_photo, shrunk
from segtf.photos import find_photos, photo_ids
from segtf.predictor import Ensemble, Mode, Predictor, Tta, open_predictor
from voc_builder.command import run
from voc_builder.errors import UserError
from voc_builder.files import replacing
from voc_builder.images import encode_jpeg, resize_mask
from voc_builder.overlay import count_ids, draw_overlay, format_share
from voc_builder.png import encode_mask
from voc_builder.progress import note, progress

OVERLAY_PIXELS = 64_000_000  # at most: it is to be looked at
OUTPUTS = {"mask": "masks/{}.png", "overlay": "overlays/{}.jpg"}  # where each goes under --out


@dataclass(frozen=True)
class PredictConfig:
    """Predicts photos with an ONNX file and writes DIR/masks/ID.png and DIR/overlays/ID.jpg at
    their full size. Exit code 1: some photos could not be read and were left out.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder that holds model.onnx; several with commas
    answer together."""
    images: tuple[Path, ...]
    """Photos, folders (searched with their subfolders) or quoted glob patterns."""
    out: Path = Path("predictions")
    """Folder for the results; files of the same names are replaced."""
    save: str = "mask,overlay"
    """What to write, separated by commas: mask, overlay."""
    mode: Mode = "auto"
    """Squeeze photos to the training size, or cut tiles of that size out of them as they are; auto:
    what training did."""
    overlap: float = 0.25
    """What neighbouring tiles share at least, as a part of their side."""
    tta: Tta = "none"
    """Also ask about the photo mirrored (flips), or mirrored and turned (d4), and take the mean."""
    ensemble: Ensemble = "mean"
    """How several answer together: mean of the probabilities, vote, or per-class for networks that
    each know other classes beside the background."""
    threads: int = 0
    """CPU threads for the network, 0 for as many as onnxruntime likes."""


@dataclass(frozen=True)
class Prediction:
    """What became of some photos."""

    done: int  # photos
    left_out: tuple[Path, ...]  # photos that could not be read
    pixels: NDArray[np.int64]  # of each class, over all photos; shape (C,)
    seconds: float

    def summary(self, classes: Sequence[str]) -> str:
        """One line: how many, how fast, and the share of each class."""
        shares = self.pixels / max(1, self.pixels.sum())
        named = zip(classes, shares, strict=True)
        areas = ", ".join(f"{label} {format_share(float(share))}" for label, share in named)
        speed = self.done / self.seconds
        photos = "1 photo" if self.done == 1 else f"{self.done} photos"
        return f"{photos}, {speed:.2g} a second, area: {areas}"


def draw_photo(
    predictor: Predictor, photo: Rows, *, truth: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class ids, shape (H, W), and RGB overlay, shape (H, W, 3), of an RGB photo, shape (H, W, 3);
    the outlines of the class ids `truth`, shape (H, W), are drawn too if they are given. The
    overlay of a photo of more than 64 megapixels is brought down to as many.
    """
    mask = predictor.mask(photo)
    side = math.sqrt(min(OVERLAY_PIXELS / mask.size, 1.0))
    height, width = (max(round(length * side), 1) for length in mask.shape)
    overlay = draw_overlay(
        shrunk(photo, height, width) if side < 1 else photo[:],
        resize_mask(mask, height, width),
        predictor.classes,
        predictor.colours,
        truth=None if truth is None else resize_mask(truth, height, width),
    )
    return mask, overlay


def predict_photos(
    predictor: Predictor,
    photos: Sequence[Path],
    out: Path,
    *,
    save: Sequence[str] = tuple(OUTPUTS),
) -> Prediction:
    """Writes what `save` names, keys of `OUTPUTS`, of every photo into the folder `out`. A photo
    that cannot be read is named on stderr and left out. Raises `UserError` if `out` cannot be
    written.
    """
    started = time.perf_counter()
    left_out = []
    pixels = np.zeros(len(predictor.classes), np.int64)
    named = zip(photos, photo_ids(photos), strict=True)
    for path, photo_id in progress(named, total=len(photos), what="photos"):
        try:
            with open_photo(path) as photo:
                mask, encoded = _encoded(predictor, photo, save)
        except UserError as error:
            note(str(error) if str(path) in str(error) else f"{path}: {error}")
            left_out.append(path)
            continue
        for name, content in encoded.items():
            write_file(out / OUTPUTS[name].format(photo_id), content)
        pixels += count_ids(mask)[: len(pixels)]
    done = len(photos) - len(left_out)
    return Prediction(done, tuple(left_out), pixels, time.perf_counter() - started)


def _encoded(
    predictor: Predictor, photo: Rows, save: Sequence[str]
) -> tuple[NDArray[np.uint8], dict[str, bytes]]:
    """Class ids of a photo, and the files that `save` names."""
    if "overlay" in save:
        mask, overlay = draw_photo(predictor, photo)
        encoded = {"overlay": encode_jpeg(overlay)}
    else:
        mask, encoded = predictor.mask(photo), {}
    if "mask" in save:
        encoded["mask"] = encode_mask(mask)
    return mask, encoded


def write_file(path: Path, encoded: bytes) -> None:
    """Raises `UserError` if the place cannot be written."""
    try:
        with replacing(path) as beside:
            beside.write_bytes(encoded)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def outputs_of(save: str) -> list[str]:
    """The outputs that a list such as `mask,overlay` names. Raises `UserError` for others."""
    wanted = [name.strip() for name in save.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in OUTPUTS]
    if unknown or not wanted:
        raise UserError(f"--save takes a list of {', '.join(OUTPUTS)}. Received: {save}")
    return wanted


def _models(named: Path) -> list[Path]:
    """The models that a command line names; a file may have a comma in its name."""
    return [named] if named.exists() else [Path(part) for part in str(named).split(",") if part]


def predict(config: PredictConfig) -> int:
    """Predicts the photos that `config` names; 1 if some were left out."""
    save = outputs_of(config.save)
    if config.threads < 0:
        raise UserError(f"--threads takes 0 or more. Received: {config.threads}")
    written = [(config.out / pattern).parent for pattern in OUTPUTS.values()]
    photos = find_photos(config.images, leave_out=written)
    predictor = open_predictor(
        _models(config.model),
        mode=config.mode,
        overlap=config.overlap,
        tta=config.tta,
        ensemble=config.ensemble,
        threads=config.threads,
    )
    result = predict_photos(predictor, photos, config.out, save=save)
    folders = ", ".join(str((config.out / OUTPUTS[name]).parent) for name in save)
    print(f"{folders}: {result.summary(predictor.classes)}")
    if result.left_out:
        names = ", ".join(map(str, result.left_out))
        print(f"left out {len(result.left_out)} of {len(photos)}: {names}", file=sys.stderr)
    return 1 if result.left_out else 0


def main() -> int:
    return run(predict, PredictConfig, "python -m segtf.predict")


if __name__ == "__main__":
    sys.exit(main())
