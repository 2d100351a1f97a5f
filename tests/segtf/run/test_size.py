"""Rectangles are written, read and padded; height comes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtf.run.architectures import (
    ARCHS,
    Arch,
    describe_inside,
    is_fixed,
    padding_of,
    size_multiple,
)
from segtf.run.config import TrainConfig
from segtf.run.folder import CONFIG, read_config, write_config
from segtf.run.size import describe, padded, padding, parse_size, size_of
from voc_builder.base.errors import UserError

lengths = st.integers(1, 3000)


@given(lengths, lengths, st.integers(1, 64))
def test_padding_is_the_least_that_makes_both_sides_divisible_and_as_much_on_either_edge(
    height: int, width: int, multiple: int
) -> None:
    by = padding((height, width), multiple)
    grown = padded((height, width), by)
    for before, after, (near, far) in zip((height, width), grown, by, strict=True):
        assert after % multiple == 0
        assert 0 <= after - before < multiple
        assert 0 <= far - near <= 1
        assert before + near + far == after


@given(st.sampled_from(ARCHS), st.integers(16, 200), st.integers(16, 200))
def test_what_is_accepted_can_be_mirrored(arch: Arch, height: int, width: int) -> None:
    try:
        shape = TrainConfig(arch=arch, size=f"{height}x{width}").shape
    except UserError:
        assert min(height, width) < size_multiple(arch) // 2
        return
    for length, edges in zip(shape, padding_of(arch, shape), strict=True):
        assert max(edges) < length, "a reflection has no more pixels than the image has beside it"


@given(lengths, lengths)
def test_a_size_is_read_back_as_it_was_written(height: int, width: int) -> None:
    assert parse_size(size_of((height, width))) == (height, width)
    assert parse_size(f"{height}x{width}") == (height, width)


def test_people_read_which_number_is_the_height_where_it_matters() -> None:
    assert describe((512, 512)) == "512 x 512"
    assert describe((320, 240)) == "320 x 240 (height x width)"
    inside = "320 x 240 (height x width), padded to 336 x 240 inside the network"
    assert describe_inside("pspnet", (320, 240)) == inside
    assert describe_inside("unet", (320, 256)) == "320 x 256 (height x width)"


@pytest.mark.parametrize(
    ("arch", "shape", "fixed"),
    [
        ("unet", (320, 256), False),
        ("unet", (320, 240), True),
        ("unet", (100, 100), True),
        ("pspnet", (336, 240), True),
    ],
)
def test_a_network_that_pads_takes_one_size(
    arch: Arch, shape: tuple[int, int], fixed: bool
) -> None:
    assert is_fixed(arch, shape) is fixed


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": "320x"}, "--size 320x: "),
        ({"size": "large"}, "--size large: "),
        ({"size": "0x240"}, "--size 0x240: "),
        ({"size": 0}, "--size 0: "),
        ({"size": 100}, "96 or 128, or --size 100x100"),
        ({"size": "15x64"}, "--size 15x64: unet .* 16 x 16"),
        ({"size": "64x23", "arch": "pspnet"}, "pspnet .* 24 x 24"),
        ({"size": "320x240", "crop": 96}, "--size 320x240 beside --crop 96"),
    ],
)
def test_a_size_that_is_none_is_named(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        TrainConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [96, "96x64", "auto"])
def test_a_run_remembers_its_size_as_it_was_named(size: int | str, tmp_path: Path) -> None:
    config = TrainConfig(size=size, run="a", artifacts=tmp_path)
    write_config(config, config.run_folder)
    assert f"size: {size}\n" in (config.run_folder / CONFIG).read_text()
    assert read_config(config.run_folder).size == size


def test_the_run_folder_is_named_by_the_rectangle() -> None:
    config = TrainConfig(arch="pspnet", encoder="mobilenetv2", size="320x240")
    assert config.run_folder.name == "fishki_labelme-pspnet-mobilenetv2-320x240"
    assert config.shape == (320, 240)
