"""Make the optimiser of a run: its kind, the course of its rate, decay, clipping and averages."""

from __future__ import annotations

from typing import Any

import keras

from segtf.networks.schedule import Course
from segtf.run.config import TrainConfig

# peaks of the learning rate for an encoder with trained weights, and from random ones
RATES = {
    "adam": (3e-4, 1e-3),
    "adamw": (3e-4, 1e-3),
    "lion": (3e-5, 1e-4),  # a tenth (Chen et al. 2023, https://arxiv.org/abs/2302.06675)
    "sgd": (9e-3, 3e-2),
}
SGD_MOMENTUM = 0.9
SHARE_OF_RUN = 0.1  # that moving averages remember at most, or they would hold the random start
UNDECAYED = ("bias", "beta", "gamma")  # weights of normalisation and biases do not overfit


def make_optimizer(
    config: TrainConfig, steps: int, epochs_before: int = 0
) -> keras.optimizers.Optimizer:
    """The optimiser of a run of `steps` steps an epoch, whose learning rate is decided, for what
    remains of it after `epochs_before` epochs with another.
    """
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
        extra["weight_decay"] = config.weight_decay
    optimizer = kind(
        rate,
        global_clipnorm=config.clip,
        gradient_accumulation_steps=config.accumulate if config.accumulate > 1 else None,
        use_ema=config.ema_epochs > 0,
        ema_momentum=momentum_of(config.ema_epochs, config.epochs, steps),
        **extra,
    )
    if optimizer.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=list(UNDECAYED))
    return optimizer


def momentum_of(remembered: float, epochs: int, steps: int) -> float:
    """The momentum of a moving average that remembers so many epochs of `steps` steps, but not more
    than a tenth of the run, and four steps at least.
    """
    return 1 - 1 / max(steps * min(remembered, SHARE_OF_RUN * epochs), 4)
