"""Tabulate and draw runs side by side: python -m segtf.compare RUNS..."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segtf.reports.markdown import code, plain
from segtf.reports.runs import (
    SPLITS,
    Group,
    Run,
    Summary,
    common_settings,
    differing_settings,
    find_doubts,
    group_runs,
    read_runs,
)
from segtf.scoring.format import NONE, markdown_table
from voc_builder.base.command import run
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import note

TABLE, ROWS, PICTURE = "compare.md", "compare.csv", "compare.png"
COUNTED = ("epochs", "best epoch", "minutes")  # not scores of 0 to 1
SCORES: dict[str, list[str]] = {  # columns of the table by the names that metrics_SPLIT.json has
    "miou": [f"{split} mIoU" for split in SPLITS],
    "iou_micro_imagewise": ["micro imagewise"],
    "pixel_accuracy": ["pixel accuracy"],
    "dice_mean": ["Dice"],
    "iou": [],  # a column of each class
}


@dataclass(frozen=True)
class CompareConfig:
    """Tabulate and draw finished runs; runs that differ only in seed or fold become one row with
    mean and standard deviation.
    """

    runs: tuple[Path, ...]
    """Run folders"""
    out: Path = Path("artifacts/compare")
    """Folder for compare.md, compare.csv and compare.png"""
    split: Literal["val", "test"] | None = None
    """Split of the scores other than mIoU; null: test if all runs have it, else val"""
    scores: str = "miou,iou_micro_imagewise,dice_mean,iou"
    """Columns of the table, comma-separated: miou (val and test), iou_micro_imagewise (defined
    even if classes are absent), pixel_accuracy, dice_mean, iou (of each class). The CSV has all of
    them."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.scores.split(",") if name not in SCORES]
        if unknown:
            raise UserError(
                f"--scores {self.scores}: {', '.join(map(repr, unknown))}: must be some of "
                f"{', '.join(SCORES)}, comma-separated"
            )


def compare(config: CompareConfig) -> str:
    """Writes the table, the picture and the CSV of all runs; returns the table as Markdown. Raises
    `UserError` for unfinished runs and for runs of different classes.
    """
    from segtf.reports.draw_comparison import draw_comparison

    runs = read_runs(config.runs)
    split = config.split or ("test" if all("test" in one.scores for one in runs) else "val")
    without = [str(one.path) for one in runs if split not in one.scores]
    if without:
        raise UserError(f"{', '.join(without)}: no {split} images: compare with --split val")
    groups = group_runs(runs)
    doubts = find_doubts(groups)
    for doubt in doubts:
        note(f"warning: {doubt}")
    text = _document(groups, split, config.scores.split(","), doubts)
    with replacing(config.out / TABLE) as beside:
        beside.write_text(text, encoding="utf-8")
    with replacing(config.out / ROWS) as beside:
        _write_rows(groups, beside)
    draw_comparison(groups, split, config.out / PICTURE)
    return text


def _document(
    groups: Sequence[Group], split: str, scores: Sequence[str], doubts: Sequence[str]
) -> str:
    """The table, notes on it, warnings, and the commands of the runs."""
    classes = [f"IoU {name}" for name in groups[0].runs[0].classes]  # the same of all runs
    wanted = [name for score in scores for name in (SCORES[score] or classes)]
    shown = [
        name
        for name in (*wanted, *COUNTED)
        if any(_summary(group, name, split).count for group in groups)
    ]
    rows = [
        [
            str(group.number),
            plain(group.label),
            group.repeats,
            *(_cell(group, name, split) for name in shown),
        ]
        for group in groups
    ]
    lines = [
        markdown_table([["", "settings", "over", *map(plain, shown)], *rows], left=(1,)),
        "",
        f"Scores without val or test in their name are of {split}. Mean ± sample standard deviation"
        f"{_over(groups)}; n if fewer had a value.",
        *_unsaid(groups),
        *[f"\nWarning: {doubt}." for doubt in doubts],
        "\nCommands:\n",
        *(
            f"- {group.number}, {plain(one.name)}: "
            f"{code(str(one.environment.get('command', 'not recorded')))}"
            for group in groups
            for one in group.runs
        ),
    ]
    return "\n".join(lines) + "\n"


def _unsaid(groups: Sequence[Group]) -> list[str]:
    """The settings that the column of settings leaves out, as a paragraph."""
    common = ", ".join(f"{name} {value}" for name, value in common_settings(groups).items())
    return [f"\nWhere the settings do not say otherwise: {plain(common)}."] if common else []


def _over(groups: Sequence[Group]) -> str:
    """The repeats that mean and spread are computed over; the column `over` has their number."""
    with_folds = [group for group in groups if len(group.folds) > 1]
    several = any(len(group.runs) > len(group.folds) for group in with_folds)
    folds = "folds, each the mean of its runs" if several else "folds"
    if not with_folds:
        return " over the runs"
    if any(len(group.runs) > 1 for group in groups if group not in with_folds):
        return f" over the runs of a row, or over its {folds} if it has several"
    return f" over the {folds}"


def _summary(group: Group, name: str, split: str) -> Summary:
    return group.summary(lambda one: one.measures(split)[name])


def _cell(group: Group, name: str, split: str) -> str:
    """Mean and spread of a number, with n where some runs lack it."""
    found, full = _summary(group, name, split), _summary(group, "epochs", split)
    if not found.count:
        return NONE
    few = "" if found.count == full.count else f" (n = {found.count})"
    if name in ("epochs", "best epoch") and not found.spread > 0:
        return f"{found.mean:.0f}{few}"
    digits = 1 if name in COUNTED else 4
    spread = "" if math.isnan(found.spread) else f" ± {found.spread:.{digits}f}"
    return f"{found.mean:.{digits}f}{spread}{few}"


def _write_rows(groups: Sequence[Group], path: Path) -> None:
    """Writes a CSV with a row per run: settings in which the runs differ, and all scores."""
    runs = [one for group in groups for one in group.runs]
    settings = differing_settings(runs)
    rows = []
    for place, (group, one) in enumerate((g, one) for g in groups for one in g.runs):
        seed, fold = one.repeat
        rows.append(
            {
                **{"group": group.number, "run": str(one.path), "seed": seed, "fold": fold},
                **{name: values[place] for name, values in settings.items()},
                **_numbers(one),
                "command": one.environment.get("command"),
            }
        )
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _numbers(one: Run) -> dict[str, float | None]:
    """Scores of both splits, epochs and time, by the columns of the CSV."""
    scores = {
        f"{split}_{name}": score for split in SPLITS for name, score in one.scores_on(split).items()
    }
    measures = one.measures("val")
    counted = {name.replace(" ", "_"): measures[name] for name in COUNTED}
    counted["epochs_done"] = counted.pop("epochs")  # `epochs` is the setting
    return scores | {name: None if math.isnan(v) else round(v, 2) for name, v in counted.items()}


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(
        lambda config: print(compare(config), end=""),
        CompareConfig,
        "python -m segtf.compare",
        argv,
    )


if __name__ == "__main__":
    sys.exit(main())
