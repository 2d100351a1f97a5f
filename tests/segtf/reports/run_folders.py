"""Files of finished runs for tests, and pictures read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from tests.segtf.split_scores import image_scores, split_scores, write_scores

CLASSES = ["__background__", "fishka", "def|ect"]
SETTINGS = {"data": "fishki", "size": 256, "loss": "ce + dice", "mosaic": 0.0, "seed": 42}


def write_log(path: Path, classes: list[str], val_miou: list[float]) -> Path:
    """A log as `CSVLogger` writes it: the epoch first, the other columns sorted by name."""
    columns = sorted(f"{prefix}iou_{name}" for prefix in ("", "val_") for name in classes)
    header = ["epoch", *columns, "learning_rate", "loss", "miou", "val_loss", "val_miou"]
    rows = [
        [epoch, *[score] * len(columns), 0.001, 1 - score, score, 1 - score, score]
        for epoch, score in enumerate(val_miou)
    ]
    lines = [",".join(map(str, row)) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def add_waits(log: Path, shares: list[float]) -> None:
    """The column of a log that says how long training waited; the last one goes on."""
    head, *rows = log.read_text(encoding="utf-8").splitlines()
    column = [*shares, *shares[-1:] * len(rows)]
    lines = [f"{head},data_wait", *(f"{row},{w}" for row, w in zip(rows, column, strict=False))]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_picture(path: Path) -> np.ndarray:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    return picture


def write_run(
    run: Path,
    miou: float,
    *,
    classes: list[str] = CLASSES,
    sha256: str = "0a1b" * 16,
    ids: tuple[str, ...] = ("a", "b"),
    test: bool = True,
    epochs: int = 4,
    **settings: Any,
) -> Path:
    """The files of a finished run that scored `miou` on test, 0.01 less on val."""
    run.mkdir(parents=True)
    values = {**SETTINGS, "fold": None, "run": run.name, "artifacts": str(run.parent), **settings}
    (run / "config.yaml").write_text(yaml.safe_dump(values))
    images = {"train": 8, "val": 2, "test": 2 if test else 0}
    about = {"path": "fishki", "sha256": sha256, "classes": classes, "images": images}
    (run / "data.json").write_text(json.dumps(about))
    environment = {"command": f"python -m segtf.train --run {run.name}", "seconds": 120.0}
    (run / "environment.json").write_text(json.dumps(environment))
    write_log(run / "log.csv", classes, [miou * (1 - 0.6**n) for n in range(1, epochs + 1)])
    for split in ("val", "test")[: 1 + test]:
        score = miou if split == "test" else miou - 0.01
        scores = split_scores(
            dict.fromkeys(classes, score),
            score,
            rows=tuple(map(image_scores, ids)),
            iou_micro_imagewise=score / 2,
            pixel_accuracy=score / 4,
        )
        write_scores(run, split, scores)
    return run
