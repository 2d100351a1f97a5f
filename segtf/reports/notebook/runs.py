"""Compare the runs on one data set: which settings differ, and their scores on val."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from segtf.exporting.report import read_export
from segtf.reports.notebook.show import table
from segtf.reports.runs import Run, differing_settings, missing_files, read_run, read_runs
from segtf.run.folder import CONFIG, DATA
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from IPython.display import HTML


def sibling_runs(run: Path) -> list[Path]:
    """The finished runs beside a run that were trained on the same data set, by name, itself among
    them; unfinished and damaged ones are passed over.
    """
    own = read_run(run)
    found = [path for path in sorted(run.resolve().parent.iterdir()) if _is_alike(path, own)]
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


def run_table(runs: Sequence[Run], chosen: Run) -> HTML:
    """A row per run, the best on val first: the settings that differ, and scores on val. Test is
    left out, since choosing by it would make it biased.
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
        numbers = [f"{measures[key]:.4f}" for key in ("val mIoU", "Dice")]
        numbers += [f"{measures[key]:.0f}" for key in ("best epoch", "epochs", "minutes")]
        name = f"{run.name} (this one)" if run.path == chosen.path else run.name
        own = [values[place[run.path]] for values in settings.values()]
        rows.append([name, *own, *("–" if number == "nan" else number for number in numbers)])
    head = ["run", *settings, "val mIoU", "val Dice", "best epoch", "epochs", "minutes"]
    return table(head, rows)


def trial_table(run: Path) -> HTML:
    """Every post-processing limit that was tried on val, in the order of the trials."""
    export = read_export(run)
    rows = [
        (trial.label, trial.what, f"{trial.limit:,}", f"{trial.gain:+.5f}", trial.verdict)
        for trial in (export.trials if export else ())
    ]
    return table(("class", "what", "below, pixels", "gain of mIoU on val", "verdict"), rows)
