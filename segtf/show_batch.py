"""Draw the first training batches: python -m segtf.show_batch [flags of training | --run NAME]"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segtf.run.config import TrainConfig, augmentation_file
from segtf.run.folder import AUGMENT, read_config, read_run_dataset
from segtf.run.size import describe
from voc_builder.base.command import given, run
from voc_builder.base.errors import UserError, refuse_below_one
from voc_builder.sources.config import SourceConfig

if TYPE_CHECKING:
    from voc_builder.tree.voc import Dataset

PROG = "python -m segtf.show_batch"
BATCH = 8  # samples in a batch without --batch
SUFFIXES = (".png", ".jpg", ".jpeg")
# flags that determine the data set of a run, and flags that are no settings of a run
SOURCE = tuple(field.name for field in dataclasses.fields(SourceConfig))
FIXED = ("data", *SOURCE, "split", "split_from", "split_seed", "folds", "fold", "unlabelled")
OWN = ("batches", "out", "run", "artifacts", "skip_bad", "resume", "overwrite")


@dataclass(frozen=True)
class ShowBatchConfig(TrainConfig):
    """Draw the first training batches after augmentation, each image beside its mask, with the
    frequency of each class. Takes the flags of segtf.train; --run NAME takes the settings of a run,
    which other flags override.
    """

    batches: int = 1
    """Batches to draw."""
    out: Path | None = None
    """PNG or JPEG to write; null: batches.png in the run's folder, or in --artifacts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_below_one(batches=self.batches)
        if self.out is not None and self.out.suffix.lower() not in SUFFIXES:
            raise UserError(f"--out {self.out}: must end with one of {', '.join(SUFFIXES)}")


def show_batch(config: ShowBatchConfig, changed: set[str]) -> Path:
    """Writes the picture and returns its path; prints the frequencies. `changed` are the fields
    given on the command line. Raises `UserError` as training does.
    """
    from segtf.reports.batch_sheet import Frequencies, draw_sheet, frequency_table, write_picture
    from segtf.train import open_dataset

    if "augment" in changed:
        augmentation_file(config.augment)  # raises before the data set is built
    if config.run is None:
        folder, dataset, training = config.artifacts, open_dataset(config), _plain(config)
    else:
        folder, (dataset, training) = config.run_folder, _from_run(config, changed)
    training = _sized(training, dataset)
    saved, drawn = config.run_folder / AUGMENT, training
    if config.run is not None and "augment" not in changed and saved.is_file():
        drawn = replace(training, augment=str(saved))
    images, masks = _batches(drawn, dataset, config.batches)
    frequencies = Frequencies.of(masks, dataset)
    sheet = draw_sheet(
        images,
        masks,
        dataset.classes,
        frequencies,
        title=_title(training, dataset, config),
        settings=_settings(training),
        batch=training.batch or BATCH,
    )
    out = config.out or folder / "batches.png"
    write_picture(sheet, out)
    print(frequency_table(frequencies, dataset.classes))
    return out


def _plain(config: ShowBatchConfig) -> TrainConfig:
    """The settings of training alone."""
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    return TrainConfig(**{name: getattr(config, name) for name in names})


def _from_run(config: ShowBatchConfig, changed: set[str]) -> tuple[Dataset, TrainConfig]:
    """The data set and the settings of a run, overridden by the given flags."""
    saved = read_config(config.run_folder)
    fixed = sorted(changed & set(FIXED))
    if fixed:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in fixed)
        raise UserError(f"{flags}: the data set of --run {config.run} determines it: leave it out")
    values: dict[str, Any] = {name: getattr(config, name) for name in changed - set(OWN)}
    values.update(run=config.run, artifacts=config.artifacts)
    return read_run_dataset(config.run_folder), replace(saved, **values)


def _sized(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """The settings with the size and the crops that training would choose, and a batch size."""
    from segtf.training.sizing import decide

    if config.size == "auto" or (config.crop and config.crops is None):
        config, _ = decide(config, dataset)
    batch, images = config.batch, len(dataset.splits["train"])
    samples = images * config.samples_per_image
    if batch is None:
        batch = max(1, min(BATCH, samples) // config.shard_count) * config.shard_count
    if batch > samples:
        crops = f", {config.samples_per_image} crops of each" if config.crop else ""
        raise UserError(
            f"--batch {batch}: the data set has {images} training images{crops}: take fewer"
        )
    return replace(config, batch=batch)


def _batches(config: TrainConfig, dataset: Dataset, batches: int) -> tuple[Any, Any]:
    """Images (N, H, W, 3) and masks (N, H, W) of the first batches, of all shards."""
    import numpy as np

    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    from segtf.data.batches import training_batches
    from segtf.data.pipelines import check_pipeline
    from segtf.data.records import load_splits, loading
    from segtf.data.sampling import Sampler

    check_pipeline(config.augment, config.shape)
    config.artifacts.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=config.artifacts, prefix=".cache-") as disk:
        [split] = load_splits(dataset, ("train",), loading(config, Path(disk), all_shards=True))
        parts, count = range(config.shard_count), len(dataset.splits["train"])
        sampler = Sampler(split, config, len(dataset.classes), parts, count)
        pairs = list(training_batches(sampler, range(batches)).as_numpy_iterator())
    return np.concatenate([image for image, _ in pairs]), np.concatenate(
        [mask for _, mask in pairs]
    )


def _title(config: TrainConfig, dataset: Dataset, asked: ShowBatchConfig) -> str:
    name = f"run {config.run}" if asked.run else Path(config.data).resolve().name
    batches = "the first batch" if asked.batches == 1 else f"the first {asked.batches} batches"
    size = describe(config.shape)
    return f"{name}: {batches} of {config.batch} from {len(dataset.splits['train'])} images, {size}"


def _settings(config: TrainConfig) -> list[str]:
    """The settings that influence the batches, in words."""
    cut = [f"crop {config.crop}", f"foreground {config.foreground:g}"]
    return [
        f"augment {config.augment}",
        f"mosaic {config.mosaic:g}",
        *(cut if config.crop else ["images resized whole"]),
        f"balance {'on' if config.balance else 'off'}",
        *([] if config.fold is None else [f"fold {config.fold}"]),
        f"seed {config.seed}",
    ]


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""

    def command(config: ShowBatchConfig) -> None:
        named = given(ShowBatchConfig, PROG, argv)
        fields = {field.name for field in dataclasses.fields(ShowBatchConfig)}
        print(show_batch(config, named & fields))

    return run(command, ShowBatchConfig, PROG, argv)


if __name__ == "__main__":
    sys.exit(main())
