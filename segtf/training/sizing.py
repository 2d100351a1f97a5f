"""Choose the training size, resized images or crops, from the objects of a data set and from what
the machine can afford, and say why.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from segtf.data.memory import free_memory
from segtf.run.architectures import Arch, describe_inside, padding_of, size_multiple
from segtf.run.config import TrainConfig
from segtf.run.folder import SIZING, write_json
from segtf.run.size import HeightWidth, padded, size_of
from segtf.training.costs import (
    BYTES_A_PIXEL,
    FINEST_STRIDE,
    FORWARD,
    GPU_FRACTION,
    MEMORY_FRACTION,
    seconds_a_pixel,
)
from segtf.training.survey import Survey, survey
from voc_builder.base.errors import UserError
from voc_builder.tree.voc import Dataset

# Pixels that the smallest objects span at training size. Measured on the masks of 29 defects of
# real images, resized to a span of 8 pixels and back: the best possible answer of a mask of that
# size has an IoU of 0.90, at 4 pixels of 0.76, at 2 pixels of 0.60.
SPAN = 8
# And so many of the network's finest features: 4 in a row hold 3 whole ones wherever the object
# lies, as many as a 3 x 3 kernel sees.
FEATURES = 4
FLOOR = 256  # pixels; encoders were trained on images of 224
SECONDS_AN_EPOCH = 180.0  # on a CPU: the 60 epochs of the default are 3 hours
IMAGES_A_STEP = 2  # at least, or batch normalisation has little to average over
MOST_CROPS = 16  # per image and epoch: validation should not wait for too many
USUAL_CROP = 512  # pixels, recommended
GIB = 2**30
Why = Literal["objects", "floor", "photos", "affordable", "user"]
REASONS: dict[Why, str] = {
    "objects": "the smallest size at which the smallest objects are large enough",
    "floor": "the smallest size that suits encoders trained on images of 224 x 224",
    "photos": "the size of the images themselves",
    "affordable": "the largest that this machine can afford",
}


@dataclass(frozen=True)
class Machine:
    """Hardware that training may use."""

    cpus: int  # cores
    free_bytes: int  # of the machine's memory
    gpus: tuple[str, ...] = ()  # their names
    gpu_free_bytes: int = 0  # of the fullest of them

    def describe(self) -> str:
        """Processor and free memory in a few words."""
        names = " and ".join(dict.fromkeys(self.gpus))
        processor = f"{len(self.gpus)} x {names}" if self.gpus else f"{self.cpus} CPU cores"
        free = (self.gpu_free_bytes if self.gpus else self.free_bytes) / GIB
        return f"{processor}, {free:.{1 if free < 10 else 0}f} GB of memory free"


@dataclass(frozen=True)
class Bounds:
    """Lower and upper bounds of the training size, pixels."""

    span: int  # that the smallest objects must have
    needed: int | None  # smallest legal size at which they have it; None without objects
    floor: int
    images: int  # largest legal size that is not above the images' own
    affordable: int  # largest legal size of whole images
    crop: int | None  # largest affordable crop; None where the network, the
    # records or the images' size allow none
    by: Literal["memory", "time"]  # which of them limits `affordable`


@dataclass(frozen=True)
class Sizing:
    """Size or crops of a training and the reasons for them: the content of `sizing.json`."""

    arch: Arch
    encoder: str
    backend: Literal["tensorflow", "jax"]
    processes: int
    batch: int | None  # images per step; None until it is decided
    shape: HeightWidth
    crop: int | None  # as in the configuration
    why: Why
    bounds: Bounds
    span: float | None  # of the smallest objects of the class with the smallest, pixels
    seconds: float | None  # per epoch, estimated; None with a GPU or several processes
    survey: Survey
    machine: Machine

    @property
    def size(self) -> int | str:
        """The shape as `--size` takes it."""
        return size_of(self.shape)

    @property
    def length(self) -> float:
        """Side of the square with as many pixels, by which objects and images are measured."""
        return math.sqrt(math.prod(self.shape))

    @property
    def keeps(self) -> bool:
        """Whether the smallest objects are large enough; true where there are none."""
        return self.span is None or self.span >= self.bounds.span

    def to_json(self) -> dict[str, Any]:
        """The values of `sizing.json`: the fields, and what follows from them."""
        values = dataclasses.asdict(self)
        bounds, found = values["bounds"], self.survey.to_json()
        for objects in found["objects"]:
            objects["trained"] = objects["size"] if self.crop else objects["share"] * self.length
        return {
            "chosen_by": "user" if self.why == "user" else "auto",
            **values,
            "size": self.size,
            "keeps": self.keeps,
            "bounds": {"photos": bounds.pop("images"), **bounds},
            "survey": found,
            "table": self.table(),
            "paragraph": self.paragraph(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Sizing:
        """The sizing that `to_json` gave. Raises KeyError or TypeError for other values."""
        bounds, machine = dict(values["bounds"]), dict(values["machine"])
        fields = {field.name: values[field.name] for field in dataclasses.fields(cls)}
        fields["shape"] = tuple(values["shape"])
        fields["bounds"] = Bounds(images=bounds.pop("photos"), **bounds)
        fields["survey"] = Survey.from_json(values["survey"])
        fields["machine"] = Machine(gpus=tuple(machine.pop("gpus")), **machine)
        return cls(**fields)

    def table(self) -> dict[str, str]:
        """The numbers behind the choice, by name."""
        bounds, smallest = self.bounds, self.survey.smallest
        limit = f"{SECONDS_AN_EPOCH:.0f} s per epoch" if bounds.by == "time" else "memory"
        rows = {
            "machine": self.machine.describe(),
            "trained on": f"{'crops of ' if self.crop else ''}"
            f"{describe_inside(self.arch, self.shape)}",
            "images per step": str(self.batch),
            "largest affordable size": f"{bounds.affordable} ({limit})",
        }
        if smallest is not None and self.span is not None:
            rows["smallest objects"] = (
                f"{smallest.name}: {smallest.size:.1f} pixels in the images, {self.span:.1f} in "
                f"training, {bounds.span} needed by {self.arch}"
            )
        if self.seconds is not None:
            rows["an epoch, estimated"] = f"{self.seconds:.0f} s"
        return rows

    def paragraph(self) -> str:
        """At most three sentences: size, smallest objects, and a backend that is slow here."""
        seen = describe_inside(self.arch, self.shape)
        scale = f"crops of {seen} at full resolution" if self.crop else f"images resized to {seen}"
        flag = "--crop" if self.crop else "--size"
        reason = REASONS.get(self.why)
        named = f"{flag} {self.size}" if reason is None else f"--size auto: {reason}"
        sentences = [f"Training sees {scale} ({named})."]
        if self.span is not None:
            sentences.append(self._objects())
        if self.backend == "jax" and self.processes == 1 and not self.machine.gpus:
            sentences.append("On a CPU JAX is several times slower than --backend tensorflow.")
        return " ".join(sentences)

    def _objects(self) -> str:
        """Whether the network can find the smallest objects, and how it could."""
        smallest, needs = self.survey.smallest, f"the {self.bounds.span} that {self.arch} needs"
        assert smallest is not None
        found = f"The smallest objects, of {smallest.name}, span {self.span:.1f} pixels there"
        if self.keeps:
            return f"{found}, at least {needs}."
        return f"{found}, less than {needs}: many will be missed; {self._cure()}."

    def _cure(self) -> str:
        """How to make the smallest objects large enough."""
        bounds, smallest, records = self.bounds, self.survey.smallest, self.survey.record_size
        assert smallest is not None
        ways = []
        affordable = False
        if not self.crop and bounds.needed and self.length < bounds.needed <= bounds.images:
            affordable = bounds.needed <= bounds.affordable
            ways.append(f"--size {bounds.needed}{'' if affordable else ' (slow on this machine)'}")
        if not self.crop and bounds.crop and smallest.size >= bounds.span:
            ways.append(f"--crop {min(bounds.crop, USUAL_CROP)}")
        elif not affordable and bounds.span > SPAN and smallest.size >= SPAN and not records:
            crop = "" if self.crop else f" with --crop {min(bounds.images // 32 * 32, USUAL_CROP)}"
            ways.append(f"--arch unet{crop}")
        if ways:
            return f"try {' or '.join(ways)}"
        if records:
            return f"the records hold images of {records} x {records}: build them larger"
        return f"they have {smallest.size:.1f} pixels in the images: only closer images help"


def decide(
    config: TrainConfig, dataset: Dataset, *, gpu: bool | None = None
) -> tuple[TrainConfig, Sizing]:
    """The configuration with size and crops decided, unchanged where the user named them, and the
    reasons. `gpu` says whether training will use one; None: if there is one. Raises `UserError` for
    several processes, since each might choose another size.
    """
    if _is_auto(config) and config.processes > 1:
        raise UserError(
            f"--size auto: each of the {config.processes} processes would choose by its own "
            "machine: try it with one, then name its --size or --crop for all"
        )
    found, here = survey(dataset), machine(gpu=gpu)
    sizing = choose(found, here, config)
    if config.size in (None, "auto"):
        config = replace(config, size=sizing.size, crop=sizing.crop)
    if config.crop is not None and config.crops is None and config.processes > 1:
        raise UserError(
            f"--crop {config.crop}: each of the {config.processes} processes would choose the "
            "number of crops per image by its own machine: name --crops for all"
        )
    if config.crop is not None:
        config = replace(config, crops=crops_per_image(found, here, config, config.crop))
    return config, sizing


def write_sizing(folder: Path, sizing: Sizing, *, batch: int) -> None:
    """Writes `sizing.json` into a run folder; `batch` is the number of images per step."""
    write_json(replace(sizing, batch=batch).to_json(), folder / SIZING)


def machine(*, gpu: bool | None = None) -> Machine:
    """Cores, free memory and GPUs, as nvidia-smi lists them; no GPU with `gpu` False."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [] if gpu is False else _gpus()
    return Machine(
        cpus=cpus or 1,
        free_bytes=free_memory(),
        gpus=tuple(name for name, _ in gpus),
        gpu_free_bytes=min((free for _, free in gpus), default=0),
    )


def _gpus() -> list[tuple[str, int]]:
    """Name and free bytes of each visible GPU; none where nvidia-smi is missing or fails."""
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


def _is_auto(config: TrainConfig) -> bool:
    return config.size == "auto" and config.crop is None


def choose(survey: Survey, machine: Machine, config: TrainConfig) -> Sizing:
    """The size or crop that the user named. For `--size auto` the smallest legal size at which the
    smallest objects are large enough, between the floor and the images' own size. If that is not
    affordable: the largest affordable crop at full resolution, or, where there are no crops, the
    largest affordable size.
    """
    bounds = bounds_of(survey, machine, config)
    shape, crop, why = _auto(bounds) if _is_auto(config) else (config.shape, config.crop, "user")
    sizing = Sizing(
        arch=config.arch,
        encoder=config.encoder,
        backend=config.backend,
        processes=config.processes,
        batch=config.batch,
        shape=shape,
        crop=crop,
        why=why,
        bounds=bounds,
        span=None,
        seconds=_epoch(survey, machine, config, shape, crop),
        survey=survey,
        machine=machine,
    )
    if smallest := survey.smallest:
        sizing = replace(sizing, span=smallest.size if crop else smallest.share * sizing.length)
    return sizing


def _auto(bounds: Bounds) -> tuple[HeightWidth, int | None, Why]:
    """Shape, crop and reason of `--size auto`."""
    best = min(bounds.images, max(bounds.affordable, bounds.floor))
    wanted = max(bounds.needed or 0, bounds.floor)
    if wanted <= best:
        return (wanted, wanted), None, "objects" if wanted == bounds.needed else "floor"
    if bounds.images <= best:
        return (bounds.images, bounds.images), None, "photos"
    side = bounds.crop or best
    return (side, side), bounds.crop, "affordable"


def bounds_of(survey: Survey, machine: Machine, config: TrainConfig) -> Bounds:
    """The bounds of the size of this training, whatever the user chose."""
    multiple = size_multiple(config.arch)
    span = max(SPAN, FEATURES * FINEST_STRIDE[config.arch])
    smallest = survey.smallest
    images = max(_down(max(survey.heights[1], survey.widths[1]), multiple), multiple)
    floor = min(_up(FLOOR, multiple), images)
    memory, time = _by_memory(machine, config), _by_time(survey, machine, config, crop=False)
    shorter = _down(min(survey.heights[1], survey.widths[1]), multiple)
    # crops need images at full resolution
    crops = config.arch != "pspnet" and survey.record_size is None and shorter >= floor
    crop = _down(min(memory, _by_time(survey, machine, config, crop=True), shorter), multiple)
    return Bounds(
        span=span,
        needed=_up(math.ceil(span / smallest.share), multiple) if smallest else None,
        floor=floor,
        images=images,
        affordable=max(_down(min(memory, time), multiple), multiple),
        crop=max(crop, floor) if crops else None,
        by="memory" if memory <= time else "time",
    )


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def _down(size: float, multiple: int) -> int:
    return int(size) // multiple * multiple


def _by_memory(machine: Machine, config: TrainConfig) -> float:
    """Side of the largest square at which the images of a step fit into memory, pixels."""
    devices = max(len(machine.gpus), 1) * config.processes
    images = -(-(config.batch or IMAGES_A_STEP * devices) // devices)
    usable = (
        GPU_FRACTION * machine.gpu_free_bytes
        if machine.gpus
        else MEMORY_FRACTION * machine.free_bytes
    )
    return math.sqrt(usable / images / BYTES_A_PIXEL)


def _by_time(survey: Survey, machine: Machine, config: TrainConfig, *, crop: bool) -> float:
    """Side of the largest square at which an epoch ends within its time, pixels; no bound with a
    GPU.
    """
    if machine.gpus:
        return math.inf
    pixels = SECONDS_AN_EPOCH / seconds_a_pixel(machine.cpus, config.backend)
    pixels -= _tiled_pixels(survey) if crop else 0
    images = survey.images["train"] + (0 if crop else FORWARD * survey.images["val"])
    return math.sqrt(max(pixels, 0) / max(images, 1))


def _epoch(
    survey: Survey, machine: Machine, config: TrainConfig, shape: HeightWidth, crop: int | None
) -> float | None:
    """Seconds per epoch with validation; None where it was not measured: with a GPU or several
    processes.
    """
    if machine.gpus or config.processes > 1:
        return None
    area = math.prod(padded(shape, padding_of(config.arch, shape)))
    crops = crops_per_image(survey, machine, config, crop) if crop else 1
    pixels = float(survey.images["train"] * crops * area)
    pixels += _tiled_pixels(survey) if crop else FORWARD * survey.images["val"] * area
    return pixels * seconds_a_pixel(machine.cpus, config.backend)


def crops_per_image(survey: Survey, machine: Machine, config: TrainConfig, side: int) -> int:
    """Crops per image and epoch: `config.crops`, or as many as cover the median image, sixteen at
    most, and on a CPU no more than the time of an epoch allows.
    """
    if config.crops is not None:
        return config.crops
    cover = math.ceil(survey.heights[1] * survey.widths[1] / side**2)
    affordable = (_by_time(survey, machine, config, crop=True) / side) ** 2
    return max(int(min(cover, MOST_CROPS, affordable)), 1)


def _tiled_pixels(survey: Survey) -> float:
    """Pixels of the validation images, which are scored whole where training sees crops, in units
    of a pixel's step forward and backward.
    """
    return FORWARD * survey.images["val"] * survey.heights[1] * survey.widths[1]
