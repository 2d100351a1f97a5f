"""Settings are checked before anything is loaded, and a run remembers them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtf.run.config import TrainConfig, augmentation_file
from segtf.run.folder import (
    read_config,
    read_data,
    read_run_dataset,
    resumed,
    write_config,
    write_json,
)
from voc_builder.base.command import parse
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig
from voc_builder.sources.config import source_settings
from voc_builder.tree.voc import Dataset

TWO = {"processes": 2, "backend": "jax", "coordinator": "host:1234", "run": "a", "batch": 4}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"size": 100}, "--size 100: .* 96 or 128"),
        ({"size": 1024, "arch": "pspnet"}, "1008 or 1056"),
        ({"size": 0}, "--size 0: .* 32"),
        ({"encoder": "efficientnet-b0"}, "the nearest is efficientnetb0"),
        ({"encoder": "seresnet18"}, "the nearest is resnet18"),
        ({"epochs": 0}, "--epochs 0"),
        ({"batch": 0}, "--batch 0"),
        ({"learning_rate": 0.0}, "--learning-rate 0.0"),
        ({"loss": "ce + hinge"}, "'hinge'"),
        ({"resume": True}, "--run NAME --resume"),
        ({"resume": True, "run": "a", "overwrite": True}, "--resume and --overwrite"),
        ({"run": "a/b"}, "--run 'a/b'"),
        ({"crop": 100}, "--crop 100: .* 96 or 128"),
        ({"crop": 96, "size": 256}, "--size 256 beside --crop 96"),
        ({"crop": 256, "size": 512}, "--size 512 beside --crop 256"),
        ({"arch": "pspnet"}, "--size 512: pspnet"),
        ({"crop": 0}, "--crop 0"),
        ({"crop": 96, "arch": "pspnet"}, "--crop: pspnet"),
        ({"mosaic": 1.5}, "--mosaic 1.5: .* 0 and .* 1"),
        ({"warm_up": -0.1}, "--warm-up -0.1"),
        ({"clip": 0.0}, "--clip 0.0"),
        ({"class_weights": "1,-2"}, "--class-weights"),
        ({"arch": "unet_plain", "encoder_weights": "a.h5"}, "--encoder-weights a.h5: unet_plain"),
        ({"freeze_encoder": 2, "encoder_weights": "none"}, "--freeze-encoder 2"),
        ({"freeze_encoder": 2, "arch": "tiny"}, "--freeze-encoder 2"),
        (
            {"init_from": Path("runs/a"), "encoder_weights": "none"},
            "--encoder-weights none beside --init-from runs/a",
        ),
        ({"predict": "a", "export": False}, "--predict: .* --no-export"),
        ({"fold": 0}, "--fold 0"),
        ({"processes": 2}, "--backend jax .* --coordinator HOST:PORT"),
        ({**TWO, "coordinator": "host"}, "--coordinator host: .* HOST:PORT"),
        ({**TWO, "coordinator": "host:65535"}, "65534"),
        ({**TWO, "process_id": 2}, "--process-id 2"),
        ({**TWO, "batch": None}, "--run and --batch"),
        ({**TWO, "shards": 3}, "--shards 3: .* --processes 2"),
        ({"batch": 5, "shards": 2}, "--batch 5: .* 2 shards"),
        ({"seed": 2**32}, "--seed 4294967296: .* 4294967295"),
    ],
)
def test_a_wrong_setting_is_named_with_its_cure(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        TrainConfig(**wrong)  # type: ignore[arg-type]


def test_an_architecture_without_encoder_checks_none() -> None:
    for arch in ("unet_plain", "tiny"):
        TrainConfig(arch=arch, encoder="none of them")  # type: ignore[arg-type]


def test_a_run_remembers_its_settings(tmp_path: Path) -> None:
    config = TrainConfig(size=96, arch="pspnet", learning_rate=1e-4, run="é", artifacts=tmp_path)
    write_config(config, config.run_folder)
    assert read_config(config.run_folder) == config


def test_a_run_from_before_sources_is_read(tmp_path: Path) -> None:
    old = "data: chips\nclasses: null\nsplit: 80/10/10\nsplit_seed: 42\ngroup_by: null\n"
    (tmp_path / "config.yaml").write_text(old)
    config = read_config(tmp_path)
    assert (config.split, config.source, config.merge) == ("80/10/10", "auto", None)


def test_a_run_from_before_the_size_was_null_is_read_and_resumed(tmp_path: Path) -> None:
    run = tmp_path / "runs/a"
    write_config(TrainConfig(crop=256, run="a", artifacts=tmp_path), run)
    written = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(written.replace("size: null", "size: 512"), encoding="utf-8")
    config = read_config(run)
    assert (config.size, config.crop, config.shape) == (256, 256, (256, 256))
    asked = TrainConfig(run="a", artifacts=tmp_path, crop=256, resume=True)
    assert resumed(asked, {"run", "crop"}).crop == 256


def test_old_names_are_read_in_a_run_and_refused_with_the_present_one_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("data: chips\nshares: 3\nbackup_share: 1e-1\n")
    config = read_config(tmp_path)
    assert (config.shards, config.backup_fraction) == (3, 0.1)
    for arguments in (["--shares", "3"], ["--shares=3"], ["--config", "shares: 3\n"]):
        with pytest.raises(SystemExit) as ended:
            parse(TrainConfig, "train", ["--seed", "1", *arguments])
        assert ended.value.code == 2
        assert "--shares is called --shards now" in capsys.readouterr().err


def test_without_a_size_a_run_is_of_512_and_its_crop_names_it_else() -> None:
    assert TrainConfig().shape == (512, 512)
    assert TrainConfig().run_folder.name == "fishki_labelme-unet-efficientnetb0-512"
    assert TrainConfig(crop=256).shape == (256, 256)
    assert TrainConfig(crop=256, size=256).shape == (256, 256)


def test_the_settings_of_a_source_are_remembered_and_handed_to_the_builder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from segtf import train

    asked = {"source": "masks", "images": Path("a"), "masks": Path("b"), "mask_pattern": "(.)"}
    asked |= {"mask_values": "0=x", "colors": Path("c"), "classes": Path("d"), "merge": "x=*"}
    config = TrainConfig(**asked, group_by="e", run="a", artifacts=tmp_path)  # type: ignore[arg-type]
    write_config(config, config.run_folder)
    assert read_config(config.run_folder) == config
    handed: list[BuildConfig] = []
    monkeypatch.setattr(train, "build_cached", lambda config, _: handed.append(config))
    train.open_dataset(config)
    assert source_settings(handed[0]) == {**asked, "group_by": "e"}
    assert handed[0].split is None


def test_resume_takes_the_settings_of_the_run_and_refuses_others(tmp_path: Path) -> None:
    saved = TrainConfig(size=96, epochs=7, run="a", artifacts=tmp_path)
    write_config(saved, saved.run_folder)
    again = resumed(TrainConfig(run="a", artifacts=tmp_path, resume=True))
    assert (again.size, again.epochs, again.resume) == (96, 7, True)
    for epochs in (9, 60):  # 60 is the default: asked for all the same
        asked = TrainConfig(run="a", artifacts=tmp_path, resume=True, epochs=epochs)
        with pytest.raises(UserError, match=f"--epochs {epochs}"):
            resumed(asked, {"run", "epochs"})


def test_resume_of_a_run_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a run folder"):
        resumed(TrainConfig(run="a", artifacts=tmp_path, resume=True))


def test_a_run_that_was_moved_is_resumed_where_it_lies(tmp_path: Path) -> None:
    saved = TrainConfig(run="a", artifacts=tmp_path / "before")
    write_config(saved, saved.run_folder)
    (tmp_path / "before").rename(tmp_path / "after")
    again = resumed(TrainConfig(run="a", artifacts=tmp_path / "after", resume=True))
    assert again.run_folder == tmp_path / "after/runs/a"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"path": "x"}'])
def test_damaged_data_of_a_run_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(UserError, match=r"data\.json: damaged"):
        read_data(tmp_path)


@pytest.mark.slow
def test_a_data_set_that_changed_is_not_taken_for_that_of_the_run(
    dataset: Dataset, tmp_path: Path
) -> None:
    data = {"path": str(dataset.path), "sha256": dataset.sha256, "classes": []}
    write_json(data, tmp_path / "data.json")
    assert read_run_dataset(tmp_path) == dataset
    write_json({**data, "sha256": "0123456789abcdef"}, tmp_path / "data.json")
    with pytest.raises(UserError, match=dataset.sha256[:10]):
        read_run_dataset(tmp_path)


def test_a_run_of_two_processes_goes_on_with_one_or_with_others(tmp_path: Path) -> None:
    saved = TrainConfig(**TWO, shards=2, artifacts=tmp_path)  # type: ignore[arg-type]
    write_config(saved, saved.run_folder)
    alone = resumed(TrainConfig(run="a", artifacts=tmp_path, resume=True))
    assert (alone.processes, alone.shard_count, alone.batch) == (1, 2, 4)
    asked = {"run": "a", "artifacts": tmp_path, "resume": True, "coordinator": "other:99"}
    second = resumed(TrainConfig(**asked, processes=2, process_id=1))
    assert (second.backend, second.process_id, second.coordinator) == ("jax", 1, "other:99")
    with pytest.raises(UserError, match=r"--shards 2: .* --processes 3"):
        resumed(TrainConfig(**asked, processes=3, process_id=1))


def test_a_run_of_tensorflow_does_not_go_on_with_two_processes(tmp_path: Path) -> None:
    saved = TrainConfig(run="a", batch=4, shards=2, artifacts=tmp_path)
    write_config(saved, saved.run_folder)
    with pytest.raises(UserError, match="need --backend jax"):
        resumed(
            TrainConfig(run="a", artifacts=tmp_path, resume=True, processes=2, coordinator="h:1")
        )


@given(st.lists(st.text("aA ._/*-2é", min_size=1), min_size=1))
def test_every_place_to_predict_has_a_folder_of_its_own(places: list[str]) -> None:
    config = TrainConfig(data=Path("/"), predict=",".join(places))
    wanted = {config.data / place.strip() for place in places if place.strip()}
    assert set(config.predicted.values()) == wanted
    assert all(re.fullmatch(r"[\w-]+", name) for name in config.predicted)
    assert len({name.casefold() for name in config.predicted}) == len(config.predicted)


def test_folders_of_predictions_are_named_after_their_places() -> None:
    config = TrainConfig(predict="a b,a_b,*,*3.jpg,a b")
    assert list(config.predicted) == ["a_b", "a_b_2", "photos", "3_jpg"]


@pytest.mark.parametrize("name", ["none", "light", "medium", "heavy", "upright"])
def test_presets_of_augmentation_are_files(name: str) -> None:
    assert augmentation_file(name).name == f"{name}.yaml"


def test_an_unknown_augmentation_is_named_with_what_there_is() -> None:
    with pytest.raises(UserError, match=r"strong: .* heavy, light, medium, none, upright"):
        augmentation_file("strong")
