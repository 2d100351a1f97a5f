"""Turn what a run has logged and scored into the metrics of MLflow."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segtf.run.log import Log
from segtf.scoring.split_scores import read_run_scores

if TYPE_CHECKING:
    from mlflow.entities import Metric


def curves(log: Log, started: float) -> list[Metric]:
    """The columns of a log.csv, a point an epoch."""
    from mlflow.entities import Metric

    ends = started + np.cumsum(np.nan_to_num(log["seconds"]))
    names = _allowed_names([name for name in log if name != "epoch"])
    return [
        Metric(name, float(value), round(1000 * float(end)), int(epoch))
        for column, name in names.items()
        for value, end, epoch in zip(log[column], ends, log["epoch"], strict=True)
    ]


def best_scores(run: Path) -> list[Metric]:
    """What the best network of a run reaches on val and test, as far as there are scores."""
    from mlflow.entities import Metric

    found: dict[str, float | None] = {}
    for split, scores in read_run_scores(run).items():
        found |= {f"best_{split}_miou": scores.miou, f"best_{split}_dice_mean": scores.dice_mean}
        found |= {f"best_{split}_iou_{name}": value for name, value in scores.iou.items()}
        found |= {f"best_{split}_dice_{name}": value for name, value in scores.dice.items()}
    known = {name: value for name, value in found.items() if value is not None}
    now, names = round(1000 * time.time()), _allowed_names(list(known))
    return [Metric(names[name], value, now, 0) for name, value in known.items()]


def _allowed_names(names: list[str]) -> dict[str, str]:
    """Names that MLflow takes for metrics, each for one of `names`, which hold classes' own."""
    allowed: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.\- :]", "_", name)
        taken = allowed.values()
        numbered = (f"{plain}_{number}" for number in range(2, len(names) + 2))
        allowed[name] = plain if plain not in taken else next(n for n in numbered if n not in taken)
    return allowed
