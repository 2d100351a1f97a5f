"""Show the images that a run does worst on, and say of each what is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segtf.inference.onnx_model import MODEL_FILE
from segtf.inference.predictor import open_predictor
from segtf.reports.markdown import plain
from segtf.reports.notebook.data import load_image, load_mask
from segtf.reports.notebook.show import Picture, Text, sheet, view
from segtf.reports.runs import Run
from segtf.run.folder import SHOWN
from segtf.scoring import metrics
from segtf.scoring.faults import Faults, faults_of, image_scores
from segtf.scoring.format import percent
from segtf.scoring.objects import object_classes
from segtf.scoring.split_scores import ImageScores, ObjectCounts, read_shown_scores
from voc_builder.pixels.image_rows import open_image
from voc_builder.tree.voc import Dataset


@dataclass(frozen=True)
class Failure:
    """An image and what the network made of it."""

    image_id: str
    row: ImageScores  # its scores, those of the prediction where there is one
    image: NDArray[np.uint8]  # (H, W, 3)
    truth: NDArray[np.uint8]  # (H, W)
    prediction: NDArray[np.uint8] | None  # (H, W); None without an exported network

    @property
    def faults(self) -> Faults:
        """What is wrong with the answer."""
        return faults_of(self.row)


def worst_images(run: Run, dataset: Dataset, *, count: int = 4) -> list[Failure]:
    """The images with the most faults of the test split, or of val where there is no test, the
    worst first, as the exported network answers them at their full size; none without any fault.
    """
    # rows of an earlier version tell no wrong pixels, but a mean IoU
    found = [row for row in _rows(run) if faults_of(row) or _old_and_wrong(row)]
    found.sort(key=lambda row: (faults_of(row).rank, row.miou or 0.0, row.id))
    rows = found[:count]
    masks = _predictions(run.path, dataset, [row.id for row in rows])
    failures = []
    for row, mask in zip(rows, masks, strict=True):
        image_id, truth = row.id, load_mask(dataset, row.id)
        of_mask = row if mask is None else image_scores(image_id, truth, mask, dataset.classes)
        failures.append(Failure(image_id, of_mask, load_image(dataset, image_id), truth, mask))
    wrong = [one for one in failures if one.faults or one.prediction is None]
    return sorted(wrong, key=lambda one: one.faults.rank)


def _old_and_wrong(row: ImageScores) -> bool:
    return row.wrong is None and row.miou is not None and row.miou < 1


def _rows(run: Run) -> tuple[ImageScores, ...]:
    """The scores of the images of `scored_split`: of the masks that the overlays show, or, where a
    run of an earlier version or without an export has none, from `metrics_SPLIT.json`.
    """
    split, shown = scored_split(run), read_shown_scores(run.path / SHOWN)
    return shown.rows if shown and shown.split == split else run.scores[split].rows


def scored_split(run: Run) -> str:
    """The split that says most about images of another day: test, else val."""
    return "test" if "test" in run.scores else "val"


def _predictions(
    run: Path, dataset: Dataset, ids: Sequence[str]
) -> list[NDArray[np.uint8]] | list[None]:
    if not (run / MODEL_FILE).is_file():
        return [None] * len(ids)
    predictor = open_predictor([run])
    masks = []
    for image_id in ids:
        with open_image(dataset.image(image_id)) as image:
            masks.append(predictor.mask(image))
    return masks


def failure_picture(failures: Sequence[Failure], classes: Sequence[str]) -> Picture | Text:
    """A row for each: the image, its annotation, and the prediction if there is one."""
    if not failures:
        return Text("No image has a fault.")
    rows = []
    for number, one in enumerate(failures, start=1):
        title = f"{number}. {one.image_id}: {one.faults}"
        row = [(title, view(one.image, None, classes))]
        row.append(("annotation", view(one.image, one.truth, classes)))
        if one.prediction is not None:
            row.append(("prediction", view(one.image, one.prediction, classes)))
        rows.append(row)
    return sheet(rows, classes)


def failure_sentences(failures: Sequence[Failure], classes: Sequence[str]) -> Text:
    """A numbered list that says of each image which class was missed and which over-marked."""
    return Text("\n".join(f"1. {sentence(one, classes)}" for one in failures))


def sentence(failure: Failure, classes: Sequence[str]) -> str:
    """What is wrong with the answer to one image, in Markdown: of its pixels where there is a
    prediction, of its objects where they are counted.
    """
    parts = []
    if failure.prediction is not None:
        counts = metrics.confusion(failure.truth, failure.prediction, len(classes))
        parts += [missed(counts, classes), over_marked(counts, classes)]
    parts.append(_objects(failure.row.objects or {}))
    head = f"{plain(failure.image_id)}: {failure.faults}."
    return " ".join([head, *(part for part in parts if part)])


def missed(counts: metrics.Counts, classes: Sequence[str]) -> str:
    """The class that lost most pixels by a confusion matrix (C, C), and to what; nothing if none
    did.
    """
    wrong = counts - np.diag(np.diag(counts))
    ids = object_classes(classes)
    lost = wrong.sum(axis=1)
    worst = max(ids, key=lambda i: int(lost[i]))
    if not lost[worst]:
        return ""
    taken = int(wrong[worst].argmax())
    true, to = counts[worst].sum(), wrong[worst, taken] / lost[worst]
    return (
        f"Missed: **{plain(classes[worst])}**, {percent(lost[worst] / true)} of its {true:,} "
        f"pixels, {_part(to)} taken for {plain(classes[taken])}."
    )


def over_marked(counts: metrics.Counts, classes: Sequence[str]) -> str:
    """The class that was marked most where it is not, and on what; nothing if none was."""
    wrong = counts - np.diag(np.diag(counts))
    invented = wrong.sum(axis=0)
    worst = max(object_classes(classes), key=lambda i: int(invented[i]))
    if not invented[worst]:
        return ""
    true = int(counts[worst].sum())
    on = int(wrong[:, worst].argmax())
    beside = f"beside its {true:,} true ones" if true else "though the image shows none"
    return (
        f"Over-marked: **{plain(classes[worst])}**, {invented[worst]:,} pixels {beside}, "
        f"{_part(wrong[on, worst] / invented[worst])} on {plain(classes[on])}."
    )


def _part(share: float) -> str:
    return "all" if share == 1 else f"{percent(share)} of them"


def _objects(objects: Mapping[str, ObjectCounts]) -> str:
    """Objects missed and false alarms, of the classes that have any."""
    said = []
    for name, counts in objects.items():
        lost, false = counts.false_negatives, counts.false_positives
        if lost:
            said.append(f"{lost} of {counts.true} objects of {plain(name)} missed")
        if false:
            said.append(f"{false} false alarm{'s' * (false > 1)} of {plain(name)}")
    return f"{', '.join(said)}." if said else ""
