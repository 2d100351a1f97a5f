"""Predict many images: while the network works on one, another is read and a third is written."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

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
from segtf.outputs.truth import Find, read_truth, truth_finder
from segtf.run.folder import write_json
from segtf.scoring import metrics
from segtf.scoring.evaluation import pixel_scores
from segtf.scoring.faults import Faults, find_faults
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import in_threads, note, progress
from voc_builder.pixels.image_rows import LARGE, Rows, count_pixels, open_image
from voc_builder.pixels.overlay import count_ids, draw_overlay, format_fraction
from voc_builder.pixels.png import encode_mask

Json = dict[str, Any]

AT_ONCE = 3  # images
QUEUE, SCORES = "queue.csv", "scores.json"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no other image will fare better


@dataclass(frozen=True)
class Prediction:
    """What became of some images."""

    done: int  # images
    left_out: tuple[Path, ...]  # images that could not be read, or whose results not be written
    untrue: int  # annotations that could not be compared with
    pixels: NDArray[np.int64]  # of each class, over all images; shape (C,)
    seconds: float
    queue: tuple[Queued, ...] = ()  # in the order of the file
    scores: Json | None = None  # of the images with an annotation; None where there is none

    def summary(self, classes: Sequence[str]) -> str:
        """One line: how many, how fast, and the share of each class."""
        shares = self.pixels / max(1, self.pixels.sum())
        named = zip(classes, shares, strict=True)
        areas = ", ".join(f"{label} {format_fraction(float(share))}" for label, share in named)
        speed = self.done / self.seconds
        images = "1 image" if self.done == 1 else f"{self.done} images"
        return f"{images}, {speed:.2g} a second, area: {areas}"


@dataclass(frozen=True)
class _Done:
    """What the files of all images together need of one of them: nothing of the size of a mask, as
    several of them wait for one before them.
    """

    shape: tuple[int, ...]  # of the image, (H, W)
    pixels: NDArray[np.int64]
    queued: Queued
    counts: metrics.Counts | None = None  # by true and predicted class, of an image that is scored
    seen: bool = False  # it has an annotation, but a network was trained on it
    untrue: str = ""  # why its annotation cannot be compared with
    rle: str = ""
    coco: tuple[Json, ...] = ()
    drawn: Drawn | None = None


def draw_image(
    predictor: Predictor, image: Rows, *, truth: NDArray[np.uint8] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Class ids, shape (H, W), and RGB overlay, shape (H, W, 3), of an RGB image, shape (H, W, 3);
    the outlines of the class ids `truth`, shape (H, W), are drawn too if they are given. The
    overlay of an image of more than 64 megapixels is brought down to as many.
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
    whose results cannot be written, is named on stderr and left out. `truth` is a folder of masks
    to compare with, as in `truth_finder`; images that a network was trained on, as its run says,
    are not scored. Raises `UserError` if `out` cannot be written at all.
    """
    check_outputs(wanted, predictor.classes)
    _make_folder(out)
    started = time.perf_counter()
    find = truth_finder(images, truth) if truth or wanted.queue or wanted.gallery else None
    work = _Work(predictor, out, wanted, truth, find)
    left_out, untrue, pixels = [], 0, np.zeros(len(predictor.classes), np.int64)
    named = list(zip(images, image_ids(images), strict=True))
    found = in_threads(work.attempt, named, min(AT_ONCE, len(named)))
    with _explained(out), ExitStack() as files:
        together = _Together(work, images, files)
        files.enter_context(closing(found))
        for (path, image_id), done in progress(
            zip(named, found, strict=True), total=len(images), what="photos"
        ):
            if isinstance(done, UserError):
                note(str(done) if str(path) in str(done) else f"{path}: {done}")
                left_out.append(path)
                continue
            if done.untrue:
                if not untrue:  # the others are mostly of its kind
                    note(f"{done.untrue}: it is not compared with")
                untrue += 1
            together.add(image_id, path, done)
            pixels += done.pixels
        queue, scores = together.write()
    seconds = time.perf_counter() - started
    count = len(images) - len(left_out)
    return Prediction(count, tuple(left_out), untrue, pixels, seconds, tuple(queue), scores)


class _Work:
    """What is done with one image, in a thread of its own."""

    def __init__(
        self,
        predictor: Predictor,
        out: Path,
        wanted: Wanted,
        truth: Path | None,
        find: Find | None,
    ) -> None:
        self.predictor, self.out, self.wanted, self.truth = predictor, out, wanted, truth
        self._find = find  # None: annotations are not wanted
        by = ", ".join(str(model.path) for model in predictor.models)
        self.gallery = Gallery(out, predictor.classes, predictor.colours, subtitle=f"by {by}")
        self._large = threading.Lock()  # for images of which memory holds no two
        paths = [model.path for model in predictor.models]
        self._trained_on = frozenset[str]()
        if truth is not None:
            from segtf.run.provenance import trained_on_by_models

            self._trained_on = trained_on_by_models(paths)

    def attempt(self, named: tuple[Path, str]) -> _Done | UserError:
        """What `do` gives, or why it cannot be."""
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
        save, classes = self.wanted.save, self.predictor.classes
        answer = ask(
            self.predictor,
            image,
            background="cutout" in save,
            threshold=self.wanted.threshold,
            probabilities=self._place("probabilities", image_id)
            if "probabilities" in save
            else None,
        )
        truth, untrue = self._truth(path, answer)
        judged = truth is not None and (self.wanted.queue or self.wanted.gallery)
        view = None
        if judged or self.wanted.gallery or {"overlay", "cutout"} & set(save):
            view = view_of(image, answer, truth)
        self._write(path, image_id, answer, view)
        counts = None if truth is None else metrics.confusion(truth, answer.mask, len(classes))
        seen = counts is not None and self._was_trained_on(path)
        faults = None
        if judged and view is not None and view.truth is not None:
            faults = find_faults(view.truth, view.mask, classes)
        scores = {} if counts is None else image_scores(counts, classes)
        return _Done(
            answer.mask.shape,
            count_ids(answer.mask)[: len(classes)],
            Queued(path, answer.uncertainty, faults),
            None if seen or self.truth is None else counts,
            seen,
            untrue,
            self._rle(answer.mask) if "rle" in save else "",
            tuple(coco_annotations(answer.mask, classes)) if "coco" in save else (),
            self._drawn(image_id, view, answer, faults, scores)
            if view and self.wanted.gallery
            else None,
        )

    def _was_trained_on(self, path: Path) -> bool:
        from segtf.run.provenance import digest_image

        return bool(self._trained_on) and digest_image(path) in self._trained_on

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
            tolerance, shapes = self.wanted.tolerance, self.wanted.shapes
            mask = answer.mask
            encoded = encode_labelme(path, mask, classes, file, tolerance=tolerance, shapes=shapes)
            _write(file, encoded)

    def _truth(self, path: Path, answer: Answer) -> tuple[NDArray[np.uint8] | None, str]:
        """The true class ids of an image, if they are wanted and known, and why they cannot be."""
        height, width = answer.mask.shape
        try:
            found = self._find(path) if self._find else None
            if found is None:
                return None, ""
            return read_truth(found, path, self.predictor.classes, height, width), ""
        except UserError as error:
            return None, " ".join(str(error).split())

    def _rle(self, mask: NDArray[np.uint8]) -> str:
        return encode_rle(foreground(mask, self.predictor.classes, self.wanted.rle_class))

    def _drawn(
        self,
        image_id: str,
        view: View,
        answer: Answer,
        faults: Faults | None,
        scores: dict[str, float | None],
    ) -> Drawn:
        return self.gallery.draw(
            image_id,
            view.image,
            view.mask,
            truth=view.truth,
            faults=faults,
            scores=scores,
            uncertainty=answer.uncertainty,
        )


class _Together:
    """The files of all images together, in the order of the images. Those that grow with the images
    are written as they come, and are in place when `files` are closed.
    """

    def __init__(self, work: _Work, images: Sequence[Path], files: ExitStack) -> None:
        self.work, self.wanted, self.out = work, work.wanted, work.out
        texts = {
            name: files.enter_context(_text_in_place_of(work.out / path))
            for name, path in TOGETHER.items()
            if name in work.wanted.save
        }
        self._rle = RleWriter(texts["rle"]) if "rle" in texts else None
        self._coco = CocoWriter(texts["coco"], work.predictor.classes) if "coco" in texts else None
        self._queue: list[Queued] = []
        self._counts: list[tuple[str, metrics.Counts]] = []
        self._seen = 0  # images with an annotation that a network was trained on
        self._untrue = 0  # images whose annotation cannot be compared with, which is told of each
        self._root = shared_folder(images)

    def add(self, image_id: str, path: Path, done: _Done) -> None:
        """Takes in the next image."""
        self._queue.append(done.queued)
        self._seen += done.seen
        self._untrue += bool(done.untrue)
        if done.counts is not None:
            self._counts.append((image_id, done.counts))
        if self._rle is not None:
            self._rle.add(image_id, done.rle)
        if self._coco is not None:
            name = os.path.relpath(path.absolute(), self._root) if self._root else str(path)
            self._coco.add(Path(name).as_posix(), done.shape, done.coco)
        if done.drawn is not None:
            self.work.gallery.append(done.drawn)

    def write(self) -> tuple[list[Queued], Json | None]:
        """Writes what stands at the end of the files that are wanted; returns the queue, if it is,
        and the scores, if there is a folder of masks.
        """
        if self._coco is not None:
            self._coco.end()
        if self.wanted.gallery:
            self.work.gallery.write()
        queue = sort_queue(self._queue) if self.wanted.queue else []
        if self.wanted.queue:
            _write(self.out / QUEUE, encode_queue(queue))
        return queue, self._scores()

    def _scores(self) -> Json | None:
        """Writes and returns the scores of the images that no network was trained on."""
        if self.work.truth is None:
            return None
        if self._seen:
            note(f"not scored: {self._seen} annotated images that the network was trained on")
        elif not self._counts and not self._untrue:
            note(f"nothing is scored: no image has a mask in {self.work.truth}")
        if not self._counts:
            (self.out / SCORES).unlink(missing_ok=True)  # that of another time
            return None
        values = pixel_scores(self._counts, self.work.predictor.classes)
        write_json({**values, "left_out_as_trained_on": self._seen}, self.out / SCORES)
        return values


def _make_folder(out: Path) -> None:
    with _explained(out):
        out.mkdir(parents=True, exist_ok=True)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    """Says of an `OSError` which file could not be written, as `UserError`."""
    try:
        yield
    except OSError as error:
        place = error.filename or out
        raise UserError(f"{place}: cannot be written: {error.strerror}") from None


@contextmanager
def _text_in_place_of(path: Path) -> Iterator[TextIO]:
    """A text file, UTF-8, that takes the place of `path` when the block ends."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        yield file


def _write(path: Path, encoded: bytes) -> None:
    with replacing(path) as beside:
        beside.write_bytes(encoded)


def write_file(path: Path, encoded: bytes) -> None:
    """Raises `UserError` if the place cannot be written."""
    with _explained(path):
        _write(path, encoded)
