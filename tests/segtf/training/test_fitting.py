"""The learning rate's course, the optimisers, and stages of a training."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segtf.run.config import TrainConfig
from voc_builder.base.errors import UserError
from voc_builder.base.tensorflow import import_tensorflow
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow
import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf.data.records import load_splits, loading  # noqa: E402
from segtf.networks.model import build_model  # noqa: E402
from segtf.networks.optimizers import LearningRate, make_optimizer  # noqa: E402
from segtf.training import callbacks as of_ours  # noqa: E402
from segtf.training import fitting  # noqa: E402
from segtf.training.backup import Position  # noqa: E402
from segtf.training.confusion import PerClassIoU  # noqa: E402
from segtf.training.prepare import prepare  # noqa: E402


def rates(kind: str, warm_up: float = 0.1, steps: int = 100, offset: int = 0) -> np.ndarray:
    course = LearningRate(kind, 2.0, steps, warm_up, offset)  # type: ignore[arg-type]
    return np.array([float(course(step)) for step in range(steps + 1 - offset)])


@pytest.mark.parametrize("kind", ["cosine", "poly", "constant"])
def test_a_course_rises_in_a_line_and_falls_from_its_peak(kind: str) -> None:
    found = rates(kind)
    np.testing.assert_allclose(found[:11], np.linspace(0, 2, 11), atol=1e-6)
    assert (np.diff(found[10:]) <= 1e-7).all()
    half = (100 - 10) // 2 + 10
    expected = {"cosine": 2 * (0.01 + 0.99 / 2), "poly": 2 * 0.5**0.9, "constant": 2.0}
    assert found[half] == pytest.approx(expected[kind], rel=1e-5)
    last = {"cosine": 0.02, "poly": 0.0, "constant": 2.0}
    assert found[-1] == pytest.approx(last[kind], abs=1e-6)


def test_one_cycle_rises_for_three_tenths_and_ends_near_nothing() -> None:
    found = rates("one-cycle", warm_up=0.9)
    assert found.argmax() == 30
    assert found[[0, 30, 100]] == pytest.approx([2 / 25, 2, 2 * 1e-4 / 25], rel=1e-2)
    assert found[15] == pytest.approx((2 + 2 / 25) / 2, rel=1e-5)


def test_a_later_optimiser_goes_on_with_the_course() -> None:
    np.testing.assert_allclose(rates("cosine", offset=40), rates("cosine")[40:], rtol=1e-6)


def test_a_course_survives_its_configuration() -> None:
    course = LearningRate("poly", 0.5, 10, 0.2, 3)
    again = LearningRate.from_config(course.get_config())
    assert float(again(4)) == float(course(4))
    with pytest.raises(ValueError, match="Received: plateau"):
        LearningRate("plateau", 1.0, 10)


@pytest.mark.parametrize("name", ["adam", "adamw", "lion", "sgd"])
def test_optimisers_go_by_their_keras_names_and_spare_biases_the_decay(name: str) -> None:
    config = TrainConfig(
        optimizer=name,  # type: ignore[arg-type]
        learning_rate=0.1,
        weight_decay=0.5,
        clip=1.0,
        accumulate=2,
        epochs=10,
    )
    optimizer = make_optimizer(config, steps=7)
    assert type(optimizer).__name__.lower() == name
    assert (optimizer.global_clipnorm, optimizer.gradient_accumulation_steps) == (1.0, 2)
    kernel = keras.Variable(np.ones(2, np.float32), name="kernel")
    bias = keras.Variable(np.ones(2, np.float32), name="bias")
    optimizer.build([kernel, bias])
    for _ in range(20):
        optimizer.apply([np.zeros(2, np.float32)] * 2, [kernel, bias])
    assert float(keras.ops.max(kernel)) < 1
    np.testing.assert_array_equal(bias, 1)


@pytest.mark.parametrize(
    ("position", "end"),
    [
        (Position(0, 0), 3),
        (Position(1, 2), 2),  # a broken-off epoch by itself
        (Position(2, 0), 3),
        (Position(3, 0), 9),
        (Position(5, 1), 6),
    ],
)
def test_stages_end_where_the_encoder_is_set_free_and_after_a_broken_off_epoch(
    position: Position, end: int
) -> None:
    config = TrainConfig(epochs=9, freeze_encoder=3)
    assert fitting._end_of_stage(position, config) == end


def test_an_encoder_frozen_for_longer_than_the_run_does_not_make_it_longer() -> None:
    assert fitting._end_of_stage(Position(), TrainConfig(epochs=2, freeze_encoder=5)) == 2


@pytest.mark.parametrize("accumulate", [1, 4])
def test_the_rate_falls_over_the_whole_run_however_many_steps_are_accumulated(
    accumulate: int,
) -> None:
    config = TrainConfig(learning_rate=0.1, warm_up=0.0, epochs=10, accumulate=accumulate)
    optimizer = make_optimizer(config, steps=8)
    weight = keras.Variable(np.ones(2, np.float32))
    optimizer.build([weight])
    for _ in range(40):
        optimizer.apply([np.zeros(2, np.float32)], [weight])
    assert float(optimizer.learning_rate) == pytest.approx(0.1 * (0.01 + 0.99 / 2), rel=0.05)


def fitted(
    dataset: Dataset,
    artifacts: Path,
    *,
    each_epoch: Callable[[keras.Model], None] | None = None,
    **settings: Any,
) -> tuple[keras.Model, list[Any]]:
    """The network after a training, and the rows of its log. `each_epoch` is shown the network
    after each.
    """
    usual = {"size": 32, "batch": 8, "epochs": 2, "artifacts": artifacts, "run": "run"}
    wanted = TrainConfig(**{**usual, "arch": "tiny", "patience": 0, **settings})
    config, devices, model = prepare(wanted, dataset.classes, 16)
    config.run_folder.mkdir(parents=True, exist_ok=True)
    splits = load_splits(dataset, ("train", "val"), loading(config, artifacts))
    train = of_ours.Progress.on_epoch_end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            of_ours.Progress,
            "on_epoch_end",
            lambda self, *args: (train(self, *args), each_epoch and each_epoch(self.model)),
        )
        fitting.fit(config, devices, model, {split.name: split for split in splits}, dataset)
    with (config.run_folder / "log.csv").open(newline="") as file:
        return model, list(csv.DictReader(file))


def test_more_accumulated_steps_than_an_epoch_has_are_refused(tmp_path: Path) -> None:
    config = TrainConfig(arch="tiny", size=32, batch=4, accumulate=5, artifacts=tmp_path, run="run")
    with pytest.raises(UserError, match=r"--accumulate 5: .* 16 images to train on: take 4"):
        prepare(config, ("background", "chip"), 16)


def test_a_frozen_encoder_keeps_its_weights_and_is_then_set_free(
    dataset: Dataset, tmp_path: Path
) -> None:
    donor = build_model("unet", "resnet18", 3, (32, 32))
    donor.save(tmp_path / "donor.keras")
    given = dict(zip([w.path for w in donor.weights], donor.get_weights(), strict=True))
    network = {"arch": "unet", "encoder": "resnet18", "freeze_encoder": 1, "ema_epochs": 0.0}
    network |= {"encoder_weights": str(tmp_path / "donor.keras"), "warm_up": 0.0}
    after: list[set[str]] = []  # each epoch, the weights of the encoder that are not the donor's

    def look(model: keras.Model) -> None:
        weights = zip(model.weights, model.get_weights(), strict=True)
        of_encoder = [(w.path, v) for w, v in weights if "decoder" not in w.path]
        after.append({p for p, value in of_encoder if p in given and (given[p] != value).any()})

    _, log = fitted(dataset, tmp_path, each_epoch=look, **network)
    assert {path for path in after[0] if "final" not in path} == set()
    assert len({path for path in after[1] if "kernel" in path}) > 15
    assert [row["epoch"] for row in log] == ["0", "1"]
    course = LearningRate("cosine", 3e-4, 4)
    ends = [float(row["learning_rate"]) for row in log]
    assert ends == pytest.approx([float(course(2)), float(course(4))], rel=1e-4), "one course"


def test_plateau_lowers_the_rate_and_remembers_how_long_it_has_waited(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "PLATEAU_PATIENCE", 0.0)  # two epochs of patience
    score = PerClassIoU.on_epoch_end

    def never_better(self: PerClassIoU, epoch: int, logs: dict[str, Any]) -> None:
        score(self, epoch, logs)
        logs["val_miou"] = 0.5

    monkeypatch.setattr(PerClassIoU, "on_epoch_end", never_better)
    settings = {"schedule": "plateau", "learning_rate": 1e-6, "seed": 3, "batch": 16}
    _, whole = fitted(dataset, tmp_path / "whole", epochs=7, **settings)
    rates = [float(row["learning_rate"]) for row in whole]
    assert rates[0] == pytest.approx(1e-6)
    assert rates[-1] < rates[0]

    calls = iter(range(100))
    stopping = {"stop": lambda: next(calls) >= 5}
    real = fitting.fit
    monkeypatch.setattr(fitting, "fit", lambda *a: real(*a, **stopping))
    with pytest.raises(KeyboardInterrupt):
        fitted(dataset, tmp_path / "parts", epochs=7, **settings)
    monkeypatch.setattr(fitting, "fit", real)
    _, parts = fitted(dataset, tmp_path / "parts", epochs=7, resume=True, **settings)
    assert [float(row["learning_rate"]) for row in parts] == pytest.approx(rates)
