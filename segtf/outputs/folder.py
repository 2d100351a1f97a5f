"""Predict many images: while the network works on one, others are read and written."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from segtf.inference.find_images import image_ids, shared_folder
from segtf.inference.prediction import Answer, ask
from segtf.inference.predictor import Predictor
from segtf.outputs.annotation_queue import Queued, encode_queue, sort_queue
from segtf.outputs.coco import CocoWriter, coco_annotations
from segtf.outputs.files import (
    EACH,
    TOGETHER,
    View,
    Wanted,
    check_outputs,
    encode_labelme,
    encode_overlay,
    view_of,
)
from segtf.outputs.gallery import Drawn, Gallery, image_scores
from segtf.outputs.matting import encode_cutout
from segtf.outputs.rle import RleWriter, encode_rle, foreground
from segtf.scoring import metrics
from segtf.scoring.faults import find_faults
from segtf.scoring.split_scores import PixelScores
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import in_threads, note, progress
from voc_builder.pixels.image_rows import LARGE, Rows, count_pixels, open_image
from voc_builder.pixels.overlay import count_ids, draw_overlay, format_fraction
from voc_builder.pixels.png import encode_mask

if TYPE_CHECKING:
    from segtf.outputs.truth import Truths

AT_ONCE = 3  # images
QUEUE, SCORES = "queue.csv", "scores.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other image can be written either


@dataclass(frozen=True)
class Prediction:
    """The outcome for some images."""

    done: int  # images
    left_out: tuple[Path, ...]  # images that cannot be read, or whose results cannot be written
    unusable: int  # annotations that cannot be compared with
    pixels: NDArray[np.int64]  # of each class, over all images; shape (C,)
    seconds: float
    queue: tuple[Queued, ...] = ()  # in the order of the file
    scores: PixelScores | None = None  # of the annotated images; None without any

    def summary(self, classes: Sequence[str]) -> str:
        """One line: how many images, how fast, and the fraction of the area of each class."""
        fractions = self.pixels / max(1, self.pixels.sum())
        named = zip(classes, fractions.tolist(), strict=True)
        areas = ", ".join(f"{label} {format_fraction(fraction)}" for label, fraction in named)
        images = "1 image" if self.done == 1 else f"{self.done} images"
        return f"{images}, {self.done / self.seconds:.2g} a second, area: {areas}"


@dataclass(frozen=True)
class _Done:
    """What the files of all images together need of one: nothing as large as a mask, since several
    wait for one before them.
    """

    shape: tuple[int, ...]  # of the image, (H, W)
    pixels: NDArray[np.int64]
    queued: Queued
    counts: metrics.Counts | None  # by true and predicted class, if there is an annotation
    trained_on: bool  # annotated, but a network was trained on it
    problem: str  # why its annotation cannot be compared with
    rle: str
    coco: tuple[dict[str, Any], ...]
    drawn: Drawn | None


def draw_image(
    predictor: Predictor, image: Rows, *, truth: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class ids, shape (H, W), and RGB overlay, shape (H, W, 3), of an RGB image, shape (H, W, 3),
    with the outlines of the class ids `truth`, shape (H, W), if given. The overlay of an image of
    more than 64 megapixels is resized to that many.
    """
    answer = ask(predictor, image)
    view = view_of(image, answer, truth)
    overlay = draw_overlay(
        view.image, view.mask, predictor.classes, predictor.colours, truth=view.truth
    )
    return answer.mask, overlay


def predict_images(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path,
    wanted: Wanted = Wanted(),  # noqa: B008  frozen
    *,
    truth: Path | None = None,
) -> Prediction:
    """Writes what is `wanted` of every image into the folder `out`. An image that cannot be read or
    whose results cannot be written is named on stderr and left out. With `truth`, a folder of
    masks, predictions are scored too, see `segtf.outputs.truth`. Raises `UserError` if `out` cannot
    be written at all.
    """
    check_outputs(wanted, predictor.classes)
    with _explained(out):
        out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    truths = None
    if truth or wanted.queue or wanted.gallery:
        from segtf.outputs.truth import Truths

        truths = Truths(images, truth, predictor)
    work = _Work(predictor, out, wanted, truths)
    left_out, unusable, pixels = [], 0, np.zeros(len(predictor.classes), np.int64)
    named = list(zip(images, image_ids(images), strict=True))
    found = in_threads(work.attempt, named, min(AT_ONCE, len(named)))
    with _explained(out), ExitStack() as files:
        together = _Together(work, images, files)
        files.enter_context(closing(found))
        for (path, image_id), done in progress(
            zip(named, found, strict=True), total=len(images), what="images"
        ):
            if isinstance(done, UserError):
                note(str(done) if str(path) in str(done) else f"{path}: {done}")
                left_out.append(path)
                continue
            if done.problem:
                if not unusable:  # the others are mostly of the same kind
                    note(f"{done.problem}: it is not compared with")
                unusable += 1
            together.add(image_id, path, done)
            pixels += done.pixels
        queue = together.write()
        scores = truths.write_scores(out / SCORES) if truths and truth else None
    seconds = time.perf_counter() - started
    count = len(images) - len(left_out)
    return Prediction(count, tuple(left_out), unusable, pixels, seconds, tuple(queue), scores)


class _Work:
    """What is done with one image, in a thread of its own."""

    def __init__(
        self, predictor: Predictor, out: Path, wanted: Wanted, truths: Truths | None
    ) -> None:
        self.predictor, self.out, self.wanted, self.truths = predictor, out, wanted, truths
        by = ", ".join(str(model.path) for model in predictor.models)
        self.gallery = Gallery(out, predictor.classes, predictor.colours, subtitle=f"by {by}")
        self._large = threading.Lock()  # memory may not hold two large images

    def attempt(self, named: tuple[Path, str]) -> _Done | UserError:
        """The result of `do`, or why there is none."""
        path, image_id = named
        large = count_pixels(path) > LARGE
        try:
            with self._large if large else nullcontext(), open_image(path) as image:
                return self.do(path, image_id, image)
        except UserError as error:
            return error
        except OSError as error:
            if error.errno in FULL:
                raise
            return UserError(f"{error.filename or path}: cannot be written: {error.strerror}")

    def do(self, path: Path, image_id: str, image: Rows) -> _Done:
        """Predicts an image and writes its files."""
        wanted, save, classes = self.wanted, self.wanted.save, self.predictor.classes
        probabilities = self._place("probabilities", image_id)
        answer = ask(
            self.predictor,
            image,
            background="cutout" in save,
            threshold=wanted.threshold,
            probabilities=probabilities if "probabilities" in save else None,
        )
        mask = answer.mask
        truth, problem = self.truths.read(path, mask.shape) if self.truths else (None, "")
        counts = None if truth is None else metrics.confusion(truth, mask, len(classes))
        compared = truth is not None and (wanted.queue or wanted.gallery)
        view = None
        if compared or wanted.gallery or {"overlay", "cutout"} & set(save):
            view = view_of(image, answer, truth)
        self._write(path, image_id, answer, view)
        faults = drawn = None
        if compared and view and view.truth is not None:
            faults = find_faults(view.truth, view.mask, classes)
        if wanted.gallery and view:
            drawn = self.gallery.draw(
                image_id,
                view.image,
                view.mask,
                truth=view.truth,
                faults=faults,
                scores={} if counts is None else image_scores(counts, classes),
                uncertainty=answer.uncertainty,
            )
        return _Done(
            shape=mask.shape,
            pixels=count_ids(mask)[: len(classes)],
            queued=Queued(path, answer.uncertainty, faults),
            counts=counts,
            trained_on=truth is not None and bool(self.truths and self.truths.trained_on(path)),
            problem=problem,
            rle=encode_rle(foreground(mask, classes, wanted.rle_class)) if "rle" in save else "",
            coco=tuple(coco_annotations(mask, classes)) if "coco" in save else (),
            drawn=drawn,
        )

    def _place(self, name: str, image_id: str) -> Path:
        return self.out / EACH[name].format(image_id)

    def _write(self, path: Path, image_id: str, answer: Answer, view: View | None) -> None:
        """Writes one file after the other, so that no two of them are in memory."""
        save, classes = self.wanted.save, self.predictor.classes
        if "mask" in save:
            _write(self._place("mask", image_id), encode_mask(answer.mask))
        if "overlay" in save and view:
            encoded = encode_overlay(view, classes, self.predictor.colours)
            _write(self._place("overlay", image_id), encoded)
        if view and view.background is not None:
            encoded = encode_cutout(view.image, view.background)
            _write(self._place("cutout", image_id), encoded)
        if "labelme" in save:
            file = self._place("labelme", image_id)
            _write(file, encode_labelme(path, answer.mask, classes, file, self.wanted))


class _Together:
    """The files of all images together, in the order of the images. Those that grow with the images
    are written as they come, and are in place when `files` are closed.
    """

    def __init__(self, work: _Work, images: Sequence[Path], files: ExitStack) -> None:
        self.work, self.wanted, self.out = work, work.wanted, work.out
        texts = {
            name: files.enter_context(_replacing_text(work.out / path))
            for name, path in TOGETHER.items()
            if name in work.wanted.save
        }
        self._rle = RleWriter(texts["rle"]) if "rle" in texts else None
        self._coco = CocoWriter(texts["coco"], work.predictor.classes) if "coco" in texts else None
        self._queue: list[Queued] = []
        self._root = shared_folder(images)

    def add(self, image_id: str, path: Path, done: _Done) -> None:
        """Takes in the next image."""
        self._queue.append(done.queued)
        if self.work.truths is not None:
            self.work.truths.add(image_id, done.counts, done.trained_on, bool(done.problem))
        if self._rle is not None:
            self._rle.add(image_id, done.rle)
        if self._coco is not None:
            name = os.path.relpath(path.absolute(), self._root) if self._root else str(path)
            self._coco.add(Path(name).as_posix(), done.shape, done.coco)
        if done.drawn is not None:
            self.work.gallery.append(done.drawn)

    def write(self) -> list[Queued]:
        """Writes the end of the files that are wanted; returns the queue, if it is."""
        if self._coco is not None:
            self._coco.end()
        if self.wanted.gallery:
            self.work.gallery.write()
        queue = sort_queue(self._queue) if self.wanted.queue else []
        if self.wanted.queue:
            _write(self.out / QUEUE, encode_queue(queue))
        return queue


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Turns an `OSError` into a `UserError` that names the file."""
    try:
        yield
    except OSError as error:
        place = error.filename or out
        raise UserError(f"{place}: cannot be written: {error.strerror}") from None


@contextmanager
def _replacing_text(path: Path) -> Iterator[TextIO]:
    """A text file, UTF-8, that replaces `path` when the block ends."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        yield file


def _write(path: Path, encoded: bytes) -> None:
    with replacing(path) as beside:
        beside.write_bytes(encoded)


def write_file(path: Path, encoded: bytes) -> None:
    """Writes a file, and its folder. Raises `UserError` if it cannot be written."""
    with _explained(path):
        _write(path, encoded)
