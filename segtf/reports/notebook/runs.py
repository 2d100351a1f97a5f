"""Put the runs on one data set side by side: what differs, and how they do on val."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from segtf.reports.notebook.show import Table
from segtf.reports.runs import (
    Run,
    differing_settings,
    missing_files,
    read_run,
    read_runs,
)
from segtf.run.folder import CONFIG, DATA
from segtf.run.size import describe_size
from segtf.scoring.format import interval_text, score_text
from voc_builder.base.errors import UserError


def sibling_runs(run: Path) -> list[Path]:
    """The finished runs beside a run that were trained on the same data set, by name, itself among
    them; what is unfinished, damaged or about other data is passed over.
    """
    own = read_run(run)
    beside = run.resolve().parent
    found = [path for path in sorted(beside.iterdir()) if _is_alike(path, own)]
    return [run if path == run.resolve() else path for path in found]


def _is_alike(path: Path, own: Run) -> bool:
    if path == own.path.resolve():
        return True
    if not (path / CONFIG).is_file() or not (path / DATA).is_file():
        return False
    try:
        about = json.loads((path / DATA).read_text(encoding="utf-8"))
        if about["sha256"] != own.about["sha256"] or missing_files(path):
            return False
        read_run(path)
    except (UserError, ValueError, KeyError, TypeError):
        return False
    return True


def checked_runs(run: Path, others: Sequence[Path]) -> list[Path]:
    """The run itself and the `others` that it is compared with. Raises `UserError` naming every
    one that is no finished run or was trained on another data set.
    """
    own = read_run(run)
    problems = []
    for path in others:
        try:
            about = read_run(path).about
        except UserError as error:
            problems.append(str(error))
            continue
        if about["sha256"] != own.about["sha256"]:
            problems.append(
                f"{path}: trained on another data set (SHA-256 {about['sha256'][:10]}, "
                f"{run} has {own.about['sha256'][:10]}): leave it out of --runs"
            )
    if problems:
        raise UserError("\n".join(problems))
    paths = [path for path in others if path.resolve() != run.resolve()]
    read_runs([run, *paths])  # one that is named twice
    return [run, *paths]


def val_miou(run: Run) -> float:
    """Mean IoU on val, 0 to 1; NaN where there is none."""
    score = run.scores["val"].miou
    return math.nan if score is None else float(score)


def ranked(runs: Sequence[Run]) -> list[Run]:
    """The runs by their mean IoU on val, the best first, those without one last."""
    return sorted(runs, key=lambda run: (math.isnan(val_miou(run)), -val_miou(run), run.name))


def run_table(runs: Sequence[Run], chosen: Run) -> Table:
    """A row a run, the best on val first: what differs in their settings, and scores of val. Test
    is left out: what chooses by it has seen it.
    """
    settings = differing_settings(runs)
    for i, name in enumerate(("seed", "fold")):
        values = [run.repeat[i] for run in runs]
        if len(set(values)) > 1:
            settings[name] = ["–" if value is None else str(value) for value in values]
    place = {run.path: i for i, run in enumerate(runs)}
    rows = []
    for run in ranked(runs):
        measures = run.measures("val")
        intervals = run.scores["val"].intervals
        rows.append(
            (
                f"{run.name} (this one)" if run.path == chosen.path else run.name,
                *(values[place[run.path]] for values in settings.values()),
                score_text(measures["val mIoU"]),
                interval_text(intervals.miou if intervals else None),
                score_text(measures["Dice"]),
                f"{measures['best epoch']:.0f} of {measures['epochs']:.0f}"
                if not math.isnan(measures["best epoch"])
                else "–",
                f"{measures['minutes']:.1f}",
            )
        )
    head = ("run", *settings, "val mIoU", "95 %", "val Dice", "best epoch", "minutes")
    known = [i for i, name in enumerate(head) if name != "95 %" or any(r[i] != "–" for r in rows)]
    return Table(tuple(head[i] for i in known), tuple(tuple(r[i] for i in known) for r in rows))


def run_doubts(runs: Sequence[Run]) -> list[str]:
    """Why their scores on val are not comparable, a clause each; none if they are."""
    scales, folds = defaultdict(list), defaultdict(list)
    for run in runs:
        own = run.settings.get("crop")
        scales["the images' own" if own else describe_size(run.settings["size"])].append(run.name)
        folds["val" if run.repeat[1] is None else f"fold {run.repeat[1]}"].append(run.name)
    doubts = []
    for what, found in (("at other sizes", scales), ("on other images", folds)):
        if len(found) > 1:
            named = "; ".join(f"{key}: {', '.join(names)}" for key, names in found.items())
            doubts.append(f"they are scored {what} ({named})")
    return doubts
