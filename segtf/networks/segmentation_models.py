"""Adapter of the package segmentation-models, whose last release, of 2020, was written for Keras 2.

Each shim says what it is for. Should the package break, its maintained fork `segmodels-keras` is
the way out: it is used where segmentation-models is not installed.
"""

from __future__ import annotations

import contextlib
import io
import os
import types
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from segtf.run.architectures import Arch
from segtf.run.size import HeightWidth

BUILDERS: dict[Arch, str] = {"unet": "Unet", "fpn": "FPN", "linknet": "Linknet", "pspnet": "PSPNet"}


def package() -> types.ModuleType:
    """The package, on the backend that Keras has."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    # read at its import: tf.keras has the names of Keras 2 that the package uses, but imports
    # TensorFlow; for another backend Keras itself is given them
    os.environ["SM_FRAMEWORK"] = "tf.keras" if on_tensorflow else "keras"
    if not on_tensorflow:
        _add_keras_2_names()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its framework's name
        try:
            import segmentation_models as found
        except ImportError:
            import segmodels_keras as found
    return found


def _add_keras_2_names() -> None:
    keras.backend.int_shape = lambda tensor: tuple(tensor.shape)
    keras.backend.shape = ops.shape
    keras.backend.sigmoid = ops.sigmoid
    keras.utils.generic_utils = types.SimpleNamespace(
        get_custom_objects=keras.saving.get_custom_objects
    )


def known_encoders() -> list[str]:
    """Every encoder that the package names, whether it works with this Keras or not."""
    return sorted(package().get_available_backbone_names())


def build_network(
    arch: Arch, encoder: str, classes: int, shape: HeightWidth | tuple[None, None]
) -> keras.Model:
    """A network with random weights, from preprocessed images (N, H, W, 3) to logits
    (N, H, W, classes).
    """
    return getattr(package(), BUILDERS[arch])(
        encoder,
        input_shape=(*shape, 3),
        classes=classes,
        activation="linear",
        encoder_weights=None,
    )


def build_encoder(
    encoder: str, weights: str | None, shape: HeightWidth | tuple[None, None] = (None, None)
) -> keras.Model:
    """An encoder without its classifier; `weights` is imagenet, or None for random ones."""
    found = package()
    build = found.Backbones.get_backbone
    # the package hands Keras's modules to its builders, the fork imports them
    inject = getattr(found, "inject_global_submodules", None)
    with warnings.catch_warnings():  # that it did not expect this size matters to a classifier only
        warnings.simplefilter("ignore")
        build = inject(build) if inject else build
        return build(encoder, input_shape=(*shape, 3), weights=weights, include_top=False)


def preprocessing(encoder: str) -> Callable[[Any], Any]:
    """The function from RGB 0 to 255, (N, H, W, 3), to the input of the encoder."""
    return package().get_preprocessing(encoder)
