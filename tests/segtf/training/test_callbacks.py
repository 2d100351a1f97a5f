"""What training keeps and logs between epochs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from segtf.scoring import metrics
from voc_builder.base.tensorflow import import_tensorflow

pytestmark = pytest.mark.slow
tf = import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf.data.records import Split  # noqa: E402
from segtf.networks.losses import SegmentationLoss  # noqa: E402
from segtf.training.backup import Backup, Position  # noqa: E402
from segtf.training.callbacks import Averages, BestModel, Measured, Overlays, Progress, Trainer  # noqa: E402
from segtf.training.confusion import ConfusionCounts, PerClassIoU  # noqa: E402

RNG = np.random.default_rng(0)
TRUTH = RNG.choice([0, 1, 2, 255], (4, 16, 16)).astype(np.uint8)
PROBABILITIES = RNG.dirichlet([1, 1, 1], (4, 16, 16)).astype(np.float32)


def test_the_metric_counts_as_numpy_does_over_all_batches() -> None:
    metric = ConfusionCounts(3)
    metric.update_state(TRUTH[:3], PROBABILITIES[:3])
    metric.update_state(TRUTH[3:], PROBABILITIES[3:])
    expected = metrics.confusion(TRUTH, PROBABILITIES.argmax(-1).astype(np.uint8), 3)
    np.testing.assert_array_equal(metric.numpy(), expected)
    assert float(metric.result()) == pytest.approx(metrics.miou(expected), rel=1e-6)
    metric.reset_state()
    assert metric.numpy().sum() == 0


def test_the_metric_does_not_lose_single_pixels_among_many() -> None:
    metric = ConfusionCounts(2)
    metric.counts.assign([[2**40, 0], [0, 0]])
    metric.update_state(np.zeros((1, 1, 1), np.uint8), np.array([[[[1.0, 0.0]]]], np.float32))
    assert metric.numpy()[0, 0] == 2**40 + 1


def test_loss_and_metric_compile_under_xla_as_on_a_gpu() -> None:
    image = keras.Input((16, 16, 3))
    network = keras.Model(image, keras.layers.Activation("softmax")(image))
    metric = ConfusionCounts(3)
    network.compile("sgd", SegmentationLoss("ce + dice"), metrics=[metric], jit_compile=True)
    network.fit(PROBABILITIES, TRUTH, batch_size=4, verbose=0)
    expected = metrics.confusion(TRUTH, PROBABILITIES.argmax(-1).astype(np.uint8), 3)
    np.testing.assert_array_equal(metric.numpy(), expected)


REPLICAS = """
import json, sys
import numpy as np
from voc_builder.base.tensorflow import import_tensorflow
tf = import_tensorflow()
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
import keras
from segtf.training.confusion import ConfusionCounts
from segtf.training.devices import Devices
from segtf.networks.losses import SegmentationLoss
found = []
for gpus in ((), ("CPU:0", "CPU:1")):
    keras.utils.set_random_seed(1)
    devices = Devices(gpus=gpus, policy="float32", jit=False)
    with devices.strategy.scope():
        image = keras.Input((16, 16, 3))
        answer = keras.layers.Conv2D(3, 1, activation="softmax")(image)
        network = keras.Model(image, answer)
        metric = ConfusionCounts(3)
        network.compile(keras.optimizers.SGD(0.5), SegmentationLoss("ce"), metrics=[metric],
                        jit_compile=False)
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 16, 16, 3), np.float32), rng.integers(0, 3, (4, 16, 16), np.uint8)
    history = network.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    found.append([history["loss"], network.get_weights()[0].ravel().tolist(),
                  metric.numpy().tolist()])
print(json.dumps(found))
"""


def test_two_replicas_train_and_count_as_one_device() -> None:
    shown = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    (loss, weights, counts), (loss_of_two, weights_of_two, counts_of_two) = json.loads(shown.stdout)
    np.testing.assert_allclose(loss_of_two, loss, rtol=1e-5)
    np.testing.assert_allclose(weights_of_two, weights, rtol=1e-4)
    assert np.sum(counts_of_two) == np.sum(counts) == 4 * 16 * 16


def fitted(
    folder: Path, epochs: int, stop_in_step: int = 0
) -> tuple[keras.callbacks.History, BestModel]:
    """A network of one layer on eight images, two steps an epoch, with the callbacks of a training;
    goes on where a backup in `folder` left off; asked to stop in a step, counted from 1.
    """
    keras.utils.set_random_seed(1)
    image = keras.Input((8, 8, 3))
    changed = keras.layers.Dropout(0.3)(image)  # whose chance must go on where it was, too
    network = keras.Model(image, keras.layers.Conv2D(3, 1, activation="softmax")(changed))
    counts = ConfusionCounts(3)
    network.compile(
        keras.optimizers.Adam(0.1),
        "sparse_categorical_crossentropy",
        metrics=[counts],
        jit_compile=False,
    )
    network.optimizer.build(network.trainable_variables)
    best = BestModel(measured := Measured(lambda: network), folder / "best.keras", patience=3)
    done: list[int] = []
    backup = Backup(
        folder / "backup", best, 2, 1.0, counts=counts, stop=lambda: len(done) == stop_in_step > 0
    )
    start = backup.position()
    if start != Position():
        backup.restore(network, start)
    x = np.random.default_rng(0).random((8, 8, 8, 3), np.float32)
    y = x.argmax(-1)
    left = (epochs - start.epoch) * 2 - start.step
    order = [4 * ((start.step + i) % 2) for i in range(left)]
    batches = tf.data.Dataset.from_generator(
        lambda: ((x[i : i + 4], y[i : i + 4]) for i in order),
        output_signature=(tf.TensorSpec((4, 8, 8, 3)), tf.TensorSpec((4, 8, 8), tf.int64)),
    )
    counting = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: done.append(1))
    history = network.fit(
        batches,
        steps_per_epoch=left // (epochs - start.epoch),
        epochs=epochs,
        initial_epoch=start.epoch,
        verbose=0,
        validation_data=(x, y),
        callbacks=[counting, measured, PerClassIoU(counts, ("a", "b", "c")), best, backup],
    )
    return history, best


def test_the_log_has_every_class_for_training_and_validation(tmp_path: Path) -> None:
    history, _ = fitted(tmp_path, epochs=1)
    logs = {name: values[0] for name, values in history.history.items()}
    scores = [logs[f"val_iou_{name}"] for name in "abc"]
    assert logs["val_miou"] == pytest.approx(np.nanmean(scores))
    assert logs["miou"] == pytest.approx(np.nanmean([logs[f"iou_{name}"] for name in "abc"]))
    assert logs["miou"] != logs["val_miou"]
    iou = np.array(scores)
    assert logs["val_dice"] == pytest.approx(np.nanmean(2 * iou / (1 + iou)))


def test_a_run_that_is_taken_up_again_ends_as_one_that_was_left_alone(tmp_path: Path) -> None:
    whole, best = fitted(tmp_path / "whole", epochs=4)
    fitted(tmp_path / "parts", epochs=2)
    rest, again = fitted(tmp_path / "parts", epochs=4)
    assert rest.epoch == [2, 3]
    assert rest.history["loss"] == whole.history["loss"][2:]
    assert (again.best, again.best_epoch) == (best.best, best.best_epoch)


def test_a_run_that_is_asked_to_stop_loses_no_step_and_no_pixel_that_it_counted(
    tmp_path: Path,
) -> None:
    whole, _ = fitted(tmp_path / "whole", epochs=2)
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path / "parts", epochs=2, stop_in_step=3)
    state = json.loads((tmp_path / "parts/backup/state.json").read_text())
    assert (state["epochs"], state["step"]) == (1, 1)
    rest, _ = fitted(tmp_path / "parts", epochs=2)
    assert rest.epoch == [1]
    for name, (value,) in rest.history.items():
        assert value == whole.history[name][1], name


def test_asked_to_stop_in_an_epochs_last_step_a_run_ends_the_epoch(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fitted(tmp_path, epochs=2, stop_in_step=2)
    state = json.loads((tmp_path / "backup/state.json").read_text())
    assert (state["epochs"], state["step"]) == (1, 0)


def test_a_rate_that_a_plateau_has_lowered_stays_low_with_a_new_optimiser(tmp_path: Path) -> None:
    def network(rate: float) -> keras.Model:
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(rate), metrics=[ConfusionCounts(2)])
        model.optimizer.build(model.trainable_variables)
        model.stop_training = False
        return model

    plateau = keras.callbacks.ReduceLROnPlateau("val_miou", mode="max")
    best = BestModel(Measured(lambda: network(0.5)), None, patience=0)
    backup = Backup(tmp_path, best, 1, 1.0, counts=ConfusionCounts(2), plateau=plateau)
    first, second = network(0.25), network(0.5)
    backup.set_model(first)
    backup.set_params({"epochs": 1})
    backup.on_epoch_end(0, {"loss": 1.0})
    backup.restore(first, Position(1))
    backup.set_model(second)
    backup.on_train_begin()
    assert float(second.optimizer.learning_rate) == 0.25


def test_progress_counts_the_epochs_of_the_run_not_those_of_a_stage(
    capfd: pytest.CaptureFixture[str],
) -> None:
    best = BestModel(Measured(lambda: keras.Sequential()), None, patience=0)
    progress = Progress(best, epochs=10)
    progress.set_params({"epochs": 2, "steps": 1})
    progress.on_epoch_end(1, {"loss": 1.0, "val_loss": 1.0, "val_miou": 0.5, "seconds": 5.0})
    said = capfd.readouterr().err
    assert "epoch 2/10" in said
    assert "at most 40 s left" in said


def test_the_backup_is_one_file_of_weights_and_the_state_that_names_it(tmp_path: Path) -> None:
    fitted(tmp_path, epochs=3)
    names = sorted(path.name for path in (tmp_path / "backup").iterdir())
    assert names == ["epoch-0003-00000.weights.h5", "state.json"]


def test_saving_takes_no_more_than_its_share_of_the_time_but_the_end_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = BestModel(Measured(lambda: keras.Sequential()), None, patience=0)
    backup = Backup(tmp_path, best, 1, 0.1, counts=ConfusionCounts(2))
    backup.set_model(keras.Sequential())
    backup.model.stop_training = False
    backup.set_params({"epochs": 25})
    now, saved = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def save(position: Position) -> None:  # takes a second
        saved.append(position.epoch)
        now[0] += 1

    monkeypatch.setattr(backup, "_save", save)
    for epoch in range(25):
        now[0] += 1  # the epoch
        backup.on_epoch_end(epoch, {"loss": 1.0})
    assert saved == [1, 10, 19, 25]


def test_pictures_of_progress_ask_about_one_image_at_a_time_and_by_a_compiled_network(
    tmp_path: Path,
) -> None:
    asked = []

    class Watched(keras.layers.Layer):
        def call(self, image: keras.KerasTensor) -> keras.KerasTensor:
            asked.append(tf.executing_eagerly())
            tf.debugging.assert_equal(tf.shape(image)[0], 1)
            return image

    image = keras.Input((16, 16, 3))
    answer = keras.layers.Activation("softmax")(keras.layers.Rescaling(1 / 255)(image))
    network = keras.Model(image, Watched()(answer))
    asked.clear()
    images = RNG.integers(0, 255, (4, 16, 16, 3), np.uint8)
    split = Split("val", ("a", "b", "c", "d"), images, TRUTH, 4, {})
    overlays = Overlays(Measured(lambda: network), split, ("a", "b", "c"), tmp_path, 1)
    overlays.on_epoch_end(0)
    assert (tmp_path / "epoch-0001.jpg").is_file()
    assert asked == [False], "traced once"


def test_a_trainer_knows_how_long_it_waited_for_its_input() -> None:
    image = keras.Input((1,))
    network = Trainer(image, keras.layers.Dense(1)(image))
    network.compile("sgd", "mse", jit_compile=False)

    def slow():  # type: ignore[no-untyped-def]
        for _ in range(4):
            time.sleep(0.2)
            yield np.ones((2, 1), np.float32), np.ones((2, 1), np.float32)

    spec = tf.TensorSpec((2, 1))
    network.fit(tf.data.Dataset.from_generator(slow, output_signature=(spec, spec)), verbose=0)
    assert 0.6 < network.waited < 3
    network.waited = 0.0
    network.fit(np.ones((8, 1)), np.ones((8, 1)), batch_size=2, verbose=0)
    assert network.waited < 0.2


def test_only_a_better_score_replaces_the_best_network_and_patience_ends_training(
    tmp_path: Path,
) -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    best = BestModel(Measured(lambda: network), tmp_path / "best.keras", patience=2)
    best.set_model(network)
    network.stop_training = False
    kept = []
    for epoch, score in enumerate([0.5, 0.7, 0.6, 0.65]):
        network.layers[0].set_weights([np.full((2, 1), float(epoch)), np.zeros(1)])
        best.on_epoch_end(epoch, {"loss": 1.0, "val_miou": score})
        best.write()
        saved = keras.saving.load_model(tmp_path / "best.keras", compile=False)
        kept.append(saved.layers[0].get_weights()[0][0, 0])
        assert network.stop_training == (epoch == 3)
        assert network.layers[0].get_weights()[0][0, 0] == epoch, "what was measured last is back"
    best.on_epoch_end(4, {"loss": float("nan"), "val_miou": 0.9})
    assert kept == [0, 1, 1, 1]
    assert (best.best, best.best_epoch) == (0.7, 1)


def test_validation_sees_the_average_of_the_weights_and_training_goes_on_with_its_own() -> None:
    def network() -> keras.Model:
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])

    trainer, kept = network(), network()
    raw: list[float] = []
    trainer.compile(
        keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mae", jit_compile=False
    )
    trainer.set_weights([np.zeros((1, 1))])
    x, y = np.ones((3, 1), np.float32), np.full((3, 1), 9.0, np.float32)
    trainer.fit(
        x,
        y,
        batch_size=1,
        verbose=0,
        validation_data=(x, y),
        callbacks=[
            Measured(lambda: kept),
            Averages(),
            keras.callbacks.LambdaCallback(
                on_epoch_end=lambda epoch, logs: raw.append(trainer.get_weights()[0].item())
            ),
        ],
    )
    # each step adds 0.1: weights 0.1, 0.2, 0.3; their average 0.1, 0.15, 0.225
    assert raw == [pytest.approx(0.3)]
    assert kept.get_weights()[0].item() == pytest.approx(0.225)
