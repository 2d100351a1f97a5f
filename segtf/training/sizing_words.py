"""Say in one paragraph why a network is trained by this framework, at this size and batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from segtf.run.architectures import describe_inside, size_multiple
from segtf.run.config import TrainConfig
from segtf.run.folder import SIZING, write_json
from segtf.run.size import describe
from segtf.training.costs import (
    FINEST_STRIDE,
    JAX_ON_CPU,
    MEASURED_CPUS,
    MEASURED_SIZE,
    SECONDS_PER_IMAGE,
    SHARE_OF_GPU,
    SHARE_OF_MEMORY,
)
from segtf.training.sizing import SECONDS_AN_EPOCH, SPAN, Machine, Plan
from segtf.training.survey import SMALLEST, Survey

GIB = 2**30
USUAL_CROP = 512  # pixels, that are recommended


def paragraph(plan: Plan, *, batch: int) -> str:
    """Plain English with the numbers behind framework, size or crops, and batch; the same whether
    the size was chosen or named. `batch` is what the run takes a step.
    """
    sentences = [
        _framework(plan.config, plan.machine),
        _images(plan.survey),
        _size(plan),
        _verdict(plan),
        _cost(plan),
        _batch(plan, batch),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _framework(config: TrainConfig, machine: Machine) -> str:
    slow = "14.8 s a step of eight images of 256 x 256, where TensorFlow takes 2.6 s"
    here = _machine(machine)
    if config.processes > 1:
        return (
            f"JAX trains in {config.processes} processes together, this one on {here}: TensorFlow "
            "has no way to do that under Keras 3."
        )
    if config.backend == "jax" and not machine.gpus:
        return (
            f"JAX computes on {here}, because --backend jax asks for it; it compiles through XLA, "
            f"which is several times slower on a CPU ({slow}), so without a GPU or several "
            "machines TensorFlow is the better choice."
        )
    if config.backend == "jax":
        return f"JAX computes on {here}, as --backend jax asks, and can go on to several machines."
    if machine.gpus:
        return (
            f"TensorFlow computes on {here}; JAX (--backend jax) is for several machines that "
            "train together."
        )
    return (
        f"TensorFlow computes on {here}: JAX would go through XLA, which is several times slower "
        f"on a CPU ({slow}); it is for GPUs and for several machines that train together."
    )


def _machine(machine: Machine) -> str:
    if not machine.gpus:
        cores = "1 core" if machine.cpus == 1 else f"{machine.cpus} cores"
        return f"a CPU of {cores} with {_gigabytes(machine.free_bytes)} of free memory"
    names = " and ".join(dict.fromkeys(machine.gpus))
    count = f"{len(machine.gpus)} x " if len(machine.gpus) > 1 else ""
    return f"{count}{names} with {_gigabytes(machine.gpu_free_bytes)} of free memory"


def _gigabytes(count: float) -> str:
    return f"{count / GIB:.1f} GB" if count < 10 * GIB else f"{count / GIB:.0f} GB"


def _images(survey: Survey) -> str:
    """What the data set holds."""
    count = sum(survey.images.values())
    (narrow, width, wide), (low, height, high) = survey.widths, survey.heights
    sizes = (
        f"are {describe((height, width))} pixels"
        if (narrow, low) == (wide, high)
        else f"are {narrow} to {wide} pixels wide and {low} to {high} high (medians {width} and "
        f"{height})"
    )
    records = "in their TFRecords " if survey.record_size else ""
    text = f"The {count:,} images of train and val {records}{sizes}"
    smallest = survey.smallest
    if smallest is None:
        return f"{text}, and no object is marked on them."
    part = "" if survey.masks == count else f" on the {survey.masks} masks looked at"
    return (
        f"{text}; class {smallest.name} has the smallest objects, and the smallest {SMALLEST} % of "
        f"its {smallest.count:,}{part} measure up to {_pixels(smallest.size)} across (the square "
        "root of the area)."
    )


def _size(plan: Plan) -> str:
    """What is trained on, and why not on less or more."""
    sizing, bounds = plan.sizing, plan.sizing.bounds
    seen = describe_inside(plan.config.arch, sizing.shape)
    scale = f"crops of {seen} at full resolution" if sizing.crop else f"images resized to {seen}"
    if sizing.why == "user":
        flag = "--crop" if sizing.crop else "--size"
        return f"Training sees {scale}, as {flag} {sizing.size} says."
    chosen = f"--size auto chose {scale}"
    if sizing.why == "objects":
        return f"{chosen}, the smallest size that keeps them."
    if sizing.why == "floor":
        enough = f": {bounds.needed} would do for them, but" if bounds.needed else ", as"
        return (
            f"{chosen}{enough} encoders learned on images of 224 x 224, and smaller ones suit them "
            "badly."
        )
    if sizing.why == "photos":
        return (
            f"{chosen}, as large as the images themselves in the steps of "
            f"{size_multiple(plan.config.arch)} that {plan.config.arch} takes: a larger size would "
            "show nothing more."
        )
    return (
        f"{chosen}: whole images would need {bounds.needed} x {bounds.needed} to keep them, and "
        f"{_held(plan)} allows {bounds.affordable} x {bounds.affordable} here."
    )


def _held(plan: Plan) -> str:
    """What holds the size of whole images from above."""
    if plan.sizing.bounds.by == "time":
        return f"an epoch of {_duration(SECONDS_AN_EPOCH)}"
    share = f"{SHARE_OF_GPU:.0%}" if plan.machine.gpus else f"{SHARE_OF_MEMORY:.0%}"
    return f"{share.replace('%', ' %')} of the free memory (5.6 GB per image of 1024 x 1024)"


def _verdict(plan: Plan) -> str:
    """What the smallest objects become, whether the network can find them, what would mend it."""
    sizing, bounds, arch = plan.sizing, plan.sizing.bounds, plan.config.arch
    if sizing.span is None:
        return ""
    reason = (
        f"so that three of its finest features, one every {FINEST_STRIDE[arch]} pixels, lie whole "
        "inside"
        if bounds.span > SPAN
        else "at which a perfect answer scores an IoU of 0.90 on real defects (0.76 at 4 pixels, "
        "0.60 at 2)"
    )
    wants = f"{arch} wants {bounds.span}, {reason}"
    there = f"There they measure up to {_pixels(sizing.span)}, which is"
    if sizing.keeps:
        return f"{there} enough: {wants}."
    return f"{there} too little: {wants}. Many of them will be missed; {_cure(plan)}."


def _cure(plan: Plan) -> str:
    """What to change for the smallest objects."""
    sizing, bounds, smallest = plan.sizing, plan.sizing.bounds, plan.survey.smallest
    assert smallest is not None
    ways = []
    affordable, records = False, plan.survey.record_size
    if not sizing.crop and bounds.needed and sizing.length < bounds.needed <= bounds.photos:
        affordable = bounds.needed <= bounds.affordable
        ways.append(f"--size {bounds.needed}{'' if affordable else ' (dear on this machine)'}")
    if not sizing.crop and bounds.crop and smallest.size >= bounds.span:
        ways.append(f"--crop {min(bounds.crop, USUAL_CROP)}")
    elif not affordable and bounds.span > SPAN and smallest.size >= SPAN and not records:
        crop = "" if sizing.crop else f" with --crop {min(bounds.photos // 32 * 32, USUAL_CROP)}"
        ways.append(f"--arch unet{crop}, as its finest features lie closer,")
    if ways:
        return f"{' or '.join(ways)} would keep them"
    if records:
        return f"images of {records} x {records} in the records are too small: build them larger"
    return f"the images show them at {_pixels(smallest.size)}, and only closer images would help"


def _cost(plan: Plan) -> str:
    """What an epoch takes."""
    seconds = plan.sizing.seconds
    if seconds is None:
        return ""
    jax = f", {JAX_ON_CPU:.1f} times that with JAX" if plan.config.backend == "jax" else ""
    where_it_can = " where it can" if seconds > SECONDS_AN_EPOCH else ""
    samples = plan.survey.images["train"] * plan.config.samples_per_image
    return (
        f"An epoch of {samples:,} samples and the validation should take about "
        f"{_duration(seconds)} by the pixels in it (measured: {SECONDS_PER_IMAGE} s per image of "
        f"{MEASURED_SIZE} x {MEASURED_SIZE} with U-Net EfficientNet-B0 on {MEASURED_CPUS} cores"
        f"{jax}); --size auto keeps below {_duration(SECONDS_AN_EPOCH)}{where_it_can}."
    )


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _batch(plan: Plan, batch: int) -> str:
    images = f"{batch} {'crops' if plan.sizing.crop else 'images'}" if batch > 1 else "one image"
    if plan.config.batch is not None:
        return f"A step takes {images}, by --batch {batch}."
    if plan.machine.gpus:
        return (
            f"A step takes {images}: what 80 % of the free memory holds, by a trial step, 32 a GPU "
            "at most, and few enough for eight steps an epoch."
        )
    return (
        f"A step takes {images}: what half of the free memory holds, but eight at most at 256 x "
        "256 and fewer at a longer side, in proportion, as a larger batch is no faster on a CPU."
    )


def _pixels(count: float) -> str:
    return f"{count:.1f} pixels" if count < 20 else f"{count:.0f} pixels"


def write_sizing(folder: Path, plan: Plan, *, batch: int) -> None:
    """Writes `sizing.json` into a run folder: survey, machine, choice and the paragraph that
    explains them. `batch` is what the run takes a step.
    """
    sizing, config = plan.sizing, plan.config
    values = {
        "chosen_by": "user" if sizing.why == "user" else "auto",
        "arch": config.arch,
        "encoder": config.encoder,
        "backend": config.backend,
        "processes": config.processes,
        "batch": batch,
        **dataclasses.asdict(sizing),
        "size": sizing.size,
        "keeps": sizing.keeps,
        "survey": {
            **plan.survey.to_json(),
            "objects": [
                {
                    **dataclasses.asdict(objects),
                    "trained": objects.size if sizing.crop else objects.share * sizing.length,
                }
                for objects in plan.survey.objects
            ],
        },
        "machine": dataclasses.asdict(plan.machine),
        "paragraph": paragraph(plan, batch=batch),
    }
    write_json(values, folder / SIZING)
