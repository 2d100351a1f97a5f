"""Optimisers of a run: kind, learning-rate schedule, weight decay, clipping, moving average."""

from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
from keras import ops

from segtf.run.config import Schedule, TrainConfig

# peaks of the learning rate for an encoder with trained weights, and from random ones
RATES = {
    "adam": (3e-4, 1e-3),
    "adamw": (3e-4, 1e-3),
    "lion": (3e-5, 1e-4),  # a tenth (Chen et al. 2023, https://arxiv.org/abs/2302.06675)
    "sgd": (9e-3, 3e-2),
}
SGD_MOMENTUM = 0.9
LONGEST_AVERAGE = 0.1  # fraction of the run, or a moving average would hold the random start
UNDECAYED = ("bias", "beta", "gamma")  # weights of normalisation and biases do not overfit
LAST = 0.01  # of the peak, where cosine ends
POWER = 0.9  # of poly, as in DeepLab (Chen et al. 2017, https://arxiv.org/abs/1606.00915)
# as PyTorch's OneCycleLR, after Smith and Topin 2018, https://arxiv.org/abs/1708.07120
CYCLE_RISE, CYCLE_FIRST, CYCLE_LAST = 0.3, 1 / 25, 1e-4 / 25


def make_optimizer(
    config: TrainConfig, steps: int, epochs_before: int = 0
) -> keras.optimizers.Optimizer:
    """The optimiser of a run with `steps` steps per epoch and a decided learning rate, for what
    remains of it after `epochs_before` epochs with another optimiser.
    """
    assert config.learning_rate is not None
    rate: float | LearningRate = config.learning_rate
    if config.schedule != "plateau":
        # Keras asks for the rate of each step, also of those that only accumulate
        whole, before = steps * config.epochs, steps * epochs_before
        rate = LearningRate(config.schedule, config.learning_rate, whole, config.warm_up, before)
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


def momentum_of(window: float, epochs: int, steps: int) -> float:
    """The momentum of a moving average over `window` epochs of `steps` steps, a tenth of the run at
    most and four steps at least.
    """
    return 1 - 1 / max(steps * min(window, LONGEST_AVERAGE * epochs), 4)


@keras.saving.register_keras_serializable(package="segtf")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at each of `steps` updates, `peak` at its highest.

    `kind` is cosine (down to a hundredth), poly, one-cycle or constant. The rate rises linearly
    over the first `warm_up` fraction of the steps; one-cycle has a rise of its own. `offset` is the
    number of updates before this optimiser began.
    """

    def __init__(
        self, kind: Schedule, peak: float, steps: int, warm_up: float = 0.0, offset: int = 0
    ) -> None:
        super().__init__()
        if kind not in get_args(Schedule) or kind == "plateau":
            raise ValueError(f"kind must be cosine, poly, one-cycle or constant. Received: {kind}")
        self.kind = kind
        self.peak = peak
        self.steps = steps
        self.warm_up = warm_up
        self.offset = offset

    def __call__(self, step: Any) -> Any:
        done = ops.cast(step, "float32") + self.offset
        one_cycle = self.kind == "one-cycle"
        rising = max((CYCLE_RISE if one_cycle else self.warm_up) * self.steps, 1.0)
        rise = ops.minimum(done / rising, 1.0)
        fall = ops.clip((done - rising) / max(self.steps - rising, 1.0), 0.0, 1.0)
        if one_cycle:
            up = CYCLE_FIRST + (1 - CYCLE_FIRST) * _half_wave(rise)
            factor = ops.where(done < rising, up, 1 - (1 - CYCLE_LAST) * _half_wave(fall))
        elif self.kind == "cosine":
            factor = rise * (1 - (1 - LAST) * _half_wave(fall))
        elif self.kind == "poly":
            factor = rise * (1 - fall) ** POWER
        else:
            factor = rise
        return self.peak * factor

    def get_config(self) -> dict[str, Any]:
        names = ("kind", "peak", "steps", "warm_up", "offset")
        return {name: getattr(self, name) for name in names}


def _half_wave(fraction: Any) -> Any:
    """From 0 at 0 to 1 at 1, level at both ends."""
    return (1 - ops.cos(np.pi * fraction)) / 2
