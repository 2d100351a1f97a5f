"""Fit a network to a training split, stage by stage, so that it can be stopped and gone on with."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from segtf import callbacks as of_ours
from segtf.backup import Backup, BestModel, Position, has_backup
from segtf.cluster import barrier
from segtf.config import TrainConfig
from segtf.confusion import ConfusionCounts, PerClassIoU
from segtf.data import Split, own_shares, training_batches, validation_batches
from segtf.devices import (
    Devices,
    alone,
    batch_that_fits,
    find_devices,
    is_out_of_memory,
    share_batches,
)
from segtf.loss_expression import parse_class_weights
from segtf.losses import SegmentationLoss
from segtf.model import build_model, fit_batchnorm, freeze_encoder, load_encoder_weights
from segtf.run_folder import BACKUP, BEST, LOG, OVERLAYS, PROGRESS
from segtf.sampling import Sampler
from segtf.schedule import Course
from voc_builder.errors import UserError
from voc_builder.files import remove, replacing
from voc_builder.progress import note
from voc_builder.voc import Dataset

# peaks of the learning rate for an encoder with trained weights, and from random ones
RATES = {
    "adam": (3e-4, 1e-3),
    "adamw": (3e-4, 1e-3),
    "lion": (3e-5, 1e-4),  # a tenth (Chen et al. 2023, https://arxiv.org/abs/2302.06675)
    "sgd": (1e-2, 3e-2),
}
SGD_MOMENTUM = 0.9
SHARE_OF_RUN = 0.1  # that moving averages remember at most, or they would hold the random start
PLATEAU_FACTOR, PLATEAU_SHARE = 0.3, 0.08  # of the rate; of the epochs without a better val_miou
UNDECAYED = ("bias", "beta", "gamma")  # weights of normalisation and biases do not overfit


def prepare(
    config: TrainConfig, classes: int, photos: int
) -> tuple[TrainConfig, Devices, keras.Model]:
    """The configuration with batch, shares and learning rate decided, the devices, and the network
    to train, with the encoder's weights in place. `photos` is the size of the training split.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic and keras.backend.backend() == "tensorflow":
        tf.config.experimental.enable_op_determinism()
    devices = find_devices(config.precision)
    keras.config.set_dtype_policy(devices.policy)
    share_batches(devices)
    with devices.scope():
        model = build_model(config.arch, config.encoder, classes, config.side)
    goes_on = config.resume and has_backup(config.run_folder / BACKUP)
    trained = not goes_on and _fill_encoder(model, config)
    if config.freeze_encoder and not trained and not goes_on:
        raise UserError(
            f"--freeze-encoder {config.freeze_encoder}: the encoder has random weights, which are "
            "not worth keeping: name --encoder-weights FILE, or leave it out"
        )
    rate = config.learning_rate or RATES[config.optimizer][0 if trained else 1]
    samples = photos * config.samples_a_photo
    batch = config.batch or batch_that_fits(devices, model, config.side, samples)
    shares = config.part_count
    alike = math.lcm(shares, devices.sharing)
    if config.batch is not None and batch % alike:
        raise UserError(
            f"--batch {batch}: must be a multiple of {alike}, so that all {devices.sharing} "
            "devices have as many photos"
        )
    batch = max(batch // alike, 1) * alike
    if batch > samples:
        raise UserError(f"--batch {batch}: there are only {samples} photos to train on")
    if batch * config.accumulate > samples:
        raise UserError(
            f"--accumulate {config.accumulate}: so many steps of {batch} photos are more than the "
            f"{samples} photos to train on: take {samples // batch} at most, or a smaller --batch"
        )
    return replace(config, batch=batch, learning_rate=rate, shares=shares), devices, model


def _fill_encoder(model: keras.Model, config: TrainConfig) -> bool:
    """Whether the encoder has trained weights now."""
    source = config.encoder_weights
    if source == "none" or config.arch == "unet_plain":
        return False
    try:
        wanted = "imagenet" if source == "auto" else source
        note(load_encoder_weights(model, config.encoder, wanted, size=config.side))
        return True
    except UserError as error:
        if source != "auto":
            raise
        note(f"warning: {error}; training starts from random weights")
        return False


def fit(
    config: TrainConfig,
    devices: Devices,
    model: keras.Model,
    splits: dict[str, Split],
    dataset: Dataset,
    stop: Callable[[], bool] = bool,
) -> None:
    """Trains `model` on this process's part of `splits["train"]`, which leaves `log.csv`,
    `best.keras`, `backup/` and `overlays/progress/` in the run folder. Goes on from the backup
    there if `config.resume`. Raises `UserError` if memory runs out or the loss becomes NaN,
    KeyboardInterrupt after the step in which `stop` begins to say so; what was trained is kept.
    """
    folder, classes = config.run_folder, len(dataset.classes)
    photos = {name: len(ids) for name, ids in dataset.splits.items()}
    sampler = Sampler(splits["train"], config, classes, own_shares(config), photos["train"])
    failures: list[Exception] = []
    validation = validation_batches(splits["val"], config, photos["val"], devices.local, failures)
    steps = sampler.steps_per_epoch
    if config.batchnorm_epochs:
        fit_batchnorm(model, _momentum(config.batchnorm_epochs, config.epochs, steps))
    counts = ConfusionCounts(classes)
    calls = _Callbacks(config, counts, steps, splits["val"], dataset.classes, stop)
    position = calls.backup.position() if config.resume else Position()
    if position.epoch == config.epochs or position.stopped:
        note(f"training of {folder} is complete")
        return
    if config.process_id == 0:
        _tidy(folder, rows=position.epoch)
    trainers: dict[bool, keras.Model] = {}  # by whether the encoder is frozen

    def trainer_at(epoch: int) -> keras.Model:
        frozen = epoch < config.freeze_encoder
        if config.freeze_encoder:
            freeze_encoder(model, config.encoder, frozen)
        if frozen not in trainers:
            with devices.scope():
                before = _epochs_before(epoch, config)
                trainers[frozen] = _compiled(model, counts, config, devices, steps, before, dataset)
        return trainers[frozen]

    while position.epoch < config.epochs and not position.stopped:
        if position != Position():
            # from stage to stage too: at its end Keras leaves the averages in place of the weights
            calls.backup.restore(trainer_at(position.epoch - (position.step == 0)), position)
        end = _end_of_stage(position, config)
        numbers = range(position.epoch * steps + position.step, end * steps)
        trainer = trainer_at(position.epoch)
        try:
            history = trainer.fit(
                training_batches(sampler, numbers, failures),
                validation_data=validation,
                steps_per_epoch=len(numbers) // (end - position.epoch),
                initial_epoch=position.epoch,
                epochs=end,
                shuffle=False,  # the batches come shuffled
                verbose=0,
                callbacks=calls.of_stage(append=position.epoch > 0),
            )
        except Exception as error:
            if failures:  # of which TensorFlow passes on the text alone
                raise failures[0] from None
            if not is_out_of_memory(error):
                raise
            raise UserError(_out_of_memory(config)) from error
        if not _ended_well(history, folder):
            return
        position = Position(end, stopped=bool(trainer.stop_training))
        barrier(config, f"epoch {end}")  # what the first process saved is what all read next


def _end_of_stage(position: Position, config: TrainConfig) -> int:
    """The epoch before which one call of Keras's `fit` ends: a broken-off epoch is finished by
    itself, and the encoder is set free between two calls.
    """
    if position.step:
        return position.epoch + 1
    frozen = position.epoch < config.freeze_encoder
    return min(config.freeze_encoder, config.epochs) if frozen else config.epochs


def _epochs_before(epoch: int, config: TrainConfig) -> int:
    """Epochs that were over when the optimiser of this epoch began: setting the encoder free is a
    new one's begin.
    """
    return 0 if epoch < config.freeze_encoder else config.freeze_encoder


class _Callbacks:
    """The callbacks of a run, and those of them that outlive a stage."""

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
                patience=max(round(PLATEAU_SHARE * config.epochs), 2),
            )
        self.backup = Backup(
            folder / BACKUP,
            self.best,
            steps,
            config.backup_share,
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
        """All, in the order in which they need each other; `append` goes on with the log."""
        log = of_ours.Log(str(self.config.run_folder / LOG), append=append)
        return [
            keras.callbacks.TerminateOnNaN(),
            self.measured,  # before the averages leave the network again
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
    note(f"warning: {became}; the best network before it is kept")
    return False


def _compiled(
    model: keras.Model,
    counts: ConfusionCounts,
    config: TrainConfig,
    devices: Devices,
    steps: int,
    epochs_before: int,
    dataset: Dataset,
) -> keras.Model:
    """A network that shares the weights of `model` and has what training needs after so many epochs
    with another optimiser.
    """
    pixels = [dataset.pixels["train"][name] for name in dataset.classes]
    weights = parse_class_weights(config.class_weights, dataset.classes, pixels)
    trainer = of_ours.Trainer(model.input, model.output)
    trainer.compile(
        optimizer=_optimizer(config, steps, epochs_before),
        loss=SegmentationLoss(config.loss, weights),
        metrics=[counts],
        jit_compile=devices.jit,
    )
    # built here, outside the traced step: else Keras traces it twice
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def _optimizer(config: TrainConfig, steps: int, epochs_before: int) -> keras.optimizers.Optimizer:
    assert config.learning_rate is not None
    rate: float | Course = config.learning_rate
    if config.schedule != "plateau":
        # Keras asks for the rate of each step, also of those that only accumulate
        whole, before = steps * config.epochs, steps * epochs_before
        rate = Course(config.schedule, config.learning_rate, whole, config.warm_up, before)
    kind = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "lion": keras.optimizers.Lion,
        "sgd": keras.optimizers.SGD,
    }[config.optimizer]
    extra: dict[str, Any] = {}
    if config.optimizer == "sgd":
        extra = {"momentum": SGD_MOMENTUM, "nesterov": True}
    if config.weight_decay is not None:
        extra["weight_decay"] = config.weight_decay or None
    optimizer = kind(
        rate,
        global_clipnorm=config.clip,
        gradient_accumulation_steps=config.accumulate if config.accumulate > 1 else None,
        use_ema=config.ema_epochs > 0,
        ema_momentum=_momentum(config.ema_epochs, config.epochs, steps),
        **extra,
    )
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    return optimizer


def _double(config: TrainConfig, classes: int) -> keras.Model:
    """The same network with weights of its own, in float32 also where training is mixed: what is
    kept and exported.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        with alone():
            return build_model(config.arch, config.encoder, classes, config.side)
    finally:
        keras.config.set_dtype_policy(policy)


def _momentum(remembered: float, epochs: int, steps: int) -> float:
    """The momentum of a moving average that remembers so many epochs of `steps` steps, but not more
    than a tenth of the run, and four steps at least.
    """
    return 1 - 1 / max(steps * min(remembered, SHARE_OF_RUN * epochs), 4)


def _tidy(folder: Path, rows: int) -> None:
    """Removes what a run that was killed had half written, and what its log has beyond the `rows`
    epochs that are backed up.
    """
    for half in list(folder.rglob(".*.part*")):
        remove(half)
    log = folder / LOG
    if not rows:
        return
    with log.open(encoding="utf-8", newline="") as file:
        kept = list(csv.reader(file))[: rows + 1]
    with replacing(log) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(kept)


def _out_of_memory(config: TrainConfig) -> str:
    assert config.batch is not None
    smaller = "--crop" if config.crop else "--size"
    cure = (
        f"try --batch {config.batch // 2} --accumulate {2 * config.accumulate}"
        if config.batch > 1
        else f"try a smaller {smaller} or encoder"
    )
    return (
        f"out of memory with {config.batch} photos of {config.side} x {config.side} a step: {cure}"
    )
