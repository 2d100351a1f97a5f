"""A run begins with the weights of another one's best network."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtf import train as command
from segtf.run.config import TrainConfig
from segtf.run.folder import read_config, read_data, read_run_dataset, write_config, write_json
from segtf.run.provenance import find_trained_on, trained_on, trained_on_by_models
from voc_builder.base.errors import UserError
from voc_builder.base.tensorflow import import_tensorflow

pytestmark = pytest.mark.slow
import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf.networks.model import build_model, load_model  # noqa: E402
from segtf.run.architectures import Arch  # noqa: E402
from segtf.training import prepare as of  # noqa: E402
from segtf.training.init_from import load_init_from  # noqa: E402

CLASSES = ("background", "chip", "defect")


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segtf.train", *map(str, arguments)])
    return command.main()


def saved(folder: Path, arch: Arch, size: int, classes: tuple[str, ...] = CLASSES) -> Path:
    """A run folder with as much as --init-from reads, of random weights."""
    config = TrainConfig(
        arch=arch, encoder="mobilenetv2", size=size, run=folder.name, artifacts=folder.parent
    )
    folder.mkdir(exist_ok=True)
    write_config(config, folder)
    write_json({"path": "voc", "sha256": "0", "classes": classes}, folder / "data.json")
    build_model(arch, "mobilenetv2", len(classes), (size, size)).save(folder / "best.keras")
    return folder


def differing(one: keras.Model, other: keras.Model) -> list[str]:
    """The weights that are not the same in two networks."""
    pairs = zip(one.weights, one.get_weights(), other.get_weights(), strict=True)
    return [
        weight.path.split("/")[-2]
        for weight, mine, theirs in pairs
        if not np.array_equal(mine, theirs)
    ]


def test_a_run_begins_with_the_best_network_of_another_and_remembers_it(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begun: list[keras.Model] = []

    def stop(model: keras.Model, *_: Any, **__: Any) -> None:
        begun.append(model)
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", stop)
    usual = ("--run", "second", "--artifacts", tmp_path)
    more = ("--data", read_data(run)["path"], "--encoder", "mobilenetv2", "--batch", 4)
    for arguments in ((*more, "--size", 96, "--init-from", run), ("--resume",)):
        assert called(monkeypatch, *usual, *arguments) == 130
        assert f"weights: all of {run / 'best.keras'}\n" in capsys.readouterr().err
        assert differing(load_model(run / "best.keras"), begun.pop()) == []
    config = read_config(tmp_path / "runs/second")
    assert config.init_from == run
    assert config.learning_rate == 3e-4, "as for a trained encoder"


@pytest.mark.parametrize("flag", ["--init-from", "--encoder-weights"])
def test_a_network_that_was_trained_on_images_of_val_or_test_is_refused(
    flag: str,
    run: Path,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual = ("--data", images, "--artifacts", tmp_path, "--run", "b", "--encoder", "mobilenetv2")
    weights = run if flag == "--init-from" else run / "best.keras"
    assert called(monkeypatch, *usual, "--split-seed", 1, flag, weights) == 2
    said = capsys.readouterr().err
    assert f"{flag} {run}: its network was trained on " in said
    assert f"Keep the split of its data set with --split-from {read_data(run)['path']}, or" in said
    assert not (tmp_path / "runs/b").exists()

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", stop)
    keep = ("--split-from", read_data(run)["path"], "--size", 64, "--batch", 4)
    assert called(monkeypatch, *usual, "--split-seed", 1, flag, weights, *keep) == 130
    about = read_data(tmp_path / "runs/b")
    assert about["trained_on"] == read_data(run)["trained_on"]


def test_what_the_network_before_was_trained_on_is_remembered(run: Path, tmp_path: Path) -> None:
    dataset = read_run_dataset(run)
    val = dataclasses.replace(dataset, splits={**dataset.splits, "train": dataset.splits["val"]})
    config = TrainConfig(init_from=run)
    own, both = trained_on(TrainConfig(), val), trained_on(config, val)
    assert len(own) == len(dataset.splits["val"])
    assert both == sorted([*own, *read_data(run)["trained_on"]])
    write_json({**read_data(run), "trained_on": both}, tmp_path / "data.json")
    assert find_trained_on([tmp_path], dataset, "val") == {tmp_path: dataset.splits["val"]}
    assert find_trained_on([run], dataset, "val") == find_trained_on([run], dataset, "test") == {}

    older, about = tmp_path / "older", read_data(run)
    about.pop("trained_on")
    older.mkdir()
    write_json({**read_data(run), "trained_on": ["ab" * 8]}, tmp_path / "data.json")
    write_config(read_config(run), tmp_path)
    for first, known in ((None, set()), (tmp_path, {"ab" * 8}), (older, None)):
        settings = {"init_from": first, "encoder_weights": "auto"}
        write_config(dataclasses.replace(read_config(run), **settings), older)
        write_json(about, older / "data.json")
        wanted = set() if known is None else known | {*read_data(run)["trained_on"]}
        assert trained_on_by_models([older / "model.onnx"]) == wanted

    write_json({**read_data(run), "trained_on": None}, tmp_path / "data.json")
    write_config(read_config(run), tmp_path)
    assert trained_on(TrainConfig(init_from=tmp_path), val) is None, "as it does not say"
    alone = Path(shutil.copy(run / "best.keras", tmp_path.with_name("alone.keras")))
    assert trained_on(TrainConfig(init_from=alone), val) is None
    assert trained_on(TrainConfig(encoder_weights=str(alone)), val) == own


def test_what_was_trained_since_is_not_covered_by_the_first_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(
        arch="tiny", size=32, batch=4, init_from=tmp_path / "gone", run="a", resume=True
    )
    monkeypatch.setattr(of, "has_backup", lambda _: True)
    of.prepare(config, CLASSES, 16)
    monkeypatch.setattr(of, "has_backup", lambda _: False)
    with pytest.raises(UserError, match="gone"):
        of.prepare(config, CLASSES, 16)


@pytest.mark.parametrize("classes", [("background", "chip"), ("background", "defect", "chip")])
def test_the_last_layer_begins_anew_where_the_classes_are_others(
    classes: tuple[str, ...], tmp_path: Path
) -> None:
    first = saved(tmp_path / "first", "tiny", 32)
    network = build_model("tiny", "", len(classes), (64, 64))
    said = load_init_from(network, TrainConfig(arch="tiny", init_from=first), classes)
    assert "background, chip, defect" in said
    assert said.endswith(", ".join(classes))
    donor = load_model(first / "best.keras")
    pairs = zip(donor.get_weights()[:-2], network.get_weights()[:-2], strict=True)
    assert all(np.array_equal(theirs, mine) for theirs, mine in pairs)
    assert not np.array_equal(donor.get_weights()[-2], network.get_weights()[-2])


def test_a_pspnet_goes_on_at_another_size(tmp_path: Path) -> None:
    first = saved(tmp_path / "first", "pspnet", 48)
    network = build_model("pspnet", "mobilenetv2", 3, (96, 96))
    config = TrainConfig(
        arch="pspnet", encoder="mobilenetv2", size=96, init_from=first / "best.keras"
    )
    assert load_init_from(network, config, CLASSES) == f"weights: all of {first / 'best.keras'}"
    assert differing(load_model(first / "best.keras"), network) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--arch", "fpn"), "fpn mobilenetv2"),
        (("--encoder", "resnet18"), "unet resnet18"),
        (("--encoder-weights", "none"), "--encoder-weights none beside --init-from"),
        (("--init-from", "nowhere"), "--init-from nowhere"),
        (("--init-from", "."), "no best.keras"),
    ],
)
def test_another_network_is_refused_before_anything_is_built(
    arguments: tuple[str, ...],
    says: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    usual = ("--encoder", "mobilenetv2", "--init-from", run, "--artifacts", tmp_path / "artifacts")
    monkeypatch.chdir(tmp_path)
    assert called(monkeypatch, *usual, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert not (tmp_path / "artifacts").exists()


def test_a_file_of_another_network_is_refused_by_its_layers(run: Path, tmp_path: Path) -> None:
    (tmp_path / "alone.keras").write_bytes((run / "best.keras").read_bytes())
    config = TrainConfig(arch="tiny", init_from=tmp_path / "alone.keras")
    with pytest.raises(UserError, match=r"alone\.keras"):
        load_init_from(build_model("tiny", "", 3, (32, 32)), config, CLASSES)
