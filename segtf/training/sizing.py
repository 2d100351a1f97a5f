"""Choose the training size, resized images or crops, from the objects of a data set and what the
machine affords, and say why.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import Literal

from segtf.data.memory import free_memory
from segtf.run.architectures import padding_of, size_multiple
from segtf.run.config import TrainConfig
from segtf.run.size import HeightWidth, padded, size_of
from segtf.training.costs import (
    BYTES_A_PIXEL,
    FINEST_STRIDE,
    FORWARD,
    SHARE_OF_GPU,
    SHARE_OF_MEMORY,
    seconds_a_pixel,
)
from segtf.training.survey import Survey, survey
from voc_builder.base.errors import UserError
from voc_builder.tree.voc import Dataset

# Pixels that the smallest objects span at training size. Measured on the masks of 29 defects of
# real images, brought to a span of 8 pixels and back: the best answer that a mask of that size can
# give has an IoU of 0.90, at 4 pixels of 0.76, at 2 pixels of 0.60.
SPAN = 8
# And so many of the network's finest features: 4 in a row hold 3 whole ones wherever the object
# lies, as many as a 3 x 3 kernel sees.
FEATURES = 4
FLOOR = 256  # pixels; encoders learned their weights on images of 224
SECONDS_AN_EPOCH = 180.0  # on a CPU: the 60 epochs of the default are 3 hours
IMAGES_A_STEP = 2  # at least, or batch normalisation has little to average over
Why = Literal["objects", "floor", "photos", "affordable", "user"]
MOST_CROPS = 16  # of an image an epoch: validation should not wait for too many


@dataclass(frozen=True)
class Machine:
    """What training may use."""

    cpus: int  # cores
    free_bytes: int  # of the machine's memory
    gpus: tuple[str, ...] = ()  # their names
    gpu_free_bytes: int = 0  # of the fullest of them


@dataclass(frozen=True)
class Bounds:
    """What holds the training size from below and from above, pixels."""

    span: int  # that the smallest objects must have
    needed: int | None  # smallest legal size at which they have it; None without objects
    floor: int
    photos: int  # largest legal size that is not above the images' own
    affordable: int  # largest legal size of whole images
    crop: int | None  # largest affordable crop; None where the network, the
    # records or the images' size allow none
    by: Literal["memory", "time"]  # what holds `affordable`


@dataclass(frozen=True)
class Sizing:
    """What a network is trained on. `crop` as in the configuration."""

    shape: HeightWidth
    crop: int | None
    why: Why
    bounds: Bounds
    span: float | None  # of the smallest objects of the class with the smallest, pixels
    seconds: float | None  # an epoch, estimated; None with a GPU or several processes

    @property
    def size(self) -> int | str:
        """The shape as `--size` takes it."""
        return size_of(self.shape)

    @property
    def length(self) -> float:
        """Side of the square of as many pixels, by which objects and images are measured."""
        return math.sqrt(math.prod(self.shape))

    @property
    def keeps(self) -> bool:
        """Whether the smallest objects span what they must; true where there are none."""
        return self.span is None or self.span >= self.bounds.span


@dataclass(frozen=True)
class Plan:
    """A sizing with all that it follows from."""

    config: TrainConfig
    survey: Survey
    machine: Machine
    sizing: Sizing


def decide(
    config: TrainConfig, dataset: Dataset, *, gpu: bool | None = None
) -> tuple[TrainConfig, Plan]:
    """The configuration with size and crop decided, unchanged where the user named them, and the
    reasons, for `write_sizing`. `gpu` says whether training will use one; None: if there is one.
    Raises `UserError` for several processes, of which each might choose another size.
    """
    auto = config.size == "auto" and config.crop is None
    if auto and config.processes > 1:
        raise UserError(
            f"--size auto: each of the {config.processes} processes would choose by its own "
            "machine: try it with one, then name its --size or --crop for all"
        )
    found, here = survey(dataset), machine(gpu=gpu)
    sizing = choose(found, here, config) if auto else as_asked(found, here, config)
    if config.size in (None, "auto"):
        config = replace(config, size=sizing.size, crop=sizing.crop)
    if config.crop is not None and config.crops is None and config.processes > 1:
        raise UserError(
            f"--crop {config.crop}: each of the {config.processes} processes would choose by its "
            "own machine how many crops of an image it takes: name --crops for all"
        )
    if config.crop is not None:
        crops = crops_per_image(found, here, config, config.crop)
        config = replace(config, crops=crops)
    return config, Plan(config, found, here, sizing)


def machine(*, gpu: bool | None = None) -> Machine:
    """Cores, free memory and GPUs, of which Nvidia's own tool tells; none with `gpu` False."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [] if gpu is False else _gpus()
    return Machine(
        cpus=cpus or 1,
        free_bytes=free_memory(),
        gpus=tuple(name for name, _ in gpus),
        gpu_free_bytes=min((free for _, free in gpus), default=0),
    )


def _gpus() -> list[tuple[str, int]]:
    """Name and free bytes of each visible GPU; none where the driver's tool is not or fails."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not shutil.which("nvidia-smi") or visible in ("", "-1"):
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.free", "--format=csv,noheader,nounits"]
    query += [f"--id={visible}"] if visible else []
    answer = subprocess.run(query, capture_output=True, encoding="utf-8", check=False)
    lines = [line.rsplit(",", 1) for line in answer.stdout.splitlines() if "," in line]
    if answer.returncode or not all(free.strip().isdigit() for _, free in lines):
        return []  # a driver without a card
    return [(name.strip(), int(free) * 2**20) for name, free in lines]


def choose(survey: Survey, machine: Machine, config: TrainConfig) -> Sizing:
    """The smallest legal size at which the smallest objects keep their span, between the floor and
    the images' own size. If that is not affordable: the largest affordable crop at full
    resolution, or, where there are no crops, the largest affordable size.
    """
    bounds = bounds_of(survey, machine, config)
    best = min(bounds.photos, max(bounds.affordable, bounds.floor))
    wanted = max(bounds.needed or 0, bounds.floor)
    why: Why
    if wanted <= best:
        size, why = wanted, "objects" if wanted == bounds.needed else "floor"
    elif bounds.photos <= best:
        size, why = bounds.photos, "photos"
    else:
        size, why = best, "affordable"
    crop = bounds.crop if why == "affordable" else None
    side = crop or size
    return _sizing(survey, machine, config, bounds, (side, side), crop, why)


def as_asked(survey: Survey, machine: Machine, config: TrainConfig) -> Sizing:
    """What the size or crop that the user named means."""
    bounds = bounds_of(survey, machine, config)
    return _sizing(survey, machine, config, bounds, config.shape, config.crop, "user")


def _sizing(
    survey: Survey,
    machine: Machine,
    config: TrainConfig,
    bounds: Bounds,
    shape: HeightWidth,
    crop: int | None,
    why: Why,
) -> Sizing:
    sizing = Sizing(shape, crop, why, bounds, None, None)
    if smallest := survey.smallest:
        span = smallest.size if crop else smallest.share * sizing.length
        sizing = replace(sizing, span=span)
    return replace(sizing, seconds=_epoch(survey, machine, config, sizing))


def bounds_of(survey: Survey, machine: Machine, config: TrainConfig) -> Bounds:
    """What holds the size of this training, whatever the user chose."""
    multiple = size_multiple(config.arch)
    span = max(SPAN, FEATURES * FINEST_STRIDE[config.arch])
    smallest = survey.smallest
    images = max(_down(max(survey.heights[1], survey.widths[1]), multiple), multiple)
    floor = min(_up(FLOOR, multiple), images)
    memory, time = _by_memory(machine, config), _by_time(survey, machine, config, crop=False)
    shorter = _down(min(survey.heights[1], survey.widths[1]), multiple)
    crops = config.arch != "pspnet" and survey.record_size is None  # they want images as they are
    crop = _down(min(memory, _by_time(survey, machine, config, crop=True), shorter), multiple)
    return Bounds(
        span=span,
        needed=_up(math.ceil(span / smallest.share), multiple) if smallest else None,
        floor=floor,
        photos=images,
        affordable=max(_down(min(memory, time), multiple), multiple),
        crop=max(crop, floor) if crops and shorter >= floor else None,
        by="memory" if memory <= time else "time",
    )


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _down(size: float, multiple: int) -> int:
    return int(size) // multiple * multiple


def _by_memory(machine: Machine, config: TrainConfig) -> float:
    """Side of the largest square of which a step's images fit into memory, pixels."""
    devices = max(len(machine.gpus), 1) * config.processes
    images = -(-(config.batch or IMAGES_A_STEP * devices) // devices)
    usable = (
        SHARE_OF_GPU * machine.gpu_free_bytes
        if machine.gpus
        else SHARE_OF_MEMORY * machine.free_bytes
    )
    return math.sqrt(usable / images / BYTES_A_PIXEL)


def _by_time(survey: Survey, machine: Machine, config: TrainConfig, *, crop: bool) -> float:
    """Side of the largest square of which an epoch ends within its time, pixels; no bound with a
    GPU.
    """
    if machine.gpus:
        return math.inf
    pixels = SECONDS_AN_EPOCH / seconds_a_pixel(machine.cpus, config.backend)
    pixels -= _tiled_pixels(survey) if crop else 0
    images = survey.images["train"] + (0 if crop else FORWARD * survey.images["val"])
    return math.sqrt(max(pixels, 0) / max(images, 1))


def _epoch(survey: Survey, machine: Machine, config: TrainConfig, sizing: Sizing) -> float | None:
    """Seconds: the samples of each training image, then the validation. None where it has not been
    measured: with a GPU or several processes.
    """
    if machine.gpus or config.processes > 1:
        return None
    area = math.prod(padded(sizing.shape, padding_of(config.arch, sizing.shape)))
    crops = crops_per_image(survey, machine, config, sizing.crop) if sizing.crop else 1
    pixels = float(survey.images["train"] * crops * area)
    pixels += _tiled_pixels(survey) if sizing.crop else FORWARD * survey.images["val"] * area
    return pixels * seconds_a_pixel(machine.cpus, config.backend)


def crops_per_image(survey: Survey, machine: Machine, config: TrainConfig, side: int) -> int:
    """Crops of each image an epoch: `config.crops`, or as many as cover the median image, sixteen
    at most, and on a CPU no more than the time of an epoch allows.
    """
    if config.crops is not None:
        return config.crops
    cover = math.ceil(survey.heights[1] * survey.widths[1] / side**2)
    affordable = (_by_time(survey, machine, config, crop=True) / side) ** 2
    return max(int(min(cover, MOST_CROPS, affordable)), 1)


def _tiled_pixels(survey: Survey) -> float:
    """Pixels of the validation images, which are seen whole where training sees crops, as a step
    forward and backward counts them.
    """
    return FORWARD * survey.images["val"] * survey.heights[1] * survey.widths[1]
