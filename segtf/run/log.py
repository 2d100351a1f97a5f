"""Read the log.csv of `keras.callbacks.CSVLogger`, one row per epoch."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from segtf.run.folder import DATA
from voc_builder.base.errors import UserError

REQUIRED = ("epoch", "loss", "val_loss", "miou", "val_miou", "learning_rate")
Log = dict[str, NDArray[np.float64]]  # a column by its name, shape (epochs,)


@contextmanager
def open_log(path: Path) -> Iterator[TextIO]:
    """Opens a log.csv. Raises `UserError` if it is not UTF-8."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            yield file
    except UnicodeDecodeError as error:  # older versions wrote it in the encoding of the locale
        raise UserError(f"{path}: not UTF-8 ({error.reason}): convert it, as iconv does") from None


def read_log(path: Path) -> Log:
    """The columns of a log.csv; a missing value is NaN. Raises `UserError` for a file that does not
    exist, has no epoch yet, lacks a column or has values that are no numbers.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: name a run folder with a log.csv, or a log.csv")
    with open_log(path) as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise UserError(f"{path}: no epoch is logged yet: wait for the first one to end")
    missing = [name for name in REQUIRED if name not in rows[0]]
    if missing:
        raise UserError(f"{path}: lacks the columns {', '.join(missing)}: not a log of a training")
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in rows[0]}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: not a table of numbers: {error}") from None


def logged_classes(path: Path, log: Log) -> list[str]:
    """The classes whose IoU is in a log.csv, in the order of the data.json beside it: `CSVLogger`
    sorts its columns by name. A log without data.json keeps its own order.
    """
    logged = [name.removeprefix("val_iou_") for name in log if name.startswith("val_iou_")]
    about = path.with_name(DATA)
    if not about.is_file():
        return logged
    order = json.loads(about.read_text(encoding="utf-8"))["classes"]
    return sorted(logged, key=lambda name: order.index(name) if name in order else len(order))


def best_epoch(log: Log) -> int | None:
    """Row of the highest val_miou; None if every one is NaN."""
    scores = log["val_miou"]
    return None if np.isnan(scores).all() else int(np.nanargmax(scores))


def waiting(log: Log) -> float | None:
    """Fraction of the training time, 0 to 1, spent waiting for input: the median of the epochs from
    the second on, as the first also traces the network and fills caches. None if it is not logged.
    """
    waits = log.get("data_wait", np.array([]))[1:]
    known = waits[~np.isnan(waits)]
    return float(np.median(known)) if known.size else None
