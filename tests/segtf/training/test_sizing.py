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
from segtf.training.sizing import SECONDS_AN_EPOCH, Machine, Plan, as_asked, choose, decide, machine
from segtf.training.sizing_words import paragraph, write_sizing
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


def words(survey: Survey, machine: Machine, config: TrainConfig, batch: int = 4) -> str:
    auto = config.size == "auto" and config.crop is None
    sizing = (choose if auto else as_asked)(survey, machine, config)
    return paragraph(Plan(config, survey, machine, sizing), batch=batch)


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
    larger = as_asked(surveyed(12, 2448), CPU, replace(AUTO, crop=sizing.size + 32))
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


def test_pspnet_takes_no_crops_so_it_has_the_largest_affordable_size_and_a_warning() -> None:
    config = replace(AUTO, arch="pspnet")
    sizing = choose(surveyed(40, 2448), CPU, config)
    assert (sizing.crop, sizing.size) == (None, sizing.bounds.affordable)
    assert not sizing.keeps
    text = words(surveyed(40, 2448), CPU, config)
    assert "too little: pspnet wants 32" in text
    assert "--size 1968 (dear on this machine) or --arch unet with --crop 512" in text
    crops = words(surveyed(12, 2448), CPU, replace(AUTO, arch="fpn", crop=512))
    assert "Many of them will be missed; --arch unet, as its finest features lie closer" in crops


def test_the_floor_stands_where_nothing_is_affordable() -> None:
    sizing = choose(surveyed(80, 1000, train=20_000), CPU, AUTO)
    assert (sizing.size, sizing.crop) == (256, None)
    assert "keeps below 3 minutes where it can" in words(
        surveyed(80, 1000, train=20_000), CPU, AUTO
    )


def test_the_paragraph_of_a_size_that_was_chosen_has_the_numbers_behind_it() -> None:
    text = words(surveyed(20, 1000), CPU, AUTO)
    for part in (
        "TensorFlow computes on a CPU of 2 cores with 32 GB of free memory",
        "14.8 s a step of eight images of 256 x 256, where TensorFlow takes 2.6 s",
        "The 100 images of train and val are 1000 x 1000 pixels",
        "class defect has the smallest objects, and the smallest 5 % of its 27 measure up to 20",
        "--size auto chose images resized to 416 x 416, the smallest size that keeps them",
        "There they measure up to 8.3 pixels, which is enough: unet wants 8",
        "0.33 s per image of 256 x 256",
        "A step takes 4 images",
    ):
        assert part in text
    assert "\n" not in text


def test_the_paragraph_of_a_size_that_the_user_chose_says_what_would_keep_his_objects() -> None:
    text = words(surveyed(12, 1000), CPU, replace(AUTO, size=256))
    assert "Training sees images resized to 256 x 256, as --size 256 says." in text
    assert "There they measure up to 3.1 pixels, which is too little" in text
    assert "--size 672 (dear on this machine) or --crop 512 would keep them" in text
    affordable = words(surveyed(20, 1000), CPU, replace(AUTO, size=256))
    assert "--size 416 or --crop 512 would keep them" in affordable


def test_only_closer_images_help_where_full_resolution_does_not() -> None:
    text = words(surveyed(4, 1000), CPU, replace(AUTO, size=512))
    assert "the images show them at 4.0 pixels, and only closer images would help" in text
    assert "would keep them" not in text


def test_records_of_small_images_take_no_crops_and_hold_the_size_from_above() -> None:
    small = replace(surveyed(4, 512), record_size=512)
    sizing = choose(small, CPU, AUTO)
    assert (sizing.size, sizing.crop, sizing.bounds.crop) == (512, None, None)
    assert "images of 512 x 512 in the records are too small" in words(small, CPU, AUTO)


def test_crops_that_the_user_chose_keep_objects_as_they_are() -> None:
    text = words(surveyed(20, 2000), CPU, replace(AUTO, crop=384, batch=6), batch=6)
    assert "Training sees crops of 384 x 384 at full resolution, as --crop 384 says" in text
    assert "There they measure up to 20 pixels, which is enough" in text
    assert "A step takes 6 crops, by --batch 6." in text


@pytest.mark.parametrize(
    ("here", "config", "says"),
    [
        (GPU, AUTO, "TensorFlow computes on NVIDIA A10 with 22 GB of free memory"),
        (replace(GPU, gpus=("A", "A")), AUTO, "TensorFlow computes on 2 x A with 22 GB"),
        (CPU, replace(AUTO, backend="jax"), "TensorFlow is the better choice"),
        (GPU, replace(AUTO, backend="jax"), "JAX computes on NVIDIA A10"),
        (
            GPU,
            TrainConfig(size=512, backend="jax", processes=2, coordinator="a:1", run="r", batch=4),
            "JAX trains in 2 processes together",
        ),
    ],
)
def test_the_framework_is_justified(here: Machine, config: TrainConfig, says: str) -> None:
    assert says in words(surveyed(20), here, config)


def test_jax_on_a_cpu_affords_less() -> None:
    tensorflow = choose(surveyed(12, 2448), CPU, AUTO).bounds
    jax = choose(surveyed(12, 2448), CPU, replace(AUTO, backend="jax")).bounds
    assert jax.affordable < tensorflow.affordable / 2


def test_images_of_many_sizes_and_none_with_objects_are_told() -> None:
    text = words(replace(surveyed(None), widths=(240, 320, 500)), CPU, AUTO)
    assert "are 240 to 500 pixels wide and 1000 to 1000 high (medians 320 and 1000)" in text
    assert "no object is marked on them" in text
    assert "There they" not in text


def test_decide_fills_in_what_auto_leaves_open_and_nothing_else(tmp_path: Path) -> None:
    data = dataset(tmp_path, train=[mask(defect=[(10, 10, 5)])] * 2)
    config, plan = decide(AUTO, data)
    assert (config.size, config.crop) == (96, None)
    assert plan.sizing.why == "photos"
    assert decide(TrainConfig(size=64), data)[0] == TrainConfig(size=64)
    crop, plan = decide(replace(AUTO, crop=64), data)
    assert (crop.size, crop.crop, plan.sizing.why) == (64, 64, "user")
    for left, size in ((TrainConfig(crop=64), 64), (TrainConfig(), 512)):
        config, plan = decide(left, data)
        assert (config.size, config.crop, plan.sizing.why) == (size, left.crop, "user")


def test_several_processes_must_be_told_the_size(tmp_path: Path) -> None:
    config = replace(AUTO, backend="jax", processes=2, coordinator="a:1", run="r", batch=4)
    with pytest.raises(UserError, match="name its --size or --crop for all"):
        decide(config, dataset(tmp_path, train=[mask()]))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    assert read_sizing(tmp_path) is None
    data = dataset(tmp_path / "data", train=[mask(chip=[(0, 0, 30)], defect=[(50, 50, 5)])])
    _, plan = decide(TrainConfig(size=64), data)
    write_sizing(tmp_path, plan, batch=3)
    values = read_sizing(tmp_path)
    assert values is not None
    assert (values["chosen_by"], values["size"], values["batch"]) == ("user", 64, 3)
    assert values["paragraph"] == paragraph(plan, batch=3)
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
