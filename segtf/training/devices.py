"""What the machine offers: GPUs, precision, XLA, and the batch that fits."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from segtf.data.memory import free_memory
from segtf.networks.losses import SegmentationLoss
from segtf.run.size import HeightWidth
from segtf.training.costs import BYTES_A_NUMBER, BYTES_A_PIXEL, SHARE_OF_GPU, SHARE_OF_MEMORY
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

LARGEST_ON_CPU, LARGEST_ON_GPU = 8, 32  # images a step
STEPS_AN_EPOCH = 8  # at least: few images in large batches are few updates
BYTES_A_WEIGHT = 16  # float32 weight, gradient and Adam's two averages


@dataclass(frozen=True)
class Devices:
    """How a network is trained on this machine."""

    gpus: tuple[str, ...]  # of all processes
    policy: str  # Keras's dtype policy
    jit: bool  # XLA
    sharing: int = 1  # devices of all processes, among which every batch is split evenly
    local: int = 1  # those of this process

    @cached_property  # one object: networks belong to the strategy that they were made under
    def strategy(self) -> Any:
        """TensorFlow's: all GPUs together; the plain strategy for one device."""
        import tensorflow as tf

        if len(self.gpus) > 1:
            return tf.distribute.MirroredStrategy(list(self.gpus))
        return tf.distribute.get_strategy()

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Where networks, metrics and optimisers are made. JAX needs none: there
        `keras.distribution` shares the work among devices, for the whole process.
        """
        return contextlib.nullcontext() if _on_jax() else self.strategy.scope()


def _on_jax() -> bool:
    return keras.backend.backend() == "jax"


def find_devices(precision: str) -> Devices:
    """The visible GPUs and the policy that `precision` (auto, float32, mixed) means on them."""
    devices = _find_by_jax(precision) if _on_jax() else _find_by_tensorflow(precision)
    if not devices.gpus and shutil.which("nvidia-smi"):
        who, cure = ("JAX", "'jax[cuda13]'") if _on_jax() else ("TensorFlow", "'.[gpu]'")
        note(f"warning: this machine has a GPU that {who} cannot use: pip install {cure}")
    return devices


def _find_by_tensorflow(precision: str) -> Devices:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)  # so that what is free can be measured
    if not gpus:
        # rewriting the graph takes 7 of the 17 seconds of a first step (U-Net EfficientNet-B0 at
        # 512), and no later step is the quicker for it: 2.6 s with and without
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    capability = min((d.get("compute_capability", (0, 0)) for d in details), default=(0, 0))
    # XLA makes a step three times as slow on a CPU (17.9 s against 5.8 s), and it cannot compile
    # batch normalisation over several replicas
    return Devices(
        gpus=tuple(device.name for device in tf.config.list_logical_devices("GPU")),
        policy=policy_for(precision, capability),
        jit=len(gpus) == 1,
        sharing=max(len(gpus), 1),
        local=max(len(gpus), 1),
    )


def _find_by_jax(precision: str) -> Devices:
    import jax

    gpus = [device for device in jax.devices() if device.platform != "cpu"]
    capability = min((_capability(device) for device in gpus), default=(0, 0))
    # without XLA JAX runs one operation after the other
    return Devices(
        gpus=tuple(map(str, gpus)),
        policy=policy_for(precision, capability),
        jit=True,
        sharing=jax.device_count(),
        local=jax.local_device_count(),
    )


def share_batches(devices: Devices) -> None:
    """Lets JAX split every batch among all devices of all processes, each of which brings its own
    part. To be called before networks and metrics are made. TensorFlow has its `scope`.
    """
    shared = None  # also instead of that of a run before, in the same process
    if devices.sharing > 1 and _on_jax():
        shared = keras.distribution.DataParallel(
            devices=keras.distribution.list_devices(), auto_shard_dataset=False
        )
    keras.distribution.set_distribution(shared)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Within it this process computes for itself: what it does without the others, such as saving,
    would wait for them for ever.
    """
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def leave_gpus_to_jax() -> None:
    """Keeps TensorFlow, which may feed the images, on the CPU: its first operation would take all
    memory of every GPU that it sees. To be called before that operation.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _capability(device: Any) -> tuple[int, int]:
    """As Nvidia counts it; what is no Nvidia (TPU, "gfx90a") has bfloat16, as 8.0 has."""
    numbers = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
    return (int(numbers[1]), int(numbers[2])) if numbers else (8, 0)


def policy_for(precision: str, capability: tuple[int, int]) -> str:
    """Keras's dtype policy for a GPU's compute capability, (0, 0) without one: bfloat16 from 8.0
    on, which needs no loss scaling, float16 from 7.0 on, where tensor cores begin.
    """
    if precision == "float32" or (precision == "auto" and capability < (7, 0)):
        return "float32"
    return "mixed_float16" if (7, 0) <= capability < (8, 0) else "mixed_bfloat16"


def has_gpu() -> bool:
    """Whether the framework can use one: a driver alone does not mean that it can."""
    if _on_jax():
        import jax

        return any(device.platform != "cpu" for device in jax.devices())
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def batch_that_fits(
    devices: Devices,
    model: keras.Model,
    shape: HeightWidth,
    images: int,
    *,
    repeatable: bool = False,
) -> int:
    """Images of `shape` a step for a training set of `images`: by measured memory on GPUs, a modest
    number on a CPU, where a large batch is no faster; the same every time if it must be
    `repeatable`, whatever else takes memory.
    """
    if devices.gpus:
        weights = model.count_params() * BYTES_A_WEIGHT
        free = _free_gpu_bytes()
        try:
            a_image = _measured_bytes_per_image(model, shape)
        except Exception as error:  # each backend has a class of its own
            if not is_out_of_memory(error):
                raise
            a_image = free  # not even two images fit
        each = min(_largest(int(free * SHARE_OF_GPU) - weights, a_image), LARGEST_ON_GPU)
        return max(min(each * len(devices.gpus), images // STEPS_AN_EPOCH), len(devices.gpus), 1)
    free = int(free_memory() * SHARE_OF_MEMORY)
    fitting = LARGEST_ON_CPU if repeatable else _largest(free, BYTES_A_PIXEL * math.prod(shape))
    modest = LARGEST_ON_CPU * 256 // math.isqrt(math.prod(shape))
    return max(min(fitting, modest, LARGEST_ON_CPU, images // 2), 1)


def training_bytes(model: keras.Model, inside: HeightWidth, batch: int) -> int:
    """Memory that steps of `batch` images take on a CPU, estimated from what the layers give where
    the network sees images of the shape `inside`.
    """
    numbers = 0

    def called(layer: keras.Layer, *inputs: Any, **others: Any) -> Any:
        nonlocal numbers
        output = layer(*inputs, **others)
        numbers += math.prod(output.shape[1:])
        return output

    keras.models.clone_model(
        model.get_layer("network"),
        input_tensors=keras.Input((*inside, 3)),
        clone_function=lambda layer: layer,  # its weights are not wanted twice
        call_function=called,
    )
    return batch * numbers * BYTES_A_NUMBER


def is_out_of_memory(error: Exception) -> bool:
    """Whether TensorFlow or JAX means by it that a device has no memory left."""
    tensorflows = type(error).__name__ == "ResourceExhaustedError"
    return tensorflows or str(error).startswith("RESOURCE_EXHAUSTED")


def _largest(free: int, a_image: int) -> int:
    return max(free // max(a_image, 1), 0)


def _measured_bytes_per_image(model: keras.Model, shape: HeightWidth) -> int:
    """Memory of a forward and backward pass over two images on one GPU, an image."""
    measure = _planned_by_jax if _on_jax() else _peak_of_tensorflow
    return measure(model, SegmentationLoss(), (2, *shape)) // 2


def _peak_of_tensorflow(model: keras.Model, loss: SegmentationLoss, shape: tuple[int, ...]) -> int:
    """Bytes by running it once."""
    import tensorflow as tf

    images, masks = tf.zeros((*shape, 3), tf.uint8), tf.zeros(shape, tf.uint8)

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(masks, model(images, training=True))
        return tape.gradient(value, model.trainable_variables)

    before = tf.config.experimental.get_memory_info("GPU:0")["current"]
    tf.config.experimental.reset_memory_stats("GPU:0")
    step()
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"] - before)


def _planned_by_jax(model: keras.Model, loss: SegmentationLoss, shape: tuple[int, ...]) -> int:
    """Bytes that XLA plans for what lies between weights and gradients; nothing is run."""
    import jax

    def value(weights: list[Any], others: list[Any], images: Any, masks: Any) -> Any:
        probabilities, others = model.stateless_call(weights, others, images, training=True)
        return loss(masks, probabilities), others

    weights = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    images = jax.ShapeDtypeStruct((*shape, 3), "uint8")
    masks = jax.ShapeDtypeStruct(shape, "uint8")
    gradients = jax.jit(jax.grad(value, has_aux=True))
    plan = gradients.lower(weights, others, images, masks).compile().memory_analysis()
    if plan is None:
        raise UserError("JAX does not tell how much memory a step takes here: name a --batch")
    return int(plan.temp_size_in_bytes)


def _free_gpu_bytes() -> int:
    """Free memory of the fullest visible GPU of this process. Raises `UserError`."""
    return _free_by_jax() if _on_jax() else _free_by_nvidia_smi()


def _free_by_jax() -> int:
    """What is left of the pools that JAX has taken."""
    import jax

    pools = [device.memory_stats() for device in jax.local_devices()]
    if not all(pool and "bytes_limit" in pool for pool in pools):
        raise UserError("JAX does not tell how much memory its devices have: name a --batch")
    return min(int(pool["bytes_limit"] - pool["bytes_in_use"]) for pool in pools)


def _free_by_nvidia_smi() -> int:
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    query += [f"--id={visible}"] if visible else []
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", check=True).stdout
        return min(int(line) for line in answer.split()) * 2**20
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise UserError(
            f"nvidia-smi does not tell how much GPU memory is free ({error}): name a --batch"
        ) from error
