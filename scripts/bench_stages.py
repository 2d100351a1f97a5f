"""Measure the memory that each stage of `python -m segtf.train` takes, from training to the report.

`measure_stages` runs the command in a process of its own and looks at it ten times a second; the
process writes down which stage it is in. Memory is what is resident, pages of files included.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from scripts.bench_table import Table, met
from scripts.bench_watch import watched
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

ROOT = Path(__file__).resolve().parents[1]
EVERY = 0.1  # seconds between two looks
STAGES = ("start", "training", "validation", "scoring", "export", "parity", "pictures")
LARGEST = 1.3  # times the memory of training that the whole command may take
FINISH = "--finish"  # before the run folder: the child goes on as `segtf.finish`
Stages = dict[str, tuple[int, float]]  # largest memory, bytes, and seconds of each stage


class Marks:
    """A file to which the child adds a line with the time whenever a stage begins."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stage = STAGES[0]

    def turn_to(self, stage: str) -> None:
        self.stage = stage
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.time()} {stage}\n")

    def within(self, module: Any, name: str, stage: str) -> None:
        """Has the function `name` of a module be a stage, after which goes on what was before."""
        function: Callable[..., Any] = getattr(module, name)

        def marked(*args: Any, **others: Any) -> Any:
            before = self.stage
            self.turn_to(stage)
            try:
                return function(*args, **others)
            finally:
                self.turn_to(before)

        setattr(module, name, marked)


def measure_stages(sizes: Sequence[int], flags: Sequence[str], folder: Path) -> Table:
    """Runs the command with `flags` at each of the training sizes, pixels, in `folder`. Raises
    RuntimeError if it fails, `UserError` where a process cannot be looked at.
    """
    if os.name != "posix":
        raise UserError("the part stages looks at a process that goes on as another: POSIX alone")
    found = {}
    for size in sizes:
        note(f"stages: --size {size}")
        found[size] = stages_of([*flags, "--size", str(size)], folder / str(size))
    return stage_table(found)


def stages_of(flags: Sequence[str], folder: Path) -> Stages:
    """What a run of the command with `flags` takes, its artifacts in `folder`."""
    folder.mkdir(parents=True)
    marks, said = folder / "marks", folder / "said"
    marks.touch()
    command = [sys.executable, "-m", "scripts.bench_stages", str(marks), *flags]
    looks: list[tuple[float, int]] = []
    with said.open("wb") as out:
        child = subprocess.Popen(
            [*command, "--artifacts", str(folder)], cwd=ROOT, stdout=out, stderr=out
        )
        while child.poll() is None:
            looks.append((time.time(), _resident(child.pid)))
            time.sleep(EVERY)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: {said.read_text('utf-8', 'replace')[-2000:]}")
    turns = [line.split(maxsplit=1) for line in marks.read_text(encoding="utf-8").splitlines()]
    return by_stage(looks, [(float(when), stage) for when, stage in turns])


def by_stage(looks: Sequence[tuple[float, int]], turns: Sequence[tuple[float, str]]) -> Stages:
    """The largest memory and the seconds of each stage, of `looks` at the memory and `turns` to
    stages, each with its time.
    """
    found: Stages = dict.fromkeys(STAGES, (0, 0.0))
    ends = [when for when, _ in looks[1:]] + [looks[-1][0]]
    for (when, memory), end in zip(looks, ends, strict=True):
        stage = next((name for turned, name in reversed(turns) if turned <= when), STAGES[0])
        most, seconds = found[stage]
        found[stage] = max(most, memory), seconds + end - when
    return found


def stage_table(found: dict[int, Stages]) -> Table:
    """Of the stages at each size: the largest memory of each and how long it took."""
    rows = []
    for stage in (*STAGES, "the whole command"):
        cells = []
        for stages in found.values():
            whole = (max(m for m, _ in stages.values()), sum(s for _, s in stages.values()))
            memory, seconds = stages.get(stage, whole)
            cells += [f"{memory / 1e9:.2f}", f"{seconds:.0f}"]
        rows.append((stage, *cells))
    most = max(
        max(memory for memory, _ in stages.values()) / stages["training"][0]
        for stages in found.values()
    )
    return Table(
        title="Memory of each stage of segtf.train",
        columns=("stage", *(c for size in found for c in (f"{size}: GB", "s"))),
        rows=tuple(rows),
        verdict=f"Wanted: the whole command takes {LARGEST} times the memory of training at most: "
        f"{met(most, LARGEST)} ({most:.2f} times).",
        figures={"stages": {str(size): dict(stages) for size, stages in found.items()}},
    )


def _resident(process: int) -> int:
    """Bytes of a process and its children; 0 where it ends meanwhile."""
    try:
        one = psutil.Process(process)
        return sum(each.memory_info().rss for each in (one, *one.children(recursive=True)))
    except psutil.Error:
        return 0


def train_marked(marks: Marks) -> int:
    """`segtf.train` with the flags of this process."""
    import keras

    from segtf import train

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
            marks.turn_to("training")

        def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
            marks.turn_to("validation")

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            marks.turn_to("training")

    def hand_over(run: Path) -> int:
        marks.turn_to("start")
        command = [sys.executable, "-m", "scripts.bench_stages", str(marks.path), FINISH, str(run)]
        os.execv(command[0], command)

    train.hand_over = hand_over
    with watched(lambda calls: [Watch(), *calls]):
        return train.main()


def finish_marked(marks: Marks, run: Path) -> int:
    """`segtf.finish` of a run."""
    from segtf import finish
    from segtf.exporting import run as exporting
    from segtf.reports import figures, report, results
    from segtf.scoring import evaluation

    marks.within(evaluation, "evaluate_split", "scoring")
    marks.within(exporting, "export_run", "export")
    marks.within(exporting, "parity", "parity")
    for module, name in (
        (figures, "draw_curves"),
        (results, "write_results"),
        (finish, "_draw_overlays"),
        (report, "write_report"),
    ):
        marks.within(module, name, "pictures")
    finish.finish(run)
    return 0


def main() -> int:
    """The child: the file of marks, then the flags of `segtf.train`, or `--finish` and a run."""
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    marks = Marks(Path(sys.argv[1]))
    if sys.argv[2] == FINISH:
        return finish_marked(marks, Path(sys.argv[3]))
    sys.argv[1:] = sys.argv[2:]
    return train_marked(marks)


if __name__ == "__main__":
    raise SystemExit(main())
