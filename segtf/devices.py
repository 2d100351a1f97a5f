"""What the machine offers: GPUs, precision, XLA, and the batch that fits."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cached_property

import keras
import psutil
import tensorflow as tf

from segtf.losses import SegmentationLoss
from voc_builder.errors import UserError
from voc_builder.progress import note

BYTES_A_PIXEL_ON_CPU = 5600  # measured: U-Net EfficientNet-B0 takes 5.6 GB a photo of 1024 x 1024
LARGEST_ON_CPU, LARGEST_ON_GPU = 8, 32  # photos a step
SHARE_OF_GPU = 0.8  # of the free memory; XLA and cuDNN want workspace
STEPS_AN_EPOCH = 8  # at least: few photos in large batches are few updates
BYTES_A_WEIGHT = 16  # float32 weight, gradient and Adam's two averages


@dataclass(frozen=True)
class Devices:
    """How a network is trained on this machine."""

    gpus: tuple[str, ...]
    policy: str  # Keras's dtype policy
    jit: bool  # XLA

    @cached_property  # one object: networks belong to the strategy that they were made under
    def strategy(self) -> tf.distribute.Strategy:
        """All GPUs together; the plain strategy for one device."""
        if len(self.gpus) > 1:
            return tf.distribute.MirroredStrategy(list(self.gpus))
        return tf.distribute.get_strategy()


def find_devices(precision: str) -> Devices:
    """The visible GPUs and the policy that `precision` (auto, float32, mixed) means on them."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus and shutil.which("nvidia-smi"):
        note("warning: this machine has a GPU that TensorFlow cannot use: pip install '.[gpu]'")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)  # so that what is free can be measured
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    capability = min((d.get("compute_capability", (0, 0)) for d in details), default=(0, 0))
    # XLA makes a step three times as slow on a CPU (17.9 s against 5.8 s), and it cannot compile
    # batch normalisation over several replicas
    return Devices(
        gpus=tuple(device.name for device in tf.config.list_logical_devices("GPU")),
        policy=policy_for(precision, capability),
        jit=len(gpus) == 1,
    )


def policy_for(precision: str, capability: tuple[int, int]) -> str:
    """Keras's dtype policy for a GPU's compute capability, (0, 0) without one: bfloat16 from 8.0
    on, which needs no loss scaling, float16 from 7.0 on, where tensor cores begin.
    """
    if precision == "float32" or (precision == "auto" and capability < (7, 0)):
        return "float32"
    return "mixed_float16" if (7, 0) <= capability < (8, 0) else "mixed_bfloat16"


def batch_that_fits(devices: Devices, model: keras.Model, size: int, photos: int) -> int:
    """Photos a step for a training set of `photos`: by measured memory on GPUs, a modest number on
    a CPU, where a large batch is no faster.
    """
    if devices.gpus:
        weights = model.count_params() * BYTES_A_WEIGHT
        free = _free_gpu_bytes()
        try:
            a_photo = _measured_bytes_a_photo(model, size)
        except tf.errors.ResourceExhaustedError:  # not even two photos fit
            a_photo = free
        each = min(_largest(int(free * SHARE_OF_GPU) - weights, a_photo), LARGEST_ON_GPU)
        return max(min(each * len(devices.gpus), photos // STEPS_AN_EPOCH), len(devices.gpus), 1)
    fitting = _largest(psutil.virtual_memory().available // 2, BYTES_A_PIXEL_ON_CPU * size**2)
    modest = LARGEST_ON_CPU * 256 // size
    return max(min(fitting, modest, LARGEST_ON_CPU, photos // 2), 1)


def _largest(free: int, a_photo: int) -> int:
    return max(free // max(a_photo, 1), 0)


def _measured_bytes_a_photo(model: keras.Model, size: int) -> int:
    """Peak memory of a forward and backward pass over two photos on the first GPU, a photo."""
    loss = SegmentationLoss()
    images = tf.zeros((2, size, size, 3), tf.uint8)
    masks = tf.zeros((2, size, size), tf.uint8)

    @tf.function
    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            value = loss(masks, model(images, training=True))
        return tape.gradient(value, model.trainable_variables)

    before = tf.config.experimental.get_memory_info("GPU:0")["current"]
    tf.config.experimental.reset_memory_stats("GPU:0")
    step()
    return int((tf.config.experimental.get_memory_info("GPU:0")["peak"] - before) // 2)


def _free_gpu_bytes() -> int:
    """Free memory of the fullest visible GPU, by the driver's own tool. Raises `UserError`."""
    query = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    query += [f"--id={visible}"] if visible else []
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        return min(int(line) for line in answer.split()) * 2**20
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise UserError(
            f"nvidia-smi does not tell how much GPU memory is free ({error}): name a --batch"
        ) from error
