"""Measure training beside the usual way: python -m scripts.bench_train

Prints a Markdown table for each part and writes `bench_train.md` and `bench_train.json`. Both sides
of a part are measured by turns on the same images. Figures are worth something on a machine that
does nothing else meanwhile; its load is written down with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.bench_table import Table, measure_parts
from segtf.run.architectures import Arch
from voc_builder.base.command import run
from voc_builder.base.errors import UserError


@dataclass(frozen=True)
class BenchConfig:
    """Measure an epoch, the input pipeline, the start and the memory of training and of every stage
    that follows it.
    """

    out: Path = Path("artifacts/bench_train")
    """Folder for bench_train.md and bench_train.json."""
    only: str = "start,input,memory,epoch,stages"
    """Parts to measure, with commas."""
    data: Path = Path("fishki_labelme")
    """Annotated images or VOC tree, of the parts epoch, start and stages."""
    arch: Arch = "unet"
    """Architecture, of all parts but input."""
    encoder: str = "efficientnetb0"
    """Encoder of the network."""
    size: int = 256
    """Training size of the part epoch, pixels."""
    batch: int | None = None
    """Images a step of the parts epoch and stages; null: as segtf.train decides."""
    epochs: int = 8
    """Epochs of each repetition of the part epoch; the first does not count."""
    repeats: int = 2
    """Repetitions of the part epoch, both sides by turns."""
    explain: bool = False
    """Measure a third side too: a bare fit with moving averages and confusion counts."""
    input_size: int = 512
    """Training size of the part input, pixels."""
    image_size: int = 2448
    """Images of the part input, pixels; half of it too."""
    input_images: int = 10
    """Images of each size, of the part input."""
    input_seconds: float = 3.0
    """How long each pipeline runs in each round."""
    input_rounds: int = 3
    """Rounds of the part input, all pipelines by turns; the middle one counts."""
    start_size: int = 512
    """Training size of the part start, pixels."""
    starts: int = 2
    """How often both sides of the part start are started; the median counts."""
    few: int = 200
    """Images of the part memory."""
    many: int = 2000
    """Images of the part memory, compared with few."""
    memory_size: int = 192
    """Size at which these images are kept, pixels."""
    network_size: int = 64
    """Training size of the network in the part memory, pixels."""
    memory_epochs: int = 24
    """Epochs of the part memory; buffers fill in the first of them."""
    stage_sizes: tuple[int, ...] = (512, 1024)
    """Training sizes of the part stages, which runs one epoch and all that follows it, pixels."""


def bench_train(config: BenchConfig) -> None:
    """Measures the parts in the order in which they are named, and writes after each of them.
    Raises `UserError` for a part that is not there and for numbers that leave nothing to measure.
    """
    parts: dict[str, Callable[[BenchConfig, Path], Table]] = {
        "start": _start,
        "input": _input,
        "memory": _memory,
        "epoch": _epoch,
        "stages": _stages,
    }
    least = {"epochs": 2, "repeats": 1, "input_rounds": 1, "starts": 1, "memory_epochs": 4}
    for name, value in least.items():
        if getattr(config, name) < value:
            flag = f"--{name.replace('_', '-')} {getattr(config, name)}"
            raise UserError(f"{flag}: must be at least {value}")
    bound = {name: partial(part, config) for name, part in parts.items()}
    measure_parts(bound, config.only, config.out, "bench_train", ("tensorflow", "keras"))


def _start(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_start import measure_start

    flags = ["--data", str(config.data.resolve()), "--size", str(config.start_size)]
    flags += ["--arch", config.arch, "--encoder", config.encoder]
    flags += ["--epochs", "1", "--encoder-weights", "none"]
    return measure_start(flags, folder, repeats=config.starts)


def _input(config: BenchConfig, folder: Path) -> Table:
    _import_tensorflow()
    from scripts.bench_input import measure_input
    from segtf.run.config import TrainConfig

    return measure_input(
        TrainConfig(size=config.input_size, batch=min(8, config.input_images)),
        folder,
        image_size=config.image_size,
        count=config.input_images,
        seconds=config.input_seconds,
        rounds=config.input_rounds,
    )


def _memory(config: BenchConfig, folder: Path) -> Table:
    _import_tensorflow()
    from scripts.bench_memory import measure_memory

    network = {"arch": config.arch, "encoder": config.encoder, "size": config.network_size}
    return measure_memory(
        network,
        folder,
        few=config.few,
        many=config.many,
        size=config.memory_size,
        epochs=config.memory_epochs,
    )


def _epoch(config: BenchConfig, folder: Path) -> Table:
    _import_tensorflow()
    from scripts.bench_epoch import measure_epochs
    from segtf.run.config import TrainConfig
    from segtf.train import open_dataset

    training = TrainConfig(
        data=config.data,
        arch=config.arch,
        encoder=config.encoder,
        encoder_weights="none",
        size=config.size,
        batch=config.batch,
        epochs=config.epochs,
        patience=0,  # every epoch is wanted
        artifacts=folder,
    )
    return measure_epochs(
        training, open_dataset(training), folder, repeats=config.repeats, extra=config.explain
    )


def _stages(config: BenchConfig, folder: Path) -> Table:
    from scripts.bench_stages import measure_stages

    flags = ["--data", str(config.data.resolve()), "--arch", config.arch]
    flags += ["--encoder", config.encoder, "--encoder-weights", "none", "--epochs", "1"]
    flags += [] if config.batch is None else ["--batch", str(config.batch)]
    return measure_stages(config.stage_sizes, flags, folder)


def _import_tensorflow() -> None:
    """Quietly, before anything else imports it."""
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(bench_train, BenchConfig, "python -m scripts.bench_train", argv)


if __name__ == "__main__":
    raise SystemExit(main())
