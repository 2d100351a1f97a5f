"""GPUs, precision, XLA, and the batch that fits into memory."""

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
from segtf.training.costs import BYTES_A_NUMBER, BYTES_A_PIXEL, GPU_FRACTION, MEMORY_FRACTION
from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

LARGEST_ON_CPU, LARGEST_ON_GPU = 8, 32  # images per step
STEPS_AN_EPOCH = 8  # at least: few images in large batches are few updates
BYTES_A_WEIGHT = 16  # float32 weight, gradient and Adam's two averages


@dataclass(frozen=True)
class Devices:
    """Devices of a training, its precision and its compiler."""

    gpus: tuple[str, ...]  # of all processes
    policy: str  # Keras's dtype policy
    jit: bool  # XLA
    count: int = 1  # devices of all processes, which share every batch evenly
    local_count: int = 1  # those of this process

    @cached_property  # one object: networks belong to the strategy that made them
    def strategy(self) -> Any:
        """TensorFlow's strategy: all GPUs together, the default one for one device."""
        import tensorflow as tf

        if len(self.gpus) > 1:
            return tf.distribute.MirroredStrategy(list(self.gpus))
        return tf.distribute.get_strategy()

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which networks, metrics and optimisers are made. On JAX it does nothing:
        there `keras.distribution` shares the work among devices, for the whole process.
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
        tf.config.experimental.set_memory_growth(gpu, True)  # so that free memory can be measured
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
        count=max(len(gpus), 1),
        local_count=max(len(gpus), 1),
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
        count=jax.device_count(),
        local_count=jax.local_device_count(),
    )


def shard_batches(devices: Devices) -> None:
    """Makes JAX shard every batch over all devices of all processes, each of which brings its own
    part. Call it before networks and metrics are made. TensorFlow uses `Devices.scope`.
    """
    shared = None  # also replaces that of an earlier run in this process
    if devices.count > 1 and _on_jax():
        shared = keras.distribution.DataParallel(
            devices=keras.distribution.list_devices(), auto_shard_dataset=False
        )
    keras.distribution.set_distribution(shared)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A context in which this process computes by itself: work that the others do not take part in,
    such as saving, would wait for them for ever.
    """
    shared = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(shared)


def leave_gpus_to_jax() -> None:
    """Keeps TensorFlow, which may read the images, on the CPU: its first operation would take all
    memory of every visible GPU. Call it before that operation.
    """
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")


def _capability(device: Any) -> tuple[int, int]:
    """Compute capability; 8.0 for others than Nvidia (TPU, "gfx90a"), which have bfloat16."""
    numbers = re.fullmatch(r"(\d+)\.(\d+)", str(getattr(device, "compute_capability", "")))
    return (int(numbers[1]), int(numbers[2])) if numbers else (8, 0)


def policy_for(precision: str, capability: tuple[int, int]) -> str:
    """Keras's dtype policy for a GPU's compute capability, (0, 0) without one: bfloat16 from 8.0,
    which needs no loss scaling, float16 from 7.0, the first with tensor cores.
    """
    if precision == "float32" or (precision == "auto" and capability < (7, 0)):
        return "float32"
    return "mixed_float16" if (7, 0) <= capability < (8, 0) else "mixed_bfloat16"


def has_gpu() -> bool:
    """Whether the framework can use a GPU; a driver alone is not enough."""
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
    """Images of `shape` per step for a training set of `images`: by measured memory on GPUs, a few
    on a CPU, where a large batch is no faster; independent of free memory if `repeatable`.
    """
    if devices.gpus:
        weights = model.count_params() * BYTES_A_WEIGHT
        free = _free_gpu_bytes()
        try:
            a_image = _measured_bytes_per_image(model, shape)
        except Exception as error:  # each backend has its own class
            if not is_out_of_memory(error):
                raise
            a_image = free  # not even two images fit
        each = min(_largest(int(free * GPU_FRACTION) - weights, a_image), LARGEST_ON_GPU)
        return max(min(each * len(devices.gpus), images // STEPS_AN_EPOCH), len(devices.gpus), 1)
    free = int(free_memory() * MEMORY_FRACTION)
    fitting = LARGEST_ON_CPU if repeatable else _largest(free, BYTES_A_PIXEL * math.prod(shape))
    modest = LARGEST_ON_CPU * 256 // math.isqrt(math.prod(shape))
    return max(min(fitting, modest, LARGEST_ON_CPU, images // 2), 1)


def training_bytes(model: keras.Model, inside: HeightWidth, batch: int) -> int:
    """Bytes that steps of `batch` images take on a CPU, estimated from the outputs of the layers
    for images of the shape `inside`, with padding.
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
        clone_function=lambda layer: layer,  # without copying its weights
        call_function=called,
    )
    return batch * numbers * BYTES_A_NUMBER


def is_out_of_memory(error: Exception) -> bool:
    """Whether it is the out-of-memory error of TensorFlow or JAX."""
    tensorflows = type(error).__name__ == "ResourceExhaustedError"
    return tensorflows or str(error).startswith("RESOURCE_EXHAUSTED")


def _largest(free: int, a_image: int) -> int:
    return max(free // max(a_image, 1), 0)


def _measured_bytes_per_image(model: keras.Model, shape: HeightWidth) -> int:
    """Bytes per image of a forward and backward pass over two images on one GPU."""
    measure = _planned_by_jax if _on_jax() else _peak_of_tensorflow
    return measure(model, SegmentationLoss(), (2, *shape)) // 2


def _peak_of_tensorflow(model: keras.Model, loss: SegmentationLoss, shape: tuple[int, ...]) -> int:
    """Peak bytes of running it once."""
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
    """Bytes that XLA plans for intermediate values; nothing is run."""
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
        raise UserError("JAX does not report the memory of a step here: name a --batch")
    return int(plan.temp_size_in_bytes)


def _free_gpu_bytes() -> int:
    """Free memory of the fullest visible GPU of this process. Raises `UserError`."""
    return _free_by_jax() if _on_jax() else _free_by_nvidia_smi()


def _free_by_jax() -> int:
    """Bytes left in the memory pools of JAX."""
    import jax

    pools = [device.memory_stats() for device in jax.local_devices()]
    if not all(pool and "bytes_limit" in pool for pool in pools):
        raise UserError("JAX does not report the memory of its devices: name a --batch")
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
            f"nvidia-smi does not report free GPU memory ({error}): name a --batch"
        ) from error
