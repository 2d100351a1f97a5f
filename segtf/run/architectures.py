"""Architectures, their encoders and the sizes that they take; needs no framework."""

from __future__ import annotations

import difflib
from typing import Literal, get_args

from segtf.run.size import HeightWidth, Padding, describe, padded, padding, parse_size
from voc_builder.base.errors import UserError

Arch = Literal["unet", "fpn", "linknet", "pspnet", "unet_plain", "tiny"]
ARCHS: tuple[Arch, ...] = get_args(Arch)

# encoders of segmentation-models that build, train, save and reload to the same output
# (`python -m scripts.check_encoders` tries them all) and whose layers have names, by which weights
# are loaded, unlike those of inceptionv3
ENCODERS = (
    *(f"efficientnetb{i}" for i in range(8)),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    "mobilenet",
    "mobilenetv2",
    "vgg16",
    "vgg19",
)


def size_multiple(arch: Arch) -> int:
    """The number that height and width must be divisible by, pixels."""
    return 48 if arch == "pspnet" else 32  # PSPNet pools an eighth of the size into 6 x 6 parts


def padding_of(arch: Arch, shape: HeightWidth) -> Padding:
    """The padding inside the network for images of this height and width."""
    return padding(shape, size_multiple(arch))


def is_padded(arch: Arch, shape: HeightWidth) -> bool:
    """Whether the network pads images of this shape."""
    return any(map(any, padding_of(arch, shape)))


def is_fixed(arch: Arch, shape: HeightWidth) -> bool:
    """Whether a network trained at this height and width takes no others, because of the pooling of
    PSPNet, or of the cropping after padding.
    """
    return arch == "pspnet" or is_padded(arch, shape)


def describe_inside(arch: Arch, shape: HeightWidth) -> str:
    """The shape as people read it, with its padding."""
    if not is_padded(arch, shape):
        return describe(shape)
    height, width = padded(shape, padding_of(arch, shape))
    return f"{describe(shape)}, padded to {height} x {width} inside the network"


def check_size(arch: Arch, size: int | str, flag: str = "--size") -> None:
    """Raises `UserError` if the network cannot take `size`: a number must be a multiple of
    `size_multiple`, HEIGHTxWIDTH is padded and must be at least half of it.
    """
    multiple, shape = size_multiple(arch), parse_size(size)
    if isinstance(size, str):
        if min(shape) < multiple // 2:
            raise UserError(
                f"{flag} {size}: {arch} needs at least {multiple // 2} x {multiple // 2}"
            )
        return
    if size < multiple or size % multiple:
        below = max(size // multiple, 1) * multiple
        near = f"{below} or {below + multiple}" if size > multiple else f"{below}"
        can_pad = flag == "--size" and size >= multiple // 2
        pad = f", or {flag} {size}x{size}, which is padded" if can_pad else ""
        raise UserError(
            f"{flag} {size}: {arch} needs a multiple of {multiple}; the nearest are {near}{pad}"
        )


def encoders(arch: Arch) -> tuple[str, ...]:
    """The encoders that `arch` takes; none where it has no encoder of its own."""
    return ENCODERS if has_encoder(arch) else ()


def has_encoder(arch: Arch) -> bool:
    """Whether `arch` takes an encoder."""
    return arch not in ("unet_plain", "tiny")


def check_encoder(encoder: str, arch: Arch) -> None:
    """Raises `UserError`, naming the nearest known encoder, if `arch` takes none of this name."""
    known = encoders(arch)
    if encoder not in known:
        near = difflib.get_close_matches(encoder.lower(), known, n=1, cutoff=0.0)[0]
        raise UserError(
            f"--encoder {encoder}: {arch} takes {', '.join(known)}; the nearest is {near}"
        )
