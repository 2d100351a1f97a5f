"""Try every encoder of segmentation-models in every network: python -m scripts.check_encoders

Each is built, trained for a step, saved, reloaded and compared. What fails is not offered.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voc_builder.base.command import run
from voc_builder.base.tensorflow import import_tensorflow

LARGEST_DIFFERENCE = 1e-5  # of a probability, before and after the file


@dataclass(frozen=True)
class CheckConfig:
    """Try which encoders survive a training step and their file; prints a line for each."""

    arch: Literal["unet", "fpn", "linknet", "pspnet"] = "unet"
    """Architecture."""
    encoders: tuple[str, ...] = ()
    """Encoders to try; none: all of segmentation-models."""


def round_trip(arch: str, encoder: str) -> str:
    """`ok`, or what went wrong on the way."""
    import keras
    import numpy as np

    from segtf.networks.model import build_model, load_model

    keras.backend.clear_session()
    size = 96 if arch == "pspnet" else 64
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    try:
        network = build_model(arch, encoder, 3, (size, size))  # type: ignore[arg-type]
        network.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        network.train_on_batch(images, np.zeros((2, size, size), np.uint8))
        with tempfile.TemporaryDirectory() as folder:
            network.save(Path(folder) / "best.keras")
            again = load_model(Path(folder) / "best.keras")
            difference = float(np.abs(np.asarray(network(images)) - again(images)).max())
    except Exception as error:  # whatever the packages raise is the finding
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return "ok" if difference <= LARGEST_DIFFERENCE else f"reloads {difference:.1e} off"


def _command(config: CheckConfig) -> None:
    import_tensorflow()
    from segtf.networks.model import known_encoders

    for encoder in config.encoders or known_encoders():
        print(f"{config.arch:8} {encoder:18} {round_trip(config.arch, encoder)}", flush=True)


def main() -> int:
    """The command line."""
    return run(_command, CheckConfig, "python -m scripts.check_encoders")


if __name__ == "__main__":
    raise SystemExit(main())
