"""Fit a network to a training split in stages, so that it can be stopped and resumed."""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import keras

from segtf.data.batches import training_batches, validation_batches
from segtf.data.records import Split, own_shards
from segtf.data.sampling import Sampler
from segtf.networks.losses import SegmentationLoss
from segtf.networks.model import build_model, fit_batchnorm, freeze_encoder
from segtf.networks.optimizers import make_optimizer, momentum_of
from segtf.run.config import TrainConfig
from segtf.run.folder import BACKUP, BEST, LOG, OVERLAYS, PROGRESS
from segtf.run.log import open_log
from segtf.run.loss_expression import parse_class_weights
from segtf.run.size import describe
from segtf.training import callbacks as of_ours
from segtf.training.backup import Backup, Position
from segtf.training.callbacks import BestModel
from segtf.training.cluster import barrier
from segtf.training.confusion import ConfusionCounts, PerClassIoU
from segtf.training.devices import (
    Devices,
    alone,
    is_out_of_memory,
)
from voc_builder.base.errors import UserError
from voc_builder.base.files import remove, replacing
from voc_builder.base.progress import note
from voc_builder.tree.voc import Dataset

PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.3, 0.08  # of the rate; fraction of the epochs


def fit(
    config: TrainConfig,
    devices: Devices,
    model: keras.Model,
    splits: dict[str, Split],
    dataset: Dataset,
    stop: Callable[[], bool] = bool,
) -> None:
    """Trains `model` on this process's shards, `splits["train"]`, and writes `log.csv`,
    `best.keras`, `backup/` and `overlays/progress/` into the run folder. Continues from the backup
    there if `config.resume`. Raises `UserError` if memory runs out or the loss becomes NaN,
    KeyboardInterrupt after the step in which `stop` returns true, once the backup is saved.
    """
    folder, classes = config.run_folder, len(dataset.classes)
    images = {name: len(ids) for name, ids in dataset.splits.items()}
    sampler = Sampler(splits["train"], config, classes, own_shards(config), images["train"])
    failures: list[Exception] = []
    validation = validation_batches(splits["val"], config, devices.local_count, failures)
    steps = sampler.steps_per_epoch
    if config.batchnorm_epochs:
        fit_batchnorm(model, momentum_of(config.batchnorm_epochs, config.epochs, steps))
    counts = ConfusionCounts(classes)
    calls = _Callbacks(config, counts, steps, splits["val"], dataset.classes, stop)
    position = calls.backup.position() if config.resume else Position()
    if position.epoch == config.epochs or position.stopped:
        note(f"training of {folder} is complete")
        return
    if config.process_id == 0:
        _tidy(folder, rows=position.epoch)
    trainers = _Trainers(config, devices, model, counts, steps, dataset)
    while position.epoch < config.epochs and not position.stopped:
        if position != Position():
            # also between stages: Keras ends each with the averages in place of the weights
            calls.backup.restore(trainers.at(position.epoch - (position.step == 0)), position)
        end = _end_of_stage(position, config)
        numbers = range(position.epoch * steps + position.step, end * steps)
        trainer = trainers.at(position.epoch)
        with _explained(config, failures):
            history = trainer.fit(
                training_batches(sampler, numbers, failures),
                validation_data=validation,
                steps_per_epoch=len(numbers) // (end - position.epoch),
                initial_epoch=position.epoch,
                epochs=end,
                shuffle=False,  # the batches are shuffled already
                verbose=0,
                callbacks=calls.of_stage(append=position.epoch > 0),
            )
        if not _ended_well(history, folder):
            return
        position = Position(end, stopped=bool(trainer.stop_training))
        barrier(config, f"epoch {end}")  # all read next what the first process saved


def _end_of_stage(position: Position, config: TrainConfig) -> int:
    """The epoch at which one call of Keras's `fit` ends: an interrupted epoch has a call of its
    own, and the encoder is unfrozen between two calls.
    """
    if position.step:
        return position.epoch + 1
    frozen = position.epoch < config.freeze_encoder
    return min(config.freeze_encoder, config.epochs) if frozen else config.epochs


@contextlib.contextmanager
def _explained(config: TrainConfig, failures: list[Exception]) -> Iterator[None]:
    """Turns an error of TensorFlow or JAX into one that the user can fix: the first of the
    `failures` of the input, or too large a batch.
    """
    try:
        yield
    except Exception as error:
        if failures:  # TensorFlow passes on only their text
            raise failures[0] from None
        if not is_out_of_memory(error):
            raise
        raise UserError(_out_of_memory(config)) from error


class _Trainers:
    """Trainers that share the weights of `model`: one for the epochs with a frozen encoder, one for
    the others.
    """

    def __init__(
        self,
        config: TrainConfig,
        devices: Devices,
        model: keras.Model,
        counts: ConfusionCounts,
        steps: int,
        dataset: Dataset,
    ) -> None:
        self.config = config
        self.devices = devices
        self.model = model
        self.counts = counts
        self.steps = steps
        pixels = [dataset.pixels["train"][name] for name in dataset.classes]
        weights = parse_class_weights(config.class_weights, dataset.classes, pixels)
        self.loss = SegmentationLoss(config.loss, weights)
        self.made: dict[bool, keras.Model] = {}  # by whether the encoder is frozen

    def at(self, epoch: int) -> keras.Model:
        """The trainer of an epoch, its encoder frozen or not."""
        frozen = epoch < self.config.freeze_encoder
        if self.config.freeze_encoder:
            freeze_encoder(self.model, self.config.encoder, frozen)
        if frozen not in self.made:
            with self.devices.scope():
                # an unfrozen encoder needs a new optimiser
                self.made[frozen] = self._make(0 if frozen else self.config.freeze_encoder)
        return self.made[frozen]

    def _make(self, epochs_before: int) -> keras.Model:
        trainer = of_ours.Trainer(self.model.input, self.model.output)
        trainer.compile(
            optimizer=make_optimizer(self.config, self.steps, epochs_before),
            loss=self.loss,
            metrics=[self.counts],
            jit_compile=self.devices.jit,
        )
        # built outside the traced step, which Keras would trace twice
        trainer.optimizer.build(trainer.trainable_variables)
        return trainer


class _Callbacks:
    """The callbacks of a run."""

    def __init__(
        self,
        config: TrainConfig,
        counts: ConfusionCounts,
        steps: int,
        validation: Split,
        classes: tuple[str, ...],
        stop: Callable[[], bool],
    ) -> None:
        folder = config.run_folder
        self.config = config
        self.writes = config.process_id == 0
        self.measured = of_ours.Measured(lambda: _double(config, len(classes)))
        path = folder / BEST if self.writes else None
        self.best = BestModel(self.measured, path, config.patient_epochs)
        self.plateau = None
        if config.schedule == "plateau":
            self.plateau = keras.callbacks.ReduceLROnPlateau(
                monitor="val_miou",
                mode="max",
                factor=PLATEAU_FACTOR,
                patience=max(round(PLATEAU_PATIENCE * config.epochs), 2),
            )
        self.backup = Backup(
            folder / BACKUP,
            self.best,
            steps,
            config.backup_fraction,
            counts=counts,
            plateau=self.plateau,
            stop=stop,
            writes=self.writes,
        )
        self.scores = PerClassIoU(counts, classes)
        self.pace = of_ours.Pace(config.batch or 0)
        self.overlays = of_ours.Overlays(
            self.measured, validation, classes, folder / OVERLAYS / PROGRESS, config.epochs
        )
        self.progress = of_ours.Progress(self.best, config.epochs)

    def of_stage(self, append: bool) -> list[keras.callbacks.Callback]:
        """All callbacks, in the order that they depend on; `append` continues the log."""
        log = of_ours.Log(str(self.config.run_folder / LOG), append=append)
        return [
            keras.callbacks.TerminateOnNaN(),
            self.measured,  # while the averages are in the network
            *([of_ours.Averages()] if self.config.ema_epochs else []),
            self.scores,
            self.pace,
            *([self.plateau] if self.plateau else []),
            *([log] if self.writes else []),
            self.best,
            self.backup,
            *([self.overlays, self.progress] if self.writes else []),
        ]


def _ended_well(history: keras.callbacks.History, folder: Path) -> bool:
    if math.isfinite(history.history["loss"][-1]):
        return True
    became = f"{folder}: the loss became NaN in epoch {history.epoch[-1] + 1}"
    if not (folder / BEST).is_file():
        raise UserError(f"{became}: try a lower --learning-rate")
    note(f"warning: {became}; the best network so far is kept")
    return False


def _double(config: TrainConfig, classes: int) -> keras.Model:
    """The same network with weights of its own, in float32 also for mixed training, to be saved and
    exported.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with alone():
            return build_model(config.arch, config.encoder, classes, config.shape)
    finally:
        keras.config.set_dtype_policy(policy)


def _tidy(folder: Path, rows: int) -> None:
    """Removes the incomplete files of a killed run, and the rows of its log after the `rows` epochs
    that are backed up.
    """
    for half in list(folder.rglob(".*.part*")):
        remove(half)
    log = folder / LOG
    if not rows:
        return
    with open_log(log) as file:
        kept = list(csv.reader(file))[: rows + 1]
    with replacing(log) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(kept)


def _out_of_memory(config: TrainConfig) -> str:
    steps = f"{config.batch} images of {describe(config.shape)} per step"
    return f"out of memory with {steps}: {smaller_steps(config)}"


def smaller_steps(config: TrainConfig) -> str:
    """The flags to try when a step does not fit into memory."""
    assert config.batch is not None
    if config.batch > 1:
        return f"try --batch {config.batch // 2} --accumulate {2 * config.accumulate}"
    return f"try a smaller {'--crop' if config.crop else '--size'} or encoder"
