"""Measure how long `segtf.train` takes from the command to the end of its first training step.

`measure_start` runs it, and a bare Keras program with the same network, in fresh processes. In them
this module tells the time of the phases apart: what is not inside a function that is watched, or an
import statement, belongs to the function around it.
"""

from __future__ import annotations

import builtins
import contextlib
import json
import statistics
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from scripts.bench_child import told_by_child
from scripts.bench_table import Table, met, network_name
from segtf.run.folder import read_config, read_data
from segtf.run.size import describe
from voc_builder.base.progress import note

WANTED = 30.0  # seconds, at most
IMPORT, RUN, BUILD_DATA, SURVEY, AUGMENTATION, DECODE, NETWORK, FIT, TRACE, SECOND = (
    *("import: Python, TensorFlow and all else", "data: run folder and the like"),
    *("data: data set built", "data: objects surveyed", "data: augmentation tried"),
    *("data: images decoded", "build: network", "build: optimiser and callbacks"),
    *("trace: first batch and step", "the second step, for comparison"),
)
PHASES = (IMPORT, RUN, BUILD_DATA, SURVEY, AUGMENTATION, DECODE, NETWORK, FIT, TRACE, SECOND)
MARK = "phases: "  # before the line that a child prints


class Stopwatch:
    """Seconds by phase; one runs at a time, and goes on where the one inside it has ended."""

    def __init__(self, begun: float) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.phase, self.since = IMPORT, begun
        self.thread = threading.get_ident()  # what others do is waited for, or costs no time

    def turn_to(self, phase: str) -> str:
        """Begins a phase; returns the one that ends."""
        before, now = self.phase, time.time()
        self.seconds[before] += now - self.since
        self.phase, self.since = phase, now
        return before

    def timed(self, function: Callable[..., Any], phase: str) -> Callable[..., Any]:
        """The function, whose time belongs to `phase`."""

        def function_timed(*args: Any, **others: Any) -> Any:
            if threading.get_ident() != self.thread or self.phase == phase:
                return function(*args, **others)
            before = self.turn_to(phase)
            try:
                return function(*args, **others)
            finally:
                self.turn_to(before)

        return function_timed


def first_steps(watch: Stopwatch) -> Any:
    """A callback that ends the process after the second step."""
    import keras

    class FirstSteps(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            watch.turn_to(SECOND)
            if batch == 1:
                print(MARK + json.dumps(watch.seconds), flush=True)
                raise SystemExit(0)

    return FirstSteps()


def run_train(watch: Stopwatch, flags: list[str]) -> None:
    """What `python -m segtf.train` does, up to its second step."""
    from segtf import train
    from segtf.training import sizing
    from voc_builder.base.tensorflow import import_tensorflow

    def import_watched() -> Any:
        """What is imported here, `segtf.train` would import next."""
        imported = import_tensorflow()
        from segtf.data import pipelines, records
        from segtf.training import callbacks, fitting, prepare

        pipelines.check_pipeline = watch.timed(pipelines.check_pipeline, AUGMENTATION)
        prepare.prepare = watch.timed(prepare.prepare, NETWORK)
        records.load_splits = watch.timed(records.load_splits, DECODE)
        fitting.fit = watch.timed(fitting.fit, FIT)
        fit = watch.timed(callbacks.Trainer.fit, TRACE)

        def fit_two_steps(*args: Any, callbacks: list[Any], **others: Any) -> Any:
            return fit(*args, callbacks=[*callbacks, first_steps(watch)], **others)

        callbacks.Trainer.fit = fit_two_steps
        return imported

    train.open_dataset = watch.timed(train.open_dataset, BUILD_DATA)
    sizing.decide = watch.timed(sizing.decide, SURVEY)
    train.train_network = watch.timed(train.train_network, RUN)
    with (
        patch.object(train, "import_tensorflow", import_watched),
        patch.object(sys, "argv", ["segtf.train", *flags]),
    ):
        raise SystemExit(train.main())


def run_bare(watch: Stopwatch, flags: list[str]) -> None:
    """The same network fitted to black images; `flags` are architecture, encoder, height, width,
    batch and classes.
    """
    import numpy as np

    from segtf.networks.losses import SegmentationLoss
    from segtf.networks.model import build_model

    arch, encoder, (height, width, batch, classes) = flags[0], flags[1], map(int, flags[2:])
    network = watch.timed(build_model, NETWORK)(arch, encoder, classes, (height, width))
    network.compile("adam", SegmentationLoss(), jit_compile=False)
    images = np.zeros((2 * batch, height, width, 3), np.uint8)
    masks = np.zeros((2 * batch, height, width), np.uint8)
    fit = watch.timed(network.fit, TRACE)
    fit(images, masks, batch_size=batch, verbose=0, callbacks=[first_steps(watch)])


@contextlib.contextmanager
def imports_timed(watch: Stopwatch) -> Iterator[None]:
    """Within it import statements are a phase wherever they stand."""
    with patch.object(builtins, "__import__", watch.timed(builtins.__import__, IMPORT)):
        yield


def measure_start(flags: list[str], folder: Path, *, repeats: int) -> Table:
    """Starts both sides `repeats` times by turns; `flags` are those of `segtf.train`, `folder` gets
    the run folders.
    """
    sides: dict[str, list[dict[str, float]]] = {"`segtf.train`": [], "bare Keras": []}
    for number in range(repeats):
        artifacts = folder / f"start-{number}"
        note(f"start: {number + 1} of {repeats}")
        own = [*flags, "--artifacts", str(artifacts), "--run", "start"]
        sides["`segtf.train`"].append(start_once("train", own))
        run = artifacts / "runs" / "start"
        config, classes = read_config(run), len(read_data(run)["classes"])
        network = [config.arch, config.encoder, *config.shape, config.batch, classes]
        sides["bare Keras"].append(start_once("bare", list(map(str, network))))
    ours, bare = (middle(found) for found in sides.values())
    rows: list[tuple[str, ...]] = [
        (phase, f"{ours[phase]:.2f}", f"{bare[phase]:.2f}") for phase in PHASES[:-1]
    ]
    totals = [statistics.median(map(summed, found)) for found in sides.values()]
    rows.append(("in all", *(f"{total:.2f}" for total in totals)))
    rows.append((SECOND, f"{ours[SECOND]:.2f}", f"{bare[SECOND]:.2f}"))
    name = network_name(config.arch, config.encoder)
    return Table(
        title=f"From the command to the end of the first step: {name}, "
        f"{describe(config.shape)}, batch {config.batch}",
        columns=("phase", "`segtf.train`, s", "bare Keras, s"),
        rows=tuple(rows),
        verdict=f"Wanted: less than {WANTED:.0f} s in all on a CPU: {met(totals[0], WANTED)} "
        f"({totals[0]:.1f} s, median of {repeats}).",
        figures={"sides": sides, "totals": dict(zip(sides, totals, strict=True))},
    )


def start_once(kind: str, flags: list[str]) -> dict[str, float]:
    """Seconds by phase of a fresh process; `kind` is train or bare. Raises RuntimeError with what
    it said if it fails.
    """
    begun = str(time.time())
    return dict(told_by_child("scripts.bench_start", [begun, kind, *flags], MARK))


def summed(seconds: dict[str, float]) -> float:
    """From the command to the end of the first step."""
    return sum(value for phase, value in seconds.items() if phase != SECOND)


def middle(found: list[dict[str, float]]) -> dict[str, float]:
    """The median of each phase."""
    return {p: statistics.median(each.get(p, 0.0) for each in found) for p in PHASES}


def main() -> None:
    """The child: when its command was given, what to run, with which flags."""
    watch = Stopwatch(float(sys.argv[1]))
    with imports_timed(watch):
        {"train": run_train, "bare": run_bare}[sys.argv[2]](watch, sys.argv[3:])


if __name__ == "__main__":
    main()
