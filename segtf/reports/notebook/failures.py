"""Show the images on which a run does worst, and say what is wrong with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from segtf.inference.onnx_model import MODEL_FILE
from segtf.inference.predictor import open_predictor
from segtf.reports.markdown import plain
from segtf.reports.notebook.data import load_image, load_mask
from segtf.reports.notebook.show import sheet, view
from segtf.reports.runs import Run
from segtf.run.folder import SHOWN
from segtf.scoring import metrics
from segtf.scoring.faults import Faults, faults_of, image_scores
from segtf.scoring.format import percent
from segtf.scoring.objects import object_classes
from segtf.scoring.split_scores import ImageScores, read_shown_scores
from voc_builder.pixels.image_rows import open_image
from voc_builder.tree.voc import Dataset

if TYPE_CHECKING:
    from IPython.display import Image, Markdown


@dataclass(frozen=True)
class Failure:
    """An image and the network's prediction."""

    image_id: str
    faults: Faults
    image: NDArray[np.uint8]  # (H, W, 3)
    truth: NDArray[np.uint8]  # (H, W)
    prediction: NDArray[np.uint8]  # (H, W)


def scored_split(run: Run) -> str:
    """The split whose scores are least biased: test, else val."""
    return "test" if "test" in run.scores else "val"


def worst_images(run: Run, dataset: Dataset, *, count: int = 4) -> list[Failure]:
    """The images with the most faults, the worst first, none without a fault; none at all for a run
    that was not exported.
    """
    if not (run.path / MODEL_FILE).is_file():
        return []
    rows = [row for row in _rows(run) if faults_of(row)]
    predictor = open_predictor([run.path])
    failures = []
    for row in sorted(rows, key=lambda row: (faults_of(row).rank, row.id))[:count]:
        truth = load_mask(dataset, row.id)
        with open_image(dataset.image(row.id)) as image:
            mask = predictor.mask(image)
        faults = faults_of(image_scores(row.id, truth, mask, dataset.classes))
        failures.append(Failure(row.id, faults, load_image(dataset, row.id), truth, mask))
    return sorted((one for one in failures if one.faults), key=lambda one: one.faults.rank)


def _rows(run: Run) -> tuple[ImageScores, ...]:
    """Scores of each image: of the masks in the overlays, else those of `metrics_SPLIT.json`."""
    split, shown = scored_split(run), read_shown_scores(run.path / SHOWN)
    return shown.rows if shown and shown.split == split else run.scores[split].rows


def sheet_of(failures: Sequence[Failure], classes: Sequence[str]) -> Image | None:
    """A row for each image: itself, its annotation, the prediction."""
    rows = [
        [
            (f"{number}. {one.image_id}: {one.faults}", view(one.image, None, classes)),
            ("annotation", view(one.image, one.truth, classes)),
            ("prediction", view(one.image, one.prediction, classes)),
        ]
        for number, one in enumerate(failures, start=1)
    ]
    return sheet(rows) if rows else None


def sentences(failures: Sequence[Failure], classes: Sequence[str]) -> Markdown:
    """A numbered list that says of each image which class was missed and which over-marked."""
    from IPython.display import Markdown

    lines = [f"1. {sentence(one, classes)}" for one in failures]
    return Markdown("\n".join(lines) or "No image has a fault, or the run was not exported.")


def sentence(failure: Failure, classes: Sequence[str]) -> str:
    """What is wrong with one prediction, in Markdown."""
    counts = metrics.confusion(failure.truth, failure.prediction, len(classes))
    parts = [f"{plain(failure.image_id)}: {failure.faults}."]
    parts += filter(None, (missed(counts, classes), over_marked(counts, classes)))
    return " ".join(parts)


def missed(counts: metrics.Counts, classes: Sequence[str]) -> str:
    """The class that lost most pixels by a confusion matrix (C, C), and to which other."""
    worst, lost, other = _largest(counts, classes)
    if not lost:
        return ""
    share = percent(lost / counts[worst].sum())
    return f"Missed: **{plain(classes[worst])}**, {share} of its pixels, mostly as {other}."


def over_marked(counts: metrics.Counts, classes: Sequence[str]) -> str:
    """The class that was predicted most where it is not, and on which other."""
    worst, added, other = _largest(counts.T, classes)
    if not added:
        return ""
    return f"Over-marked: **{plain(classes[worst])}**, {added:,} pixels, mostly on {other}."


def _largest(counts: metrics.Counts, classes: Sequence[str]) -> tuple[int, int, str]:
    """The object class with the most pixels off the diagonal in its row, their number, and the
    class of most of them.
    """
    wrong = counts - np.diag(np.diag(counts))
    worst = max(object_classes(classes), key=lambda i: int(wrong[i].sum()))
    return worst, int(wrong[worst].sum()), plain(classes[int(wrong[worst].argmax())])
