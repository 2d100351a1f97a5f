"""What networks, losses and metric answer on one backend of Keras, for `test_backends`.

`KERAS_BACKEND=jax python -m tests.segtf.one_backend answers OWN OTHER` writes its checkpoints and
`answers.npz` into the folder OWN; after a line on stdin it loads the checkpoints that another
backend has left in OTHER and writes `loaded.npz`. `... training OWN` trains the default network and
writes `training.npz`. JAX is given no TensorFlow to import.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from segtf.run.architectures import ARCHS
from segtf.run.loss_expression import PARAMETERS
from voc_builder.base.colours import VOID

CLASSES, ENCODER = 3, "mobilenetv2"
LOADED = ("unet", "pspnet")  # square, and padded: how files are read does not depend on more
TRAINED = "unet_plain"  # whose gradient is compared: its batch normalisation has many values at 32
COUNTED = (0, 2**31 - 5, 2**32 - 5, 5 * 2**32 - 1)  # pixels that had been seen before

Arrays = dict[str, np.ndarray]


class WithoutTensorFlow(importlib.abc.MetaPathFinder):
    """Stands for an environment in which TensorFlow is not installed."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def shape_of(arch: str) -> tuple[int, int]:
    """Height and width, the smallest that the network takes, or padded to it."""
    return {"pspnet": (40, 48), "linknet": (27, 32)}.get(arch, (32, 32))


def images_of(size: int, count: int = 2) -> np.ndarray:
    """Random, uint8 (count, size, size, 3)."""
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def truth(size: int, count: int = 2) -> np.ndarray:
    """Random class ids and void, uint8 (count, size, size)."""
    ids = np.asarray([0, 1, 2, VOID], np.uint8)
    return np.random.default_rng(2).choice(ids, (count, size, size))


def probabilities(size: int) -> np.ndarray:
    """Random, float32 (2, size, size, CLASSES)."""
    powers = np.exp(2 * np.random.default_rng(3).standard_normal((2, size, size, CLASSES)))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def draw_zeros() -> None:
    """Has layers begin with zeros: all are filled afterwards, and JAX compiles a draw of each shape
    by itself.
    """
    import keras

    def zeros(self: Any, shape: Any, dtype: Any = None) -> Any:
        return keras.ops.zeros(shape, dtype)

    keras.initializers.VarianceScaling.__call__ = zeros


def fill(network: Any) -> Any:
    """The network with weights that no backend has drawn, of the usual sizes."""
    rng = np.random.default_rng(4)
    drawn = []
    for weight in network.weights:
        noise = rng.standard_normal(weight.shape).astype(np.float32)
        if len(weight.shape) > 1:
            drawn.append(noise * np.sqrt(2 / np.prod(weight.shape[:-1])))
        else:  # gains and variances about one, offsets and means about zero
            around = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
            drawn.append(around + 0.1 * noise)
    network.set_weights(drawn)
    return network


def gradient_of(function: Callable[[Any], Any], at: np.ndarray) -> np.ndarray:
    """Of a function with one value, by the means of the backend."""
    if on_jax():
        import jax

        return np.asarray(jax.grad(function)(at))
    import tensorflow as tf

    point = tf.constant(at)
    with tf.GradientTape() as tape:
        tape.watch(point)
        value = function(point)
    return np.asarray(tape.gradient(value, point))


def losses() -> Arrays:
    """Value and gradient of every term, and of all together."""
    from keras import ops

    from segtf.networks.losses import SegmentationLoss

    found, size = {}, 8
    weighted = [(name, weights) for name in PARAMETERS for weights in (None, (1.0, 2.0, 0.5))]
    for expression, weights in weighted:
        loss = SegmentationLoss(expression, weights)
        named = f"{expression} {weights}"
        value = loss(truth(size), ops.convert_to_tensor(probabilities(size)))
        found[f"loss {named}"] = np.asarray(value)
        found[f"gradient {named}"] = gradient_of(
            lambda at, loss=loss: ops.squeeze(loss(truth(size), at)),
            probabilities(size),
        )
    return found


def counts() -> Arrays:
    """The confusion matrix after two batches, and its mean IoU, from each of COUNTED on."""
    from segtf.training.confusion import ConfusionCounts

    found, size = {}, 16
    for start in COUNTED:
        metric = ConfusionCounts(CLASSES)
        before = np.full((CLASSES, CLASSES), start, np.int64)
        words = np.stack([before & (2**32 - 1), before >> 32]).astype(np.uint32)
        metric.counts.assign(words if metric.words else before)
        for _ in range(2):
            metric.update_state(truth(size), probabilities(size))
        found[f"counts {start}"] = metric.numpy()
        found[f"miou {start}"] = np.asarray(metric.result())
        metric.reset_state()
        assert not metric.numpy().any()
    return found


def answer(network: Any, arch: str) -> np.ndarray:
    """Its probabilities, in the way that takes the backend least time for one batch."""
    height, width = shape_of(arch)
    images = images_of(width)[:, :height]
    if on_jax():
        return network.predict_on_batch(images)
    return np.asarray(network(images, training=False))


def networks(own: Path) -> Arrays:
    """Answers and checkpoints of every architecture, and one step of training of one."""
    import keras

    from segtf.networks.losses import SegmentationLoss
    from segtf.networks.model import build_model

    found = {}
    for arch in ARCHS:
        network = fill(build_model(arch, ENCODER, CLASSES, shape_of(arch)))
        found[f"answer {arch}"] = answer(network, arch)
        if arch in LOADED:
            network.save(own / f"{arch}.keras")
            network.save_weights(own / f"{arch}.weights.h5")
        if arch == TRAINED:
            before = network.get_weights()
            network.compile(keras.optimizers.SGD(1.0), SegmentationLoss(), jit_compile=on_jax())
            network.train_on_batch(images_of(32), truth(32))
            moved = zip(before, network.get_weights(), strict=True)
            steps = [(then - now).ravel() for then, now in moved]
            found[f"step {arch}"] = np.concatenate(steps)
    return found


def training(own: Path) -> Arrays:
    """The default network, compiled and fitted for two epochs, then read from its file."""
    import keras

    from segtf.networks.losses import SegmentationLoss
    from segtf.networks.model import build_model, load_model
    from segtf.training.confusion import ConfusionCounts

    keras.utils.set_random_seed(5)
    draw_zeros()
    network = fill(build_model("unet", "efficientnetb0", CLASSES, (32, 32)))
    metric = ConfusionCounts(CLASSES)
    network.compile("adam", SegmentationLoss("ce + dice"), metrics=[metric])
    history = network.fit(images_of(32, 8), truth(32, 8), batch_size=4, epochs=2, verbose=0).history
    network.save(own / "trained.keras")
    again = load_model(own / "trained.keras")
    return {
        "training loss": np.asarray(history["loss"]),
        "training miou": np.asarray(history["miou"]),
        "training counts": metric.numpy(),
        "training answer": answer(network, "unet"),
        "training answer again": answer(again, "unet"),
    }


def loaded(other: Path) -> Arrays:
    """Answers of the other backend's checkpoints: whole networks, and weights in our own."""
    from segtf.networks.model import load_model

    found = {}
    for arch in LOADED:
        network = load_model(other / f"{arch}.keras")
        found[f"keras {arch}"] = answer(network, arch)
        network.set_weights([np.zeros(weight.shape) for weight in network.weights])
        network.load_weights(other / f"{arch}.weights.h5")
        found[f"weights.h5 {arch}"] = answer(network, arch)
    return found


def shared() -> Arrays:
    """Counts of training and validation on two devices, and of the same images by hand."""
    import keras

    from segtf.networks.losses import SegmentationLoss
    from segtf.scoring.metrics import confusion
    from segtf.training.confusion import ConfusionCounts

    size = 16
    layers = [keras.Input((None, None, 3)), keras.layers.Rescaling(1 / 255)]
    layers += [keras.layers.Conv2D(CLASSES, 3, padding="same"), keras.layers.Softmax()]
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    metric = ConfusionCounts(CLASSES)  # its variable too must lie on both
    network = keras.Sequential(layers)
    network.compile("sgd", SegmentationLoss(), metrics=[metric])
    network.fit(images_of(size, 8), truth(size, 8), batch_size=4, verbose=0)
    trained = metric.numpy()
    network.evaluate(images_of(size, 8), truth(size, 8), batch_size=4, verbose=0)
    devices = len(metric.counts.value.sharding.device_set)
    ids = network.predict(images_of(size, 8), verbose=0).argmax(-1).astype(np.uint8)
    keras.distribution.set_distribution(None)
    return {
        "shared devices": np.asarray(devices),
        "shared training": trained,
        "shared validation": metric.numpy(),
        "shared validation by hand": confusion(truth(size, 8), ids, CLASSES),
    }


def devices() -> Arrays:
    """What `segtf.training.devices` finds, and bytes per image of two networks."""
    import keras

    from segtf.training import devices as of

    def convolution(filters: int) -> keras.Model:
        layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(filters, 3, padding="same")]
        return keras.Sequential([*layers, keras.layers.Softmax()])

    found = of.find_devices("auto")
    with found.scope():
        networks = {filters: convolution(filters) for filters in (8, 16)}
    bytes_per_image = {
        f"bytes {filters} filters {size}": np.asarray(
            of._measured_bytes_per_image(network, (size, size))
        )
        for filters, network in networks.items()
        for size in (64, 128)
    }
    return {
        "devices": np.asarray([str(found.gpus), found.policy, str(found.jit)]),
        "batch": np.asarray(of.batch_that_fits(found, networks[8], (256, 256), 91)),
        "out of memory": np.asarray(out_of_memory()),
        **bytes_per_image,
    }


def out_of_memory() -> bool:
    """Whether an array that no machine can hold is told from other mistakes."""
    import jax

    from segtf.training.devices import is_out_of_memory

    try:
        jax.numpy.zeros((2**24, 2**24), "uint8").block_until_ready()
    except Exception as error:
        return is_out_of_memory(error) and not is_out_of_memory(ValueError("no memory"))
    return False


def on_jax() -> bool:
    return os.environ["KERAS_BACKEND"] == "jax"


def main() -> None:
    if on_jax():
        sys.meta_path.insert(0, WithoutTensorFlow())
    what, own = sys.argv[1], Path(sys.argv[2])
    if what == "training":
        np.savez(own / "training.npz", **shared(), **devices(), **training(own))
        return
    draw_zeros()
    np.savez(own / "answers.npz", **losses(), **counts(), **networks(own))
    print("answered", flush=True)
    sys.stdin.readline()
    np.savez(own / "loaded.npz", **loaded(Path(sys.argv[3])))


if __name__ == "__main__":
    main()
