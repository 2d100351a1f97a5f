"""Measure the stages of `python -m segtf.train`: peak memory and duration, from start to report."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from scripts.bench.measure import ROOT, Table, run_child
from segtf.run.folder import EXPORT
from voc_builder.base.progress import note

CHILD = "scripts.bench.child"
EVERY = 0.1  # seconds between two samples of a process's memory
STAGES = ("start", "training", "validation", "scoring", "export", "pictures")


class Event(NamedTuple):
    """Something that a training did."""

    name: str
    time: float  # seconds since 1970
    memory: int  # of the process alone, bytes; 0 where it was not asked for


class Sample(NamedTuple):
    """The memory of a process at one moment."""

    time: float
    memory: int  # resident, bytes
    finishing: bool  # it has become `segtf.finish`


def read_events(path: Path) -> list[Event]:
    """The events that a child has written, in their order."""
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Event(line["event"], line["time"], line.get("memory", 0)) for line in lines]


def run_events(kind: str, arguments: Sequence[str], events: Path) -> list[Event]:
    """The events of a child that does what `kind` says, see `scripts.bench.child`."""
    run_child(["-m", CHILD, str(events), kind, *arguments])
    return read_events(events)


def measure_stages(sizes: Sequence[int], flags: Sequence[str], folder: Path, name: str) -> Table:
    """Peak memory and seconds of each stage of `segtf.train --epochs 1` with more `flags`, and the
    seconds to the end of its first step, at each of the training `sizes`.
    """
    figures = {}
    for size in sizes:
        note(f"stages: --size {size}")
        figures[str(size)] = _stages_of([*flags, "--size", str(size)], folder / str(size))
    rows = []
    for stage in (*STAGES, "the whole command"):
        cells = []
        for found in figures.values():
            stages = found["stages"]
            peaks, seconds = zip(*stages.values(), strict=True)
            peak, taken = stages.get(stage, (max(peaks), sum(seconds)))
            cells += [f"{peak / 1e9:.2f}", f"{taken:.0f}"]
        rows.append((stage, *cells))
    steps = ", ".join(f"{found['first_step']:.0f} s at {size}" for size, found in figures.items())
    return Table(
        title=f"Stages of segtf.train: {name}",
        columns=("stage", *(cell for size in figures for cell in (f"{size} x {size}: GB", "s"))),
        rows=tuple(rows),
        note=f"Resident memory, pages of files included. The first step ended after {steps}.",
        figures=figures,
    )


def _stages_of(flags: Sequence[str], folder: Path) -> dict[str, Any]:
    """Peak bytes and seconds of each stage, and the seconds to the end of the first step."""
    folder.mkdir()
    events, run = folder / "events", folder / "runs" / "run"
    command = [sys.executable, "-m", CHILD, str(events), "train", *flags]
    command += ["--epochs", "1", "--artifacts", str(folder), "--run", "run"]
    samples: list[Sample] = []
    started = time.time()
    with (folder / "output").open("wb") as output:
        child = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
        while child.poll() is None:
            samples += _sample(child.pid)
            time.sleep(EVERY)
    if child.returncode:
        said = (folder / "output").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{' '.join(command[1:])}: {said[-2000:]}")
    found = read_events(events)
    scored = max(path.stat().st_mtime for path in run.glob("metrics_*.json"))
    exported = (run / EXPORT).stat().st_mtime
    stages = by_stage(samples, found, scored=scored, exported=exported)
    first = next(event.time for event in found if event.name == "first step")
    return {"stages": stages, "first_step": first - started}


def _sample(pid: int) -> list[Sample]:
    """One sample of a process and its children; none if it ends meanwhile."""
    try:
        process = psutil.Process(pid)
        finishing = "segtf.finish" in process.cmdline()  # before its memory: training's is not its
        tree = (process, *process.children(recursive=True))
        memory = sum(each.memory_info().rss for each in tree)
        return [Sample(time.time(), memory, finishing)]
    except psutil.Error:
        return []


def by_stage(
    samples: Sequence[Sample], events: Sequence[Event], *, scored: float, exported: float
) -> dict[str, tuple[int, float]]:
    """Peak bytes and seconds of each of `STAGES`. `events` tell the stages of training; those of
    `segtf.finish` end when the files of scores and export were written, `scored` and `exported`.
    """
    found: dict[str, tuple[int, float]] = dict.fromkeys(STAGES, (0, 0.0))
    turns = [event for event in events if event.name in STAGES]
    ends = [sample.time for sample in samples[1:]] + [samples[-1].time]
    for sample, end in zip(samples, ends, strict=True):
        if not sample.finishing:
            before = [event.name for event in turns if event.time <= sample.time]
            stage = before[-1] if before else "start"
        else:
            reached = (sample.time > scored) + (sample.time > exported)
            stage = ("scoring", "export", "pictures")[reached]
        peak, seconds = found[stage]
        found[stage] = max(peak, sample.memory), seconds + end - sample.time
    return found
