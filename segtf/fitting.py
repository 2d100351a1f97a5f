"""Fit a network to a training split, epoch by epoch, so that it can be stopped and gone on with."""

from __future__ import annotations

import csv
import logging
import math
from dataclasses import replace
from pathlib import Path

import keras
import tensorflow as tf

from segtf import callbacks as of_ours
from segtf.config import BACKUP, BEST, LOG, OVERLAYS, PROGRESS, TrainConfig
from segtf.confusion import ConfusionCounts, PerClassIoU
from segtf.data import Split, batches, steps_per_epoch, training_batches
from segtf.devices import Devices, batch_that_fits, find_devices
from segtf.losses import SegmentationLoss
from segtf.model import build_model, fit_batchnorm, load_encoder_weights
from voc_builder.errors import UserError
from voc_builder.files import replacing
from voc_builder.progress import note

WARM_UP = 0.05  # of all steps
RATE_TRAINED, RATE_RANDOM = 3e-4, 1e-3  # peaks for an encoder with and without trained weights
# what moving averages remember: in a short run a tenth of it, or they would hold the random start
AVERAGED_EPOCHS, BATCHNORM_EPOCHS, SHARE_OF_RUN = 2.0, 1.0, 0.1
LAST_RATE = 0.01  # of the peak, at the end of the cosine


def prepare(
    config: TrainConfig, classes: int, photos: int
) -> tuple[TrainConfig, Devices, keras.Model]:
    """The configuration with batch and learning rate decided, the devices, and the network to
    train, with the encoder's weights in place. `photos` is the size of the training split.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    keras.utils.set_random_seed(config.seed)
    devices = find_devices(config.precision)
    keras.config.set_dtype_policy(devices.policy)
    with devices.strategy.scope():
        model = build_model(config.arch, config.encoder, classes, config.size)
    goes_on = config.resume and of_ours.has_backup(config.run_folder / BACKUP)
    trained = not goes_on and _fill_encoder(model, config)
    rate = config.learning_rate or (RATE_TRAINED if trained else RATE_RANDOM)
    batch = config.batch or batch_that_fits(devices, model, config.size, photos)
    if batch > photos:
        raise UserError(f"--batch {batch}: there are only {photos} photos to train on")
    return replace(config, batch=batch, learning_rate=rate), devices, model


def _fill_encoder(model: keras.Model, config: TrainConfig) -> bool:
    """Whether the encoder has trained weights now."""
    source = config.encoder_weights
    if source == "none" or config.arch == "unet_plain":
        return False
    try:
        wanted = "imagenet" if source == "auto" else source
        note(load_encoder_weights(model, config.encoder, wanted, size=config.size))
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
    training: Split,
    validation: Split,
    classes: tuple[str, ...],
) -> None:
    """Trains `model`, which leaves `log.csv`, `best.keras`, `backup/` and `overlays/progress/` in
    the run folder. Goes on from the backup there if `config.resume`. Raises `UserError` if memory
    runs out or the loss becomes NaN, KeyboardInterrupt on Ctrl-C; the last whole epoch is kept.
    """
    folder, batch = config.run_folder, config.batch
    assert batch is not None
    steps = steps_per_epoch(training, batch)
    fit_batchnorm(model, momentum_over(steps * min(BATCHNORM_EPOCHS, SHARE_OF_RUN * config.epochs)))
    with devices.strategy.scope():
        counts = ConfusionCounts(len(classes))
        trainer = _compiled(model, counts, config, devices, steps)
    averaged = _double(config, len(classes))
    best = of_ours.BestModel(averaged, folder / BEST, config.patient_epochs)
    backup = of_ours.Backup(folder / BACKUP, best)
    start = backup.restore(trainer, config.epochs) if config.resume else 0
    if start == config.epochs:
        note(f"training of {folder} is complete")
        return
    _cut_log(folder / LOG, rows=start)
    epochs = range(start, config.epochs)
    stream = training_batches(
        training, batch=batch, augment=config.augment, seed=config.seed, epochs=epochs
    )
    try:
        history = trainer.fit(
            stream,
            validation_data=batches(validation, batch),
            steps_per_epoch=steps,
            initial_epoch=start,
            epochs=config.epochs,
            shuffle=False,  # the batches come shuffled
            verbose=0,
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                of_ours.AveragedWeights(averaged),
                PerClassIoU(counts, classes),
                of_ours.Pace(steps * batch),
                keras.callbacks.CSVLogger(str(folder / LOG), append=start > 0),
                best,
                backup,
                of_ours.Overlays(
                    averaged, validation, classes, folder / OVERLAYS / PROGRESS, config.epochs
                ),
                of_ours.Progress(best),
            ],
        )
    except tf.errors.ResourceExhaustedError as error:
        raise UserError(_out_of_memory(batch, config.size)) from error
    _check_end(history, folder)


def _check_end(history: keras.callbacks.History, folder: Path) -> None:
    if math.isfinite(history.history["loss"][-1]):
        return
    became = f"{folder}: the loss became NaN in epoch {history.epoch[-1] + 1}"
    if not (folder / BEST).is_file():
        raise UserError(f"{became}: try a lower --learning-rate")
    note(f"warning: {became}; the best network before it is kept")


def _compiled(
    model: keras.Model,
    counts: ConfusionCounts,
    config: TrainConfig,
    devices: Devices,
    steps: int,
) -> keras.Model:
    """A network that shares the weights of `model` and has what training needs."""
    total = steps * config.epochs
    warm_up = max(int(total * WARM_UP), 1)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(total - warm_up, 1),
        alpha=LAST_RATE,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up,
    )
    momentum = momentum_over(steps * min(AVERAGED_EPOCHS, SHARE_OF_RUN * config.epochs))
    trainer = keras.Model(model.input, model.output)
    trainer.compile(
        optimizer=keras.optimizers.Adam(rate, use_ema=True, ema_momentum=momentum),
        loss=SegmentationLoss(config.loss),
        metrics=[counts],
        jit_compile=devices.jit,
    )
    # built here, outside the traced step: else Keras traces it twice
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def _double(config: TrainConfig, classes: int) -> keras.Model:
    """The same network with weights of its own, in float32 also where training is mixed: what is
    kept and exported.
    """
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return build_model(config.arch, config.encoder, classes, config.size)
    finally:
        keras.config.set_dtype_policy(policy)


def momentum_over(steps: float) -> float:
    """The momentum of a moving average that remembers about `steps` steps, four at least."""
    return 1 - 1 / max(steps, 4)


def _cut_log(log: Path, rows: int) -> None:
    """Keeps the first `rows` epochs: a run may have been killed between its log and its backup."""
    if not rows:
        return
    with log.open(encoding="utf-8", newline="") as file:
        kept = list(csv.reader(file))[: rows + 1]
    with replacing(log) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(kept)


def _out_of_memory(batch: int, size: int) -> str:
    cure = f"try --batch {batch // 2}" if batch > 1 else "try a smaller --size or encoder"
    return f"out of memory with {batch} photos of {size} x {size} a step: {cure}"
