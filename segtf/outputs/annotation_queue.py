"""Rank images to annotate by uncertainty, and annotations to check by disagreement."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segtf.scoring.faults import Faults

COLUMNS = ("task", "photo", "uncertainty", "missed", "false_alarms", "wrong")
Task = Literal["annotate", "check"]


@dataclass(frozen=True)
class Queued:
    """An image to annotate, or whose annotation to check."""

    image: Path
    uncertainty: float  # 0 to 1, as in `segtf.inference.prediction`
    faults: Faults | None = None  # against the annotation, if there is one

    @property
    def task(self) -> Task:
        """The value of the first column."""
        return "annotate" if self.faults is None else "check"


def sort_queue(images: Iterable[Queued]) -> list[Queued]:
    """Images to annotate, the most uncertain first, then annotations to check, those with the most
    faults of the prediction first: either the annotation is wrong or the network is.
    """
    return sorted(
        images,
        key=lambda one: (() if one.faults is None else (1, *one.faults.rank), -one.uncertainty),
    )


def encode_queue(images: Iterable[Queued]) -> bytes:
    """`queue.csv`: a line of `COLUMNS`, then the images in their order, in UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in images:
        of = one.faults
        faults = ("", "", "") if of is None else (of.missed, of.false, f"{of.wrong:.6f}")
        writer.writerow((one.task, one.image, f"{one.uncertainty:.4f}", *faults))
    return text.getvalue().encode("utf-8", "surrogateescape")


def describe_queue(images: list[Queued]) -> str:
    """One line: the number of each task, and its first image."""
    parts = []
    for task, what in (("annotate", "to annotate"), ("check", "with annotations to check")):
        of_task = [one for one in images if one.task == task]
        if of_task:
            first = of_task[0]
            value = (
                f"uncertainty {first.uncertainty:.2f}"
                if first.faults is None
                else str(first.faults)
            )
            parts.append(f"{len(of_task)} {what}, first {first.image} ({value})")
    return "; ".join(parts)
