"""Train as `segtf.train` does between building a data set and scoring it, and watch it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from scripts.make_fishki import FishkiConfig, make_fishki
from segtf.run.config import TrainConfig
from voc_builder.base.progress import note
from voc_builder.build import BuildConfig, build

if TYPE_CHECKING:
    from voc_builder.tree.voc import Dataset

Callbacks = list[Any]


def draw_dataset(folder: Path, count: int, size: int, split: str = "80/10/10") -> Dataset:
    """A data set of `count` drawn images of `size` x `size` in `folder`."""
    note(f"drawing {count} images of {size} x {size}")
    make_fishki(FishkiConfig(folder / "drawn", count=count, size=size, seed=1))
    return build(BuildConfig(folder / "drawn", folder / "voc", split=split))


@contextlib.contextmanager
def watched(change: Callable[[Callbacks], Callbacks]) -> Iterator[None]:
    """Within it every training of ours has the callbacks that `change` makes of its own."""
    from segtf.training.callbacks import Trainer

    fit = Trainer.fit

    def fit_watched(self: Any, *args: Any, callbacks: Callbacks, **others: Any) -> Any:
        return fit(self, *args, callbacks=change(callbacks), **others)

    with patch.object(Trainer, "fit", fit_watched):
        yield


def train_watched(
    config: TrainConfig, dataset: Dataset, disk: Path, change: Callable[[Callbacks], Callbacks]
) -> TrainConfig:
    """Prepares, decodes and fits, with all that a run's training does; the configuration with its
    batch decided.
    """
    from segtf.data.records import load_splits, loading
    from segtf.training.fitting import fit
    from segtf.training.prepare import prepare

    config, devices, model = prepare(config, dataset.classes, len(dataset.splits["train"]))
    splits = load_splits(dataset, ("train", "val"), loading(config, disk))
    config.run_folder.mkdir(parents=True)
    with watched(change):
        fit(config, devices, model, {split.name: split for split in splits}, dataset)
    return config
