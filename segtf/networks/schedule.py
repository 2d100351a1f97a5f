"""The course of the learning rate over a run."""

from __future__ import annotations

from typing import Any, get_args

import keras
import numpy as np
from keras import ops

from segtf.run.config import Schedule

LAST = 0.01  # of the peak, where cosine ends
POWER = 0.9  # of poly, as in DeepLab (Chen et al. 2017, https://arxiv.org/abs/1606.00915)
# as PyTorch's OneCycleLR, after Smith and Topin 2018, https://arxiv.org/abs/1708.07120
CYCLE_RISE, CYCLE_FIRST, CYCLE_LAST = 0.3, 1 / 25, 1e-4 / 25


@keras.saving.register_keras_serializable(package="segtf")
class Course(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at each of `steps` updates, `peak` at its highest.

    `kind` is cosine (down to a hundredth), poly, one-cycle or constant. The first `warm_up` share
    of the steps rises to the peak in a line; one-cycle has a rise of its own. `offset` is the
    number of updates that were made before this optimiser began.
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
            share = ops.where(done < rising, up, 1 - (1 - CYCLE_LAST) * _half_wave(fall))
        elif self.kind == "cosine":
            share = rise * (1 - (1 - LAST) * _half_wave(fall))
        elif self.kind == "poly":
            share = rise * (1 - fall) ** POWER
        else:
            share = rise
        return self.peak * share

    def get_config(self) -> dict[str, Any]:
        names = ("kind", "peak", "steps", "warm_up", "offset")
        return {name: getattr(self, name) for name in names}


def _half_wave(share: Any) -> Any:
    """From 0 at 0 to 1 at 1, level at both ends."""
    return (1 - ops.cos(np.pi * share)) / 2
