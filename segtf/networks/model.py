"""Networks from a raw image to the probability of each class in each pixel."""

from __future__ import annotations

import contextlib
import io
import socket
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from segtf.networks import segmentation_models as sm
from segtf.run.architectures import Arch, has_encoder, is_fixed, is_padded, padding_of
from segtf.run.size import HeightWidth, Padding, padded
from voc_builder.base.errors import UserError

DOWNLOAD_TIMEOUT = 20  # seconds without an answer


@keras.saving.register_keras_serializable(package="segtf")
class GlobalAverage(layers.GlobalAveragePooling2D):
    """The mean over width, then over height: (N, H, W, C) to (N, C), or (N, 1, 1, C).

    Keras sums all pixels at once, in float32: over the 262,144 pixels that EfficientNet averages at
    1024 x 1024 the sum is off by 3e-5, differently in each runtime, and probabilities by 2e-4.
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        mean = ops.mean(ops.mean(inputs, axis=2, keepdims=True), axis=1, keepdims=True)
        return mean if self.keepdims else ops.squeeze(mean, axis=(1, 2))


@keras.saving.register_keras_serializable(package="segtf")
class ReflectionPadding(layers.Layer):
    """Mirrors the pixels at the edges, the outermost ones once: (N, H, W, C) to (N, H + above +
    below, W + left + right, C). Each part must be smaller than H, or W.
    """

    def __init__(self, padding: Padding, **others: Any) -> None:
        super().__init__(**others)
        (above, below), (left, right) = padding
        self.padding = ((above, below), (left, right))

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return ops.pad(inputs, ((0, 0), *self.padding, (0, 0)), mode="reflect")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": self.padding}


def _precise(layer: keras.Layer) -> keras.Layer:
    """A fresh copy of the layer; of a global average one that loses less."""
    kind = GlobalAverage if type(layer) is layers.GlobalAveragePooling2D else type(layer)
    return kind.from_config(layer.get_config())


def build_model(arch: Arch, encoder: str, classes: int, shape: HeightWidth) -> keras.Model:
    """A network with random weights: input `image` uint8 (N, H, W, 3), RGB 0 to 255; output
    `probabilities` float32 (N, H, W, classes). H and W are free, except for PSPNet, whose pooling
    fixes them, and for a `shape` that the network pads and crops again.
    """
    padding, fixed = padding_of(arch, shape), is_fixed(arch, shape)
    image = keras.Input((*(shape if fixed else (None, None)), 3), dtype="uint8", name="image")
    if not has_encoder(arch):
        x = layers.Rescaling(1 / 127.5, offset=-1.0, name="preprocessing")(image)
        network = _plain_unet(classes) if arch == "unet_plain" else _tiny_unet(classes)
    else:
        x = _preprocessing(encoder)(image)
        inside = padded(shape, padding) if fixed else (None, None)
        network = sm.build_network(arch, encoder, classes, inside)
        network = keras.models.clone_model(network, clone_function=_precise)
    network.name = "network"
    if is_padded(arch, shape):
        x = network(ReflectionPadding(padding, name="padding")(x))
        x = layers.Cropping2D(padding, name="cropping")(x)
    else:
        x = network(x)
    # float32 also under a mixed precision policy: in float16 a softmax loses the rare classes
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(image, probabilities, name=arch)


def load_model(path: Path) -> keras.Model:
    """A network from `best.keras`, ready to predict."""
    sm.package()  # registers the custom layers of its networks
    try:
        return keras.saving.load_model(path, compile=False)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a network that can be read ({error})") from error


def _preprocessing(encoder: str) -> keras.Layer:
    """The encoder's own preprocessing as a layer: (RGB or BGR) * scale + offset.

    Measured from the package's function at black and at the three unit vectors, because encoders
    differ: some take 0 to 255, some -1 to 1, some BGR without a mean.
    """
    of_encoder = sm.preprocessing(encoder)
    black = np.asarray(of_encoder(np.zeros((1, 1, 1, 3), np.float32)))[0, 0, 0]
    unit = np.asarray(of_encoder(255 * np.eye(3, dtype=np.float32)[None]))[0] - black
    order = np.abs(unit).argmax(axis=0)  # which input channel feeds each output channel
    scale = unit[order, range(3)] / 255
    if order.tolist() == [0, 1, 2]:
        return layers.Rescaling(scale.tolist(), offset=black.tolist(), name="preprocessing")
    if order.tolist() != [2, 1, 0]:
        raise ValueError(f"{encoder} mixes channels in an unknown way. Received: {order}")
    # Rescaling broadcasts over channels, so a fixed 1 x 1 convolution turns RGB into BGR
    swap = layers.Conv2D(3, 1, use_bias=True, trainable=False, dtype="float32")
    swap.build((None, None, None, 3))
    swap.set_weights([unit[None, None] / 255, black])
    return keras.Sequential([layers.Rescaling(1.0), swap], name="preprocessing")


def _plain_unet(
    classes: int, filters: tuple[int, ...] = (32, 64, 128, 256, 512), dropout: float = 0.0
) -> keras.Model:
    """A U-Net of one level for each number of `filters`, two convolutions with batch normalisation
    per level: 7.8 million weights (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597, at
    half its width).
    """

    def twice(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
        for i in (1, 2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv{i}")(x)
            x = layers.BatchNormalization(name=f"{name}_bn{i}")(x)
            x = layers.Activation("relu", name=f"{name}_relu{i}")(x)
        return x

    *levels, bottom = filters
    x = image = keras.Input((None, None, 3))
    skips = []
    for level, width in enumerate(levels):
        x = twice(x, width, f"down{level}")
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"pool{level}")(x)
    x = twice(x, bottom, "bottom")
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    for level, width in reversed(list(enumerate(levels))):
        x = layers.Conv2DTranspose(width, 2, strides=2, name=f"up{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([x, skips[level]])
        x = twice(x, width, f"up{level}")
    return keras.Model(image, layers.Conv2D(classes, 1, name="final_conv")(x))


def _tiny_unet(classes: int) -> keras.Model:
    """For tests and smoke runs: compiles in a moment, and has every kind of layer that a backup
    must restore, dropout with its random state too.
    """
    return _plain_unet(classes, (8, 16), dropout=0.2)


def load_encoder_weights(
    model: keras.Model, encoder: str, source: str, *, shape: HeightWidth
) -> str:
    """Loads the weights of `source` into the encoder of `model`; returns a line about it.

    `source` is `imagenet`, or the path of a file that Keras wrote for this encoder without its
    classifier (`.weights.h5`, `.h5`) or of a network that contains it (`.keras`). Raises
    `UserError` if it is not available or none of its layers fits.
    """
    target = {layer.name: layer for layer in model.get_layer("network").layers}
    donor = _imagenet(encoder) if source == "imagenet" else _donor(encoder, Path(source), shape)
    # the decoder of a whole network has the same layer names with every encoder
    of_encoder = {layer.name for layer in sm.build_encoder(encoder, None).layers}
    wanted = of_encoder & set(target)
    weighted = [layer for layer in donor if layer.weights and layer.name in wanted]
    matched = [
        layer
        for layer in weighted
        if [w.shape for w in layer.weights] == [w.shape for w in target[layer.name].weights]
    ]
    if not matched:
        raise UserError(f"--encoder-weights {source}: no layer fits {encoder}: choose its own file")
    for layer in matched:
        target[layer.name].set_weights(layer.get_weights())
    return f"encoder weights: {source}, {len(matched)} of {len(weighted)} layers matched"


def _imagenet(encoder: str) -> list[keras.Layer]:
    """Layers with ImageNet weights, from Keras's cache or its download."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return list(sm.build_encoder(encoder, "imagenet").layers)
    # any error of urllib, h5py and the builders means that there are no weights
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"ImageNet weights of {encoder} are not available ({reason})") from error
    finally:
        socket.setdefaulttimeout(before)


def _donor(encoder: str, path: Path, shape: HeightWidth) -> list[keras.Layer]:
    """Layers with the weights of a file, without those that the file does not have."""
    if not path.is_file():
        raise UserError(f"--encoder-weights {path}: no such file")
    if path.suffix == ".keras":
        network = load_model(path)
        inner = [layer for layer in network.layers if isinstance(layer, keras.Model)]
        return [leaf for part in [network, *inner] for leaf in part.layers]
    donor = sm.build_encoder(encoder, None, shape)
    before = {layer.name: layer.get_weights() for layer in donor.layers}
    # the new format matches layers by order, so all must fit; the old one by name
    by_name = {} if path.name.endswith(".weights.h5") else {"by_name": True, "skip_mismatch": True}
    try:
        with warnings.catch_warnings():  # one per layer; the count of matches is enough
            warnings.simplefilter("ignore")
            donor.load_weights(path, **by_name)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"--encoder-weights {path}: does not fit {encoder} ({reason}): choose the file that "
            f"Keras wrote for {encoder} without its classifier"
        ) from error
    return [
        layer
        for layer in donor.layers
        if any(
            not np.array_equal(a, b)
            for a, b in zip(before[layer.name], layer.get_weights(), strict=True)
        )
    ]


def fit_batchnorm(model: keras.Model, momentum: float) -> None:
    """Lowers the momentum of every BatchNormalization to `momentum`, unless it is lower already.

    With 14 steps per epoch and a momentum of 0.99 half of the running averages is still the random
    start after five epochs, and validation scores suffer.
    """
    for layer in model.get_layer("network").layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = min(layer.momentum, momentum)


def freeze_encoder(model: keras.Model, encoder: str, frozen: bool) -> None:
    """Freezes or unfreezes the encoder, with the averages of its batch normalisation; takes effect
    when a training step is traced next.
    """
    of_encoder = {layer.name for layer in sm.build_encoder(encoder, None).layers}
    for layer in model.get_layer("network").layers:
        if layer.name in of_encoder:
            layer.trainable = not frozen
