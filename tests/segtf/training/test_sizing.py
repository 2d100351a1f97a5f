"""Size or crops follow from the smallest objects and from what the machine affords."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from segtf.run.config import TrainConfig
from segtf.run.folder import read_sizing
from segtf.training import sizing as of_ours
from segtf.training.sizing import (
    SECONDS_AN_EPOCH,
    Machine,
    Sizing,
    choose,
    decide,
    machine,
    write_sizing,
)
from segtf.training.survey import Objects, Survey
from tests.segtf.training.test_survey import dataset, mask
from voc_builder.base.errors import UserError

CPU = Machine(cpus=2, free_bytes=32 * 2**30)
GPU = Machine(cpus=16, free_bytes=64 * 2**30, gpus=("NVIDIA A10",), gpu_free_bytes=22 * 2**30)
AUTO = TrainConfig(size="auto")


def surveyed(smallest: float | None, side: int = 1000, train: int = 90) -> Survey:
    """Images of `side` x `side` with defects of `smallest` pixels."""
    chips = Objects("chip", 80, 3, side / 4, 0.25)
    defects = [] if smallest is None else [Objects("defect", 27, 0, smallest, smallest / side)]
    return Survey(
        images={"train": train, "val": train // 9},
        masks=train + train // 9,
        heights=(side, side, side),
        widths=(side, side, side),
        objects=() if smallest is None else (chips, *defects),
        background="__background__",
        record_size=None,
    )


@pytest.mark.parametrize(
    ("smallest", "side", "arch", "size", "why"),
    [
        (20, 1000, "unet", 416, "objects"),  # 8 * 1000 / 20 = 400, in steps of 32
        (20, 1000, "unet_plain", 416, "objects"),
        (80, 1000, "unet", 256, "floor"),
        (80, 1000, "pspnet", 432, "objects"),  # it needs 32 pixels, in steps of 48
        (40, 1000, "fpn", 416, "objects"),  # it needs 16
        (None, 1000, "unet", 256, "floor"),
        (4, 300, "unet", 288, "photos"),
        (4, 300, "pspnet", 288, "photos"),
        (4, 200, "unet", 192, "photos"),  # below the floor
        (4, 20, "unet", 32, "photos"),
    ],
)
def test_images_are_resized_to_the_smallest_legal_size_that_keeps_the_smallest_objects(
    smallest: float | None, side: int, arch: Any, size: int, why: str
) -> None:
    sizing = choose(surveyed(smallest, side), CPU, replace(AUTO, arch=arch))
    assert (sizing.size, sizing.crop, sizing.why) == (size, None, why)


@pytest.mark.parametrize("side", [300, 1000, 4000])
@pytest.mark.parametrize("smallest", [3, 30, 100])
@pytest.mark.parametrize("arch", ["unet", "fpn", "pspnet"])
@pytest.mark.parametrize("here", [CPU, GPU])
def test_what_is_chosen_is_legal_and_never_above_the_images_own_size(
    side: int, smallest: int, arch: Any, here: Machine
) -> None:
    sizing = choose(surveyed(smallest, side), here, replace(AUTO, arch=arch))
    replace(AUTO, arch=arch, size=sizing.size, crop=sizing.crop)  # refuses what is not legal
    assert 256 <= sizing.size <= side
    if sizing.why == "objects":
        assert sizing.keeps


def test_where_no_affordable_size_keeps_them_crops_at_full_resolution_do() -> None:
    sizing = choose(surveyed(12, 2448), CPU, AUTO)
    assert sizing.bounds.needed == 1632
    assert sizing.bounds.by == "time"
    assert sizing.crop == sizing.size
    assert sizing.span == 12
    assert sizing.keeps
    assert sizing.seconds is not None
    assert sizing.seconds <= SECONDS_AN_EPOCH
    larger = choose(surveyed(12, 2448), CPU, replace(AUTO, crop=sizing.size + 32))
    assert larger.seconds is not None
    assert larger.seconds > SECONDS_AN_EPOCH


def test_a_gpu_is_bound_by_its_memory_alone() -> None:
    sizing = choose(surveyed(12, 2448), GPU, AUTO)
    assert (sizing.bounds.by, sizing.bounds.affordable) == ("memory", 1280)
    assert sizing.crop == 1280
    assert sizing.seconds is None
    more = choose(surveyed(12, 2448), replace(GPU, gpu_free_bytes=80 * 2**30), AUTO)
    assert (more.size, more.crop) == (1632, None)


def test_a_batch_that_the_user_named_must_fit() -> None:
    named = choose(surveyed(12, 2448), GPU, replace(AUTO, batch=8))
    assert named.bounds.affordable == 640
    four = replace(GPU, gpus=("NVIDIA A10",) * 4)
    assert choose(surveyed(12, 2448), four, replace(AUTO, batch=8)).bounds.affordable == 1280


def test_little_memory_binds_a_cpu() -> None:
    sizing = choose(surveyed(12, 2448, train=10), replace(CPU, free_bytes=4 * 2**30), AUTO)
    assert (sizing.bounds.by, sizing.bounds.affordable) == ("memory", 416)


@pytest.mark.parametrize(
    ("smallest", "settings", "flags"),
    [
        (40, {"arch": "pspnet"}, ["--size 1968", "--arch unet with --crop 512"]),
        (12, {"arch": "fpn", "crop": 512}, ["--arch unet"]),
        (12, {"size": 256}, ["--size 1632", "--crop 512"]),
        (20, {"size": 512}, ["--size 992", "--crop 512"]),
        (4, {"size": 512}, []),  # at full resolution they are too small as well
    ],
)
def test_objects_that_are_too_small_are_told_with_the_flags_that_help(
    smallest: float, settings: dict[str, Any], flags: list[str]
) -> None:
    sizing = choose(surveyed(smallest, 2448), GPU, replace(AUTO, **settings))
    assert not sizing.keeps
    assert [flag for flag in flags if flag not in sizing.paragraph()] == []
    assert sizing.paragraph().count(" --") == len(flags) + ("--arch unet with" in str(flags))


def test_pspnet_takes_no_crops_so_it_has_the_largest_affordable_size() -> None:
    sizing = choose(surveyed(40, 2448), CPU, replace(AUTO, arch="pspnet"))
    assert (sizing.crop, sizing.size) == (None, sizing.bounds.affordable)


def test_the_floor_stands_where_nothing_is_affordable() -> None:
    sizing = choose(surveyed(80, 1000, train=20_000), CPU, AUTO)
    assert (sizing.size, sizing.crop) == (256, None)


def test_records_of_small_images_take_no_crops_and_bound_the_size_from_above() -> None:
    sizing = choose(replace(surveyed(4, 512), record_size=512), CPU, AUTO)
    assert (sizing.size, sizing.crop, sizing.bounds.crop) == (512, None, None)


def test_crops_that_the_user_chose_keep_objects_as_they_are() -> None:
    sizing = choose(surveyed(20, 2000), CPU, replace(AUTO, crop=384))
    assert (sizing.why, sizing.crop, sizing.span, sizing.keeps) == ("user", 384, 20, True)


def test_jax_on_a_cpu_affords_less_and_is_advised_against() -> None:
    tensorflow = choose(surveyed(12, 2448), CPU, AUTO)
    jax = choose(surveyed(12, 2448), CPU, replace(AUTO, backend="jax"))
    assert jax.bounds.affordable < tensorflow.bounds.affordable / 2
    assert "--backend tensorflow" in jax.paragraph()
    assert "--backend" not in choose(surveyed(12), GPU, replace(AUTO, backend="jax")).paragraph()


def test_the_table_has_the_numbers_behind_the_choice() -> None:
    assert choose(surveyed(20), CPU, replace(AUTO, batch=4)).table() == {
        "machine": "2 CPU cores, 32 GB of memory free",
        "trained on": "416 x 416",
        "images per step": "4",
        "largest affordable size": "608 (180 s per epoch)",
        "smallest objects": "defect: 20.0 pixels in the images, 8.3 in training, 8 needed by unet",
        "an epoch, estimated": "81 s",
    }
    empty = choose(surveyed(None), replace(GPU, gpus=("A", "A")), AUTO).table()
    assert empty["machine"] == "2 x A, 22 GB of memory free"
    assert not {"smallest objects", "an epoch, estimated"} & set(empty)


def test_decide_fills_in_what_auto_leaves_open_and_nothing_else(tmp_path: Path) -> None:
    data = dataset(tmp_path, train=[mask(defect=[(10, 10, 5)])] * 2)
    config, sizing = decide(AUTO, data)
    assert (config.size, config.crop) == (96, None)
    assert sizing.why == "photos"
    assert decide(TrainConfig(size=64), data)[0] == TrainConfig(size=64)
    crop, sizing = decide(replace(AUTO, crop=64), data)
    assert (crop.size, crop.crop, sizing.why) == (64, 64, "user")
    for left, size in ((TrainConfig(crop=64), 64), (TrainConfig(), 512)):
        config, sizing = decide(left, data)
        assert (config.size, config.crop, sizing.why) == (size, left.crop, "user")


def test_several_processes_must_be_told_the_size(tmp_path: Path) -> None:
    config = replace(AUTO, backend="jax", processes=2, coordinator="a:1", run="r", batch=4)
    with pytest.raises(UserError, match="name its --size or --crop for all"):
        decide(config, dataset(tmp_path, train=[mask()]))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read_sizing(tmp_path) is None
    data = dataset(tmp_path / "data", train=[mask(chip=[(0, 0, 30)], defect=[(50, 50, 5)])])
    _, sizing = decide(TrainConfig(size=64), data)
    write_sizing(tmp_path, sizing, batch=3)
    values = read_sizing(tmp_path)
    assert values is not None
    assert Sizing.from_json(values) == replace(sizing, batch=3)
    assert (values["chosen_by"], values["size"], values["keeps"]) == ("user", 64, False)
    assert (values["survey"]["photos"], values["bounds"]["photos"]) == ({"train": 1, "val": 0}, 96)
    trained = {o["name"]: o["trained"] for o in values["survey"]["objects"]}
    assert trained == pytest.approx({"chip": 0.3 * 64, "defect": 0.05 * 64})


@pytest.mark.parametrize("text", ["{", "[]", '{"paragraph": ""}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "sizing.json").write_text(text)
    with pytest.raises(UserError, match=r"sizing\.json: damaged"):
        read_sizing(tmp_path)


def test_gpus_are_those_that_nvidias_tool_names(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def answer(command: list[str], **_: object) -> Any:
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, "NVIDIA L4, 22000\nNVIDIA L4, 11000\n")

    monkeypatch.setattr(of_ours.shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(of_ours.subprocess, "run", answer)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    here = machine()
    assert here.gpus == ("NVIDIA L4", "NVIDIA L4")
    assert here.gpu_free_bytes == 11000 * 2**20
    assert "--id=0,3" in asked[0]
    assert machine(gpu=False).gpus == ()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert machine().gpus == ()


def test_a_driver_without_a_card_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 9, "No devices were found\n")
    monkeypatch.setattr(of_ours.shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(of_ours.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    here = machine()
    assert here.gpus == ()
    assert here.cpus >= 1
    assert here.free_bytes > 0
