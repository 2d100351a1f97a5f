"""Prepare a run: devices, network, initial weights, batch and learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import keras
import tensorflow as tf

from segtf.networks.model import build_model, load_encoder_weights
from segtf.networks.optimizers import RATES
from segtf.run.architectures import has_encoder
from segtf.run.config import TrainConfig
from segtf.run.folder import BACKUP
from segtf.training.backup import has_backup
from segtf.training.devices import Devices, batch_that_fits, find_devices, shard_batches
from segtf.training.init_from import load_init_from
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note


def prepare(
    config: TrainConfig, classes: Sequence[str], images: int
) -> tuple[TrainConfig, Devices, keras.Model]:
    """The configuration with batch, shards and learning rate decided, the devices, and the network
    with its initial weights. `images` is the size of the training split. Raises `UserError` for a
    batch or weights that do not fit.
    """
    keras.utils.set_random_seed(config.seed)
    if config.deterministic and keras.backend.backend() == "tensorflow":
        tf.config.experimental.enable_op_determinism()
    devices = find_devices(config.precision)
    keras.config.set_dtype_policy(devices.policy)
    shard_batches(devices)
    with devices.scope():
        model = build_model(config.arch, config.encoder, len(classes), config.shape)
    goes_on = config.resume and has_backup(config.run_folder / BACKUP)
    trained = not goes_on and _fill(model, config, classes)
    if config.freeze_encoder and not trained and not goes_on:
        raise UserError(
            f"--freeze-encoder {config.freeze_encoder}: the encoder has random weights: name "
            "--encoder-weights FILE, or leave it out"
        )
    rate = config.learning_rate or RATES[config.optimizer][0 if trained else 1]
    batch = _batch(config, devices, model, images * config.samples_per_image)
    decided = replace(config, batch=batch, learning_rate=rate, shards=config.shard_count)
    return decided, devices, model


def _fill(model: keras.Model, config: TrainConfig, classes: Sequence[str]) -> bool:
    """Loads the initial weights; whether the network, or its encoder, has trained ones now."""
    if config.init_from is not None:
        note(load_init_from(model, config, classes))
        return True
    source = config.encoder_weights
    if source == "none" or not has_encoder(config.arch):
        return False
    try:
        wanted = "imagenet" if source == "auto" else source
        note(load_encoder_weights(model, config.encoder, wanted, shape=config.shape))
        return True
    except UserError as error:
        if source != "auto":
            raise
        if config.processes > 1:  # others may find them, and all must start alike
            raise UserError(
                f"{error}; {config.processes} processes must start with the same weights: name "
                "--encoder-weights FILE, which all of them can read, or none"
            ) from error
        note(f"warning: {error}; training starts from random weights")
        return False


def _batch(config: TrainConfig, devices: Devices, model: keras.Model, samples: int) -> int:
    """Samples per step, equally many for each device."""
    batch = config.batch or batch_that_fits(
        devices, model, config.shape, samples, repeatable=config.deterministic
    )
    alike = math.lcm(config.shard_count, devices.count)
    if config.batch is not None and batch % alike:
        raise UserError(
            f"--batch {batch}: must be a multiple of {alike}, so that all {devices.count} "
            "devices have equally many images"
        )
    batch = max(batch // alike, 1) * alike
    if batch > samples:
        raise UserError(f"--batch {batch}: there are only {samples} images to train on")
    if batch * config.accumulate > samples:
        raise UserError(
            f"--accumulate {config.accumulate}: so many steps of {batch} images are more than the "
            f"{samples} images to train on: take {samples // batch} at most, or a smaller --batch"
        )
    return batch
