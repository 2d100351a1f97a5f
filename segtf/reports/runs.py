"""Read the scores of finished runs and group runs that differ only in seed and fold."""

from __future__ import annotations

import json
import math
import shlex
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from segtf.run.config import OF_THIS_START
from segtf.run.folder import CONFIG, DATA, ENVIRONMENT, LOG
from segtf.run.log import Log, best_epoch, read_log
from segtf.run.size import describe_size
from segtf.scoring.split_scores import SplitScores, metrics_file, read_scores
from voc_builder.base.errors import UserError

REPEATS = ("seed", "fold")  # what the runs of a group may differ in
NAMES = ("run", "artifacts", "data", *OF_THIS_START)  # paths; data sets differ by their digest
SPLITS = ("val", "test")


@dataclass(frozen=True)
class Run:
    """A finished run, from the files of its folder."""

    path: Path
    settings: dict[str, Any]
    about: dict[str, Any]  # data.json
    log: Log
    scores: dict[str, SplitScores]  # by split; without test images val alone
    environment: dict[str, Any]

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def classes(self) -> list[str]:
        return list(self.about["classes"])

    @property
    def repeat(self) -> tuple[Any, Any]:
        """Seed and fold; None for a run that was validated on val as split."""
        return self.settings.get("seed"), self.settings.get("fold")

    def scores_on(self, split: str) -> dict[str, float | None]:
        """Scores of a split by their column in a CSV, None for missing ones."""
        of = self.scores.get(split)
        return {
            "miou": of.miou if of else None,
            "iou_micro_imagewise": of.iou_micro_imagewise if of else None,
            "pixel_accuracy": of.pixel_accuracy if of else None,
            "dice": of.dice_mean if of else None,
            **{f"iou_{name}": of.iou.get(name) if of else None for name in self.classes},
        }

    def measures(self, split: str) -> dict[str, float]:
        """The numbers of a run by their column in a table, NaN for missing ones. Scores other than
        mIoU are of `split`.
        """
        best, of = best_epoch(self.log), self.scores_on(split)
        values = {
            **{f"{name} mIoU": self.scores_on(name)["miou"] for name in SPLITS},
            "micro imagewise": of["iou_micro_imagewise"],
            "pixel accuracy": of["pixel_accuracy"],
            "Dice": of["dice"],
            **{f"IoU {name}": of[f"iou_{name}"] for name in self.classes},
            "epochs": self.log["epoch"][-1] + 1,
            "best epoch": None if best is None else self.log["epoch"][best] + 1,
            "minutes": self.environment["seconds"] / 60,
        }
        return {name: math.nan if v is None else float(v) for name, v in values.items()}


@dataclass(frozen=True)
class Summary:
    """Mean of `count` values and their sample standard deviation, NaN of fewer than two."""

    mean: float
    spread: float
    count: int


@dataclass(frozen=True)
class Group:
    """Runs that differ only in seed and fold."""

    number: int  # from 1
    label: str  # the settings in which it differs from most groups
    runs: tuple[Run, ...]

    @property
    def folds(self) -> list[Any]:
        """Validation folds, sorted; none for the val split."""
        return sorted({run.repeat[1] for run in self.runs} - {None})

    @property
    def repeats(self) -> str:
        """The repeats that mean and spread are computed over, in words."""
        folds, runs = len(self.folds), len(self.runs)
        if folds < 2:
            return f"{runs} run{'s' * (runs > 1)}"
        return f"{folds} folds" + (f" of {runs} runs" if runs > folds else "")

    def summary(self, value: Callable[[Run], float]) -> Summary:
        """Mean and spread over the folds, each the mean of its runs; with a single fold over the
        runs. Runs without the value are left out.
        """
        by_fold: dict[Any, list[float]] = defaultdict(list)
        for run in self.runs:
            if not math.isnan(value(run)):
                by_fold[run.repeat[1]].append(value(run))
        one = len(self.folds) < 2
        values = [v for of in by_fold.values() for v in (of if one else [statistics.fmean(of)])]
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        return Summary(statistics.fmean(values) if values else math.nan, spread, len(values))


def read_run(path: Path) -> Run:
    """A finished run from its folder. Raises `UserError` for a folder that is no run or damaged,
    and for an unfinished run.
    """
    if not (path / CONFIG).is_file() or not (path / DATA).is_file():
        lacking = DATA if (path / CONFIG).is_file() else CONFIG
        raise UserError(f"{path}: not a run folder (no {lacking}): name some of artifacts/runs")
    settings = _read(path / CONFIG, yaml.safe_load)
    about = _read(path / DATA, json.loads)
    missing = missing_files(path)
    if missing:
        raise UserError(
            f"{path}: an unfinished run (no {missing[0]}): resume it with {_resume(path)}, or "
            "leave it out"
        )
    run = Run(
        path=path,
        settings=settings,
        about=about,
        log=read_log(path / LOG),
        scores={name: read_scores(path / metrics_file(name)) for name in _scored(about)},
        environment=_read(path / ENVIRONMENT, json.loads),
    )
    _check(run)
    return run


def missing_files(path: Path) -> list[str]:
    """Files of a finished run that a run folder lacks: the log and the scores of every split with
    images. Raises `UserError` if the folder is damaged.
    """
    splits = _scored(_read(path / DATA, json.loads))
    needed = [LOG, ENVIRONMENT, *(metrics_file(split) for split in splits)]
    return [name for name in needed if not (path / name).is_file()]


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs of all folders. Raises `UserError` also for duplicates and for runs whose classes
    differ from those of the first.
    """
    twice = [path for i, path in enumerate(paths) if path.resolve() in _resolved(paths[:i])]
    if twice:
        raise UserError(f"{twice[0]}: named twice: name each run once")
    runs = [read_run(path) for path in paths]
    for run in runs[1:]:
        if run.classes != runs[0].classes:
            raise UserError(
                f"{run.path}: has the classes {', '.join(run.classes)}, {runs[0].path} has "
                f"{', '.join(runs[0].classes)}: compare runs of the same classes"
            )
    return runs


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The settings in which the runs differ, each with its value for every run as text. Data sets
    differ by their digest, and validation on folds differs from validation on val.
    """
    names = dict.fromkeys(name for run in runs for name in run.settings)
    texts = {
        "data": [_data_text(run) for run in runs],
        "validation": ["val" if run.repeat[1] is None else "folds" for run in runs],
        **{
            name: [_text(run.settings[name]) if name in run.settings else "–" for run in runs]
            for name in names
            if name not in (*REPEATS, *NAMES)
        },
    }
    return {name: values for name, values in texts.items() if len(set(values)) > 1}


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """The groups in the order of their first runs, labelled with the settings in which they differ
    from more than half of the groups.
    """
    settings = differing_settings(runs)
    grouped: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for i, run in enumerate(runs):
        grouped[tuple(values[i] for values in settings.values())].append(run)
    if not settings:
        return [Group(1, runs[0].name if len(runs) == 1 else "all runs", tuple(runs))]
    common = _common([dict(zip(settings, values, strict=True)) for values in grouped])
    groups = []
    for number, (values, members) in enumerate(grouped.items(), start=1):
        own = zip(settings, values, strict=True)
        label = ", ".join(f"{name} {value}" for name, value in own if common.get(name) != value)
        groups.append(Group(number, label or "default", tuple(members)))
    return groups


def common_settings(groups: Sequence[Group]) -> dict[str, str]:
    """The settings that labels leave out: those in which the groups differ, with the value that
    more than half of them share.
    """
    settings = differing_settings([group.runs[0] for group in groups])
    return _common([{name: settings[name][i] for name in settings} for i in range(len(groups))])


def _common(rows: Sequence[dict[str, str]]) -> dict[str, str]:
    """The value of each setting that more than half of the rows share, if there is one."""
    common = {}
    for name in rows[0] if rows else ():
        value, count = Counter(row[name] for row in rows).most_common(1)[0]
        if 2 * count > len(rows):
            common[name] = value
    return common


def find_doubts(groups: Sequence[Group]) -> list[str]:
    """Reasons why scores of these groups are not comparable, one line each."""
    runs = [run for group in groups for run in group.runs]
    digests = _sharing(runs, lambda run: run.about["sha256"][:10])
    tested = _sharing(runs, lambda run: _images(run, "test"))
    folds = {group.number: ", ".join(map(str, group.folds)) or "val" for group in groups}
    scales = {group.number: _scale(group.runs[0]) for group in groups}
    doubts = []
    if len(digests) > 1:
        named = "; ".join(f"{digest}: {names}" for digest, names in digests.items())
        doubts.append(f"the data sets differ (SHA-256 {named}): scores are not comparable")
    if len(tested) > 1:
        named = "; ".join(f"{len(ids)} images: {names}" for ids, names in tested.items())
        doubts.append(f"the test images differ ({named}): test scores are not comparable")
    if len(set(folds.values())) > 1:
        named = "; ".join(f"group {number}: {of}" for number, of in folds.items())
        doubts.append(
            f"the groups validate on different folds ({named}): val scores are not comparable"
        )
    if len(set(scales.values())) > 1:
        named = "; ".join(f"group {number}: {of}" for number, of in scales.items())
        doubts.append(
            f"scores are measured at each run's own size ({named}): masks of different sizes "
            "make the scores not comparable"
        )
    for group in groups:
        doubts += [
            f"{names} have the same settings, seed and fold: each counts as a repeat"
            for names in _sharing(group.runs, lambda run: run.repeat).values()
            if ", " in names
        ]
    return doubts


def _scored(about: dict[str, Any]) -> list[str]:
    """The splits on which a run with this data.json is scored."""
    return [name for name in SPLITS if name == "val" or about.get("images", {}).get(name)]


def _read(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    try:
        values = parse(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: damaged ({reason}): train the run again") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: damaged (no names with values): train the run again")
    return values


def _check(run: Run) -> None:
    try:
        str(run.about["sha256"])[:1]
        run.measures("val")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{run.path}: a damaged file in it ({error!r}): train it again") from None


def _resume(path: Path) -> str:
    resolved = path.resolve()
    elsewhere = resolved.parent.parent
    flag = [] if elsewhere == Path("artifacts").resolve() else ["--artifacts", str(elsewhere)]
    words = ["python", "-m", "segtf.train", "--run", resolved.name, *flag, "--resume"]
    return shlex.join(words)


def _resolved(paths: Iterable[Path]) -> set[Path]:
    return {path.resolve() for path in paths}


def _images(run: Run, split: str) -> tuple[str, ...]:
    images = run.scores[split].rows if split in run.scores else ()
    return tuple(sorted({image.id for image in images}))  # tiles of an image have one id


def _scale(run: Run) -> str:
    """Size at which a run is scored, in words; tiles cover images at their own size."""
    size = run.settings.get("size")
    return "the images' own" if run.settings.get("crop") else describe_size(size)


def _data_text(run: Run) -> str:
    return f"{Path(str(run.settings.get('data', ''))).name} ({run.about['sha256'][:10]})"


def _sharing(runs: Iterable[Run], key: Callable[[Run], Any]) -> dict[Any, str]:
    """Names of the runs by their value of `key`."""
    names: dict[Any, list[str]] = defaultdict(list)
    for run in runs:
        names[key(run)].append(run.name)
    return {value: ", ".join(of) for value, of in names.items()}


def _text(value: Any) -> str:
    """A setting as in YAML, on one line."""
    if isinstance(value, str):
        return " ".join(value.split())
    return json.dumps(value, ensure_ascii=False)
