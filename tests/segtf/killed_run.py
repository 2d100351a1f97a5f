"""A training of a few seconds that kills itself with SIGKILL at a given moment, mostly in its
second epoch, so that each start goes on from another's backup; for `test_survival`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

EPOCHS = 6  # of four steps


def warm_up() -> None:
    """Imports all that a training does, and computes nothing."""
    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    from segtf.data import pipelines  # noqa: F401


def child(data: str, artifacts: str, moment: str, resume: str) -> None:
    """One start of the run; it goes on if `resume` says so."""
    from segtf import train
    from segtf.run.config import TrainConfig

    train.finish = lambda folder: None  # scores and export are others' business
    die_at(moment)
    train.train(
        TrainConfig(
            data=Path(data),
            artifacts=Path(artifacts),
            run="run",
            resume=resume == "resume",
            arch="tiny",
            size=32,
            batch=4,
            epochs=EPOCHS,
            patience=0,
            deterministic=True,
            mosaic=0.3,
            backup_fraction=1,
        )
    )


def die_at(moment: str) -> None:
    """Has the process die at that moment."""
    import keras

    from segtf.training import callbacks

    if moment == "best":  # half the best network is written
        keras.Model.save = lambda self, path: die(Path(path).write_bytes(b"half"))
    elif moment == "step":  # in the middle of an epoch
        callbacks.Pace.on_train_batch_end = until(6, callbacks.Pace.on_train_batch_end, die)
    elif moment == "weights":  # half a checkpoint is written
        save = keras.Model.save_weights

        def save_half(self: Any, path: Any) -> None:
            save(self, path)
            with Path(path).open("r+b") as file:
                file.truncate(file.seek(0, 2) // 2)
            die()

        keras.Model.save_weights = until(2, save, save_half)
    elif moment == "state":  # the weights are there, the state that names them is not
        write = Path.write_text
        write_state = until(2, write, die)

        def write_text(self: Path, *a: Any, **k: Any) -> Any:
            return (write_state if self.parent.name == "backup" else write)(self, *a, **k)

        Path.write_text = write_text
    elif moment == "logged":  # the log has the epoch, the backup has not
        callbacks.BestModel.on_epoch_end = until(2, callbacks.BestModel.on_epoch_end, die)
    elif moment.startswith("after"):  # any moment
        timer = threading.Timer(float(moment.removeprefix("after")), die)
        callbacks.Pace.on_train_begin = lambda self, logs=None: timer.start()
    else:
        assert moment == "never"


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def until(number: int, usual: Callable[..., Any], last: Callable[..., Any]) -> Callable[..., Any]:
    """`usual`, of which the call of this number is another one."""
    left = iter([usual] * (number - 1))
    return lambda *a, **k: next(left, last)(*a, **k)
