"""Check which encoders of segmentation-models work: python -m scripts.check_encoders --arch fpn

Each is built, trained for a step, saved, reloaded and compared; segtf offers those that pass.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voc_builder.base.command import run
from voc_builder.base.tensorflow import import_tensorflow

TOLERANCE = 1e-5  # of a probability before and after saving


@dataclass(frozen=True)
class CheckConfig:
    """Check which encoders survive a training step and a round trip through a file; prints a line
    for each.
    """

    arch: Literal["unet", "fpn", "linknet", "pspnet"] = "unet"
    """Architecture."""
    encoders: tuple[str, ...] = ()
    """Encoders to check; none: all of segmentation-models."""


def round_trip(arch: str, encoder: str) -> str:
    """`ok`, or the error."""
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
    except Exception as error:  # the packages raise all kinds
        return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return "ok" if difference <= TOLERANCE else f"differs by {difference:.1e} after reloading"


def check_encoders(config: CheckConfig) -> None:
    """Prints the result of each encoder."""
    import_tensorflow()
    from segtf.networks.segmentation_models import known_encoders

    for encoder in config.encoders or known_encoders():
        print(f"{config.arch:8} {encoder:18} {round_trip(config.arch, encoder)}", flush=True)


def main() -> int:
    """The command line."""
    return run(check_encoders, CheckConfig, "python -m scripts.check_encoders")


if __name__ == "__main__":
    raise SystemExit(main())
