"""Measure training beside the usual way: python -m scripts.bench.train

Trains in child processes on a machine that should do nothing else; its load is written down too.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from scripts.bench.measure import Table, draw_images, measure
from scripts.bench.stages import measure_stages, run_events
from segtf.run.architectures import Arch, has_encoder
from segtf.run.folder import read_data
from voc_builder.base.command import run
from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.base.progress import note

MEGABYTE = 10**6
BYTES_PER_PIXEL = 4  # of a decoded image and its mask
NETWORK_SIZE, TINY_SIZE = 64, 192  # training sizes of the part memory, pixels


@dataclass(frozen=True)
class TrainBench:
    """Measure the input pipeline, an epoch, the memory after each epoch, and the stages of a whole
    training.
    """

    only: str = "input,memory,epoch,stages"
    """Parts to measure, separated by commas."""
    out: Path = Path("artifacts/bench_train")
    """Folder for tables.md and figures.json."""
    data: Path = Path("fishki_labelme")
    """Annotated images or VOC tree of the parts epoch and stages."""
    arch: Arch = "unet"
    """Architecture."""
    encoder: str = "efficientnetb0"
    """Encoder, with random weights."""
    batch: int | None = None
    """Images per step of the parts epoch and stages; null: as segtf.train decides."""
    size: int = 256
    """Training size of the part epoch, pixels."""
    epochs: int = 8
    """Epochs per round of the part epoch; the first is not counted."""
    rounds: int = 3
    """Rounds of the parts epoch and input, both sides by turns."""
    stage_sizes: tuple[int, ...] = (512, 1024)
    """Training sizes of the part stages, pixels."""
    input_size: int = 512
    """Training size of the part input, pixels."""
    image_size: int = 2448
    """Size of the drawn images of the part input, pixels; half of it is measured too."""
    input_images: int = 10
    """Drawn images of each size."""
    few: int = 200
    """Images of the part memory."""
    many: int = 1000
    """Images of the part memory, compared with few for a tiny network."""
    memory_epochs: int = 24
    """Epochs of the part memory; buffers fill in the first of them."""


def bench_train(config: TrainBench) -> None:
    """Measures, prints and writes. Raises `UserError` for too few epochs or rounds."""
    refuse_below_one(rounds=config.rounds)
    for flag, value, least in (
        ("--epochs", config.epochs, 2),
        ("--memory-epochs", config.memory_epochs, 4),
    ):
        if value < least:
            raise UserError(f"{flag} {value}: must be at least {least}")
    parts = {
        "input": _input,
        "memory": measure_memory,
        "epoch": measure_epoch,
        "stages": _stages,
    }
    bound = {name: partial(part, config) for name, part in parts.items()}
    measure(bound, config.only, config.out, ("tensorflow", "keras"))


def _input(config: TrainBench, folder: Path) -> Table:
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    from scripts.bench.input import measure_input
    from segtf.run.config import TrainConfig

    return measure_input(
        TrainConfig(size=config.input_size, batch=min(8, config.input_images)),
        folder,
        image_size=config.image_size,
        count=config.input_images,
        rounds=config.rounds,
    )


def network_name(arch: Arch, encoder: str) -> str:
    """Architecture, and encoder if it has one."""
    return f"{arch} {encoder}" if has_encoder(arch) else arch


def network_flags(config: TrainBench) -> list[str]:
    """The network, as flags of `segtf.train`."""
    return ["--arch", config.arch, "--encoder", config.encoder, "--encoder-weights", "none"]


def data_flags(config: TrainBench) -> list[str]:
    """Data and batch, as flags of `segtf.train`."""
    batch = [] if config.batch is None else ["--batch", str(config.batch)]
    return ["--data", str(config.data.resolve()), *batch]


def measure_epoch(config: TrainBench, folder: Path) -> Table:
    """Seconds per epoch of `segtf.train` with everything on and of a bare `keras.Model.fit` on the
    same batches. The first epoch of each process, in which Keras traces, is left out.
    """
    flags = [*data_flags(config), *network_flags(config), "--size", str(config.size)]
    flags += ["--epochs", str(config.epochs), "--patience", "0"]
    seconds: dict[str, list[float]] = {"`segtf.train`": [], "bare `fit`": []}
    for number in range(config.rounds):
        note(f"epoch: round {number + 1} of {config.rounds}")
        artifacts = folder / f"round-{number}"
        fitting = [*flags, "--artifacts", str(artifacts), "--run", "run"]
        run = artifacts / "runs" / "run"
        for side, kind, arguments in zip(
            seconds, ("fit", "bare"), (fitting, [str(run)]), strict=True
        ):
            events = run_events(kind, arguments, folder / f"{kind}-{number}")
            ends = [event.time for event in events if event.name == "epoch end"]
            seconds[side] += [after - before for before, after in pairwise(ends)]
    ours, bare = map(statistics.median, seconds.values())
    name = network_name(config.arch, config.encoder)
    return Table(
        title=f"Epoch: {name}, {config.size} x {config.size}, {read_data(run)['images']['train']} "
        "images",
        columns=("", "median, s", "fastest, s", "slowest, s", "ratio"),
        rows=tuple(
            (side, *(f"{f(found):.2f}" for f in (statistics.median, min, max)), f"{ratio:.3f}")
            for (side, found), ratio in zip(seconds.items(), (ours / bare, 1.0), strict=True)
        ),
        note=f"{len(seconds['bare `fit`'])} epochs of each side. Target: 1.05 at most.",
        figures={"ratio": ours / bare, "seconds": seconds},
    )


def settled(memory: Sequence[int]) -> tuple[int, int]:
    """The minimum in the second and in the last quarter of the epochs; buffers fill in the first.
    Batches that are on their way come and go above it.
    """
    quarter = len(memory) // 4
    return min(memory[quarter : 2 * quarter]), min(memory[-quarter:])


def growth(memory: Sequence[int]) -> float:
    """Bytes per epoch from the second to the last quarter of at least four epochs."""
    then, now = settled(memory)
    return (now - then) / (len(memory) - 2 * (len(memory) // 4))


def measure_memory(config: TrainBench, folder: Path) -> Table:
    """The process's own memory after each epoch, images cached on disk: the network of `config`,
    and a tiny network with few and with many images.
    """
    if sys.platform != "linux":
        raise UserError("the part memory needs Linux: leave it out of --only")
    few, many = config.few, config.many
    drawn = {n: draw_images(folder / f"drawn-{n}", n, 96) for n in dict.fromkeys((few, many))}
    runs = (
        (
            network_name(config.arch, config.encoder),
            few,
            NETWORK_SIZE,
            network_flags(config),
        ),
        ("tiny", few, TINY_SIZE, ["--arch", "tiny"]),
        ("tiny", many, TINY_SIZE, ["--arch", "tiny"]),
    )
    common = ["--epochs", str(config.memory_epochs), "--patience", "0", "--batch", "16"]
    common += ["--cache", "disk", "--split", "90/10/0", "--artifacts", str(folder)]
    rows, figures = [], []
    for number, (name, count, size, network) in enumerate(runs):
        note(f"memory: {name}, {count} images")
        flags = [*common, *network, "--data", str(drawn[count]), "--size", str(size)]
        events = run_events("memory", [*flags, "--run", str(number)], folder / f"events-{number}")
        memory = [event.memory for event in events if event.name == "epoch end"]
        decoded = count * size**2 * BYTES_PER_PIXEL
        cells = (f"{value / MEGABYTE:.0f}" for value in (decoded, *settled(memory)))
        change = f"{growth(memory) / MEGABYTE:+.2f}"
        rows.append((f"{name}, {size} x {size}, {count} images", *cells, change))
        figures.append({"run": name, "images": count, "decoded": decoded, "after_epoch": memory})
    return Table(
        title=f"Memory of {config.memory_epochs} epochs, images cached on disk, MB",
        columns=("", "decoded images", "second quarter", "last quarter", "growth per epoch"),
        rows=tuple(rows),
        note="Without pages of files; the minimum of a quarter of the epochs. Less than 1 MB per "
        "epoch may be noise.",
        figures={"runs": figures},
    )


def _stages(config: TrainBench, folder: Path) -> Table:
    flags = [*data_flags(config), *network_flags(config)]
    name = network_name(config.arch, config.encoder)
    return measure_stages(config.stage_sizes, flags, folder, name)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(bench_train, TrainBench, "python -m scripts.bench.train", argv)


if __name__ == "__main__":
    raise SystemExit(main())
