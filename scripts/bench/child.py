"""Train in a process of its own and write down when each event happened: the child of
`scripts.bench.train`.

python -m scripts.bench.child EVENTS train FLAGS    `segtf.train FLAGS`, the whole command
python -m scripts.bench.child EVENTS fit FLAGS      its training alone, without scores and export
python -m scripts.bench.child EVENTS memory FLAGS   the same; events have the process's memory
python -m scripts.bench.child EVENTS bare RUN       the network of a run in a bare `keras.Model.fit`
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil

from segtf.run.config import TrainConfig
from segtf.run.folder import read_config, read_run_dataset
from voc_builder.base.command import parse
from voc_builder.base.tensorflow import import_tensorflow


def own_memory() -> int:
    """Bytes of this process that are no pages of files (Linux). What glibc's allocator holds free,
    tens of megabytes that come and go, is given back first: it would hide a leak.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    memory = psutil.Process().memory_info()
    return memory.rss - memory.shared


def recorder(events: Path, *, memory: bool) -> Any:
    """A Keras callback that appends a line of JSON for each event of training to `events`."""
    import keras

    class Recorder(keras.callbacks.Callback):
        stepped = False

        def record(self, event: str) -> None:
            line: dict[str, Any] = {"event": event, "time": time.time()}
            if memory and event == "epoch end":
                line["memory"] = own_memory()
            with events.open("a", encoding="utf-8") as file:
                file.write(f"{json.dumps(line)}\n")

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.record("training")

        def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
            if not self.stepped:
                self.record("first step")
            self.stepped = True

        def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
            self.record("validation")

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            self.record("epoch end")

    return Recorder()


def train(kind: str, flags: list[str], callback: Any) -> int:
    """Trains as `segtf.train` does, with one more callback after all others."""
    from segtf import train
    from segtf.training.callbacks import Trainer

    fit = Trainer.fit

    def fit_recorded(self: Any, *args: Any, callbacks: list[Any], **others: Any) -> Any:
        return fit(self, *args, callbacks=[*callbacks, callback], **others)

    with patch.object(Trainer, "fit", fit_recorded):
        if kind == "train":
            sys.argv[1:] = flags
            return train.main()
        train.train_network(parse(TrainConfig, train.PROG, flags))
    return 0


def fit_bare(run: Path, callback: Any) -> int:
    """Fits the network of a run to the run's own augmented batches, which lie ready in memory, with
    plain Adam, no metric and no other callback.
    """
    import keras
    import numpy as np
    import tensorflow as tf

    from segtf.data.batches import training_batches, validation_batches
    from segtf.data.records import load_splits, loading, own_shards
    from segtf.data.sampling import Sampler
    from segtf.networks.losses import SegmentationLoss
    from segtf.networks.model import build_model
    from segtf.training.devices import find_devices

    config, dataset = read_config(run), read_run_dataset(run)
    assert config.learning_rate is not None
    devices, classes = find_devices(config.precision), len(dataset.classes)
    # TensorFlow as it comes: `find_devices` turns the rewriting of graphs off on a CPU
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    keras.config.set_dtype_policy(devices.policy)

    def in_memory(batches: Any) -> list[Any]:
        return [np.concatenate(arrays) for arrays in zip(*batches.as_numpy_iterator(), strict=True)]

    with tempfile.TemporaryDirectory() as disk:
        splits = load_splits(dataset, ("train", "val"), loading(config, Path(disk)))
        images = len(dataset.splits["train"])
        sampler = Sampler(splits[0], config, classes, own_shards(config), images)
        steps = sampler.steps_per_epoch
        training = in_memory(training_batches(sampler, range(config.epochs * steps)))
        validation = validation_batches(splits[1], config, devices.local_count)
        batch = validation.element_spec[0].shape[0]
        validation = in_memory(validation)
    network = build_model(config.arch, config.encoder, classes, config.shape)
    optimizer = keras.optimizers.Adam(config.learning_rate)
    network.compile(optimizer, SegmentationLoss(config.loss), jit_compile=devices.jit)
    network.fit(
        *training,
        batch_size=config.batch,
        epochs=config.epochs,
        steps_per_epoch=steps,
        shuffle=False,
        validation_data=tuple(validation),
        validation_batch_size=batch,
        verbose=0,
        callbacks=[callback],
    )
    return 0


def main() -> int:
    """The command line."""
    events, kind, *flags = sys.argv[1:]
    import_tensorflow()
    callback = recorder(Path(events), memory=kind == "memory")
    if kind == "bare":
        return fit_bare(Path(flags[0]), callback)
    return train(kind, flags, callback)


if __name__ == "__main__":
    raise SystemExit(main())
