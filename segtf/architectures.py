"""Which networks there are and which sizes they take; no framework is needed to ask."""

from __future__ import annotations

import difflib
from typing import Literal, get_args

from voc_builder.errors import UserError

Arch = Literal["unet", "fpn", "linknet", "pspnet", "unet_plain"]
ARCHS: tuple[Arch, ...] = get_args(Arch)

# those of segmentation-models that build, train, save and reload to the same output
# (`python -m scripts.check_encoders` tries them all) and whose layers have names, by which trained
# weights find them: inceptionv3's have none
ENCODERS = (
    *(f"efficientnetb{i}" for i in range(8)),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    "mobilenet",
    "mobilenetv2",
    "vgg16",
    "vgg19",
)


def size_multiple(arch: Arch) -> int:
    """What height and width must be divisible by, pixels."""
    return 48 if arch == "pspnet" else 32  # PSPNet pools an eighth of the size into 6 x 6 parts


def check_size(arch: Arch, size: int, flag: str = "--size") -> None:
    """Raises `UserError`, naming the nearest legal sizes, if the network cannot take `size`."""
    multiple = size_multiple(arch)
    if size < multiple or size % multiple:
        below = max(size // multiple, 1) * multiple
        near = f"{below} or {below + multiple}" if size > multiple else f"{below}"
        raise UserError(
            f"{flag} {size}: {arch} needs a multiple of {multiple}; the nearest are {near}"
        )


def encoders(arch: Arch) -> tuple[str, ...]:
    """The encoders that `arch` takes; none for `unet_plain`."""
    return () if arch == "unet_plain" else ENCODERS


def check_encoder(encoder: str, arch: Arch) -> None:
    """Raises `UserError`, naming the nearest known encoder, if `arch` takes none of this name."""
    known = encoders(arch)
    if encoder not in known:
        near = difflib.get_close_matches(encoder.lower(), known, n=1, cutoff=0.0)[0]
        raise UserError(
            f"--encoder {encoder}: {arch} takes {', '.join(known)}; the nearest is {near}"
        )
