"""The whole job on a tiny data set, and every wrong use in one line."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from segtf import train as command
from segtf.run.config import TrainConfig
from segtf.run.folder import read_config, read_data, write_config
from tests.voc_builder.folders import write_image, write_mask
from voc_builder.base.errors import UserError
from voc_builder.build import BuildConfig, build
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CLASSES = ("__background__", "fishka", "defect")
LEFT_BY_A_RUN = (
    *("config.yaml", "data.json", "environment.json", "log.csv", "best.keras"),
    *("backup/state.json", "curves.png", "metrics_val.json", "metrics_test.json"),
    *("confusion_val.png", "confusion_test.png", "objects_val.png", "objects_test.png"),
    *("saved_model/saved_model.pb", "model.onnx"),
    *("export.json", "report.html", "overlays/progress/epoch-0001.jpg"),
)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def called(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["segtf.train", *map(str, arguments)])
    return command.main()


def test_a_run_leaves_everything_that_is_promised(run: Path) -> None:
    assert [name for name in LEFT_BY_A_RUN if not (run / name).is_file()] == []
    test_ids = {
        image["id"] for image in json.loads((run / "metrics_test.json").read_text())["photos"]
    }
    assert {path.stem for path in (run / "overlays").glob("*.jpg")} == test_ids
    assert not list(run.glob(".*")), "nothing half written stays"


def test_the_log_has_a_row_an_epoch_with_every_column(run: Path) -> None:
    logged = rows(run)
    assert [row["epoch"] for row in logged] == ["0", "1"]
    wanted = {"epoch", "loss", "val_loss", "miou", "val_miou", "val_dice", "learning_rate"}
    wanted |= {"seconds", "images_per_second", "data_wait"}
    wanted |= {f"{prefix}iou_{name}" for prefix in ("", "val_") for name in CLASSES}
    assert set(logged[0]) == wanted
    for row in logged:
        scores = [float(row[f"val_iou_{name}"]) for name in CLASSES]
        present = [score for score in scores if not math.isnan(score)]
        assert float(row["val_miou"]) == pytest.approx(sum(present) / len(present))


def test_the_best_network_scores_on_val_what_the_log_says(run: Path) -> None:
    best = max(float(row["val_miou"]) for row in rows(run))
    values = json.loads((run / "metrics_val.json").read_text())
    assert values["miou"] == pytest.approx(best, abs=2e-3)


def test_a_training_that_no_command_line_began_records_none(run: Path) -> None:
    assert "command" not in json.loads((run / "environment.json").read_text())


def test_data_and_settings_are_remembered(run: Path) -> None:
    config, data = read_config(run), read_data(run)
    assert (config.size, config.encoder, config.batch) == (64, "mobilenetv2", 4)
    assert config.learning_rate == 1e-3, "from random weights"
    assert tuple(data["classes"]) == CLASSES
    assert data["images"] == {"train": 16, "val": 2, "test": 2}


def test_a_run_that_was_stopped_goes_on_with_its_log_its_score_and_its_optimiser(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    config = dataclasses.replace(read_config(run), epochs=3, artifacts=tmp_path, run="stopped")
    config = dataclasses.replace(
        config, arch="tiny", size=32, patience=0, backup_fraction=1
    )  # quick to trace
    folder = config.run_folder
    write_config(config, tmp_path)
    with monkeypatch.context() as patch:
        from segtf.training.callbacks import Overlays

        patch.setattr(Overlays, "on_epoch_end", lambda self, epoch, logs: epoch == 1 and stop())
        assert called(patch, "--config", str(tmp_path / "config.yaml")) == 130
    assert f"--run stopped --artifacts {tmp_path} --resume" in capsys.readouterr().err
    before = rows(folder)
    assert [row["epoch"] for row in before] == ["0", "1"]
    assert (folder / "best.keras").is_file()
    arguments = ("--run", "stopped", "--artifacts", str(tmp_path), "--resume")
    assert called(monkeypatch, *arguments) == 0
    after = rows(folder)
    assert after[:2] == before
    assert [row["epoch"] for row in after] == ["0", "1", "2"]
    rates = [float(row["learning_rate"]) for row in after]
    assert rates[0] > rates[1] > rates[2] > 0
    state = json.loads((folder / "backup/state.json").read_text())
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["command"].startswith("python -m segtf.train --config ")
    assert ["--resume" in command for command in environment["resumed"]] == [True]
    assert environment["seconds"] > 0
    assert state["best"] == pytest.approx(max(float(row["val_miou"]) for row in after))
    assert (folder / "report.html").is_file()


def test_a_run_stopped_in_its_first_epoch_begins_again_with_the_encoder_it_was_given(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    from voc_builder.base.tensorflow import import_tensorflow

    import_tensorflow()
    import keras

    data, weights = str(read_data(run)["path"]), str(run / "best.keras")
    first = ["--data", data, "--encoder", "mobilenetv2", "--encoder-weights", weights]
    usual = ["--run", "first", "--artifacts", str(tmp_path)]
    monkeypatch.setattr(keras.Model, "fit", stop)
    for arguments in ([*first, "--size", "64"], ["--resume"]):
        assert called(monkeypatch, *usual, *arguments) == 130
        assert "layers matched" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--size", "100"], "--size 100"),
        (["--arch", "segnet"], "unet, fpn, linknet, pspnet, unet_plain, tiny"),
        (["--resume", "--run", "never"], "not a run folder"),
        (["--class-weights", "1,5"], "--class-weights 1,5"),
        (["--batch", "99"], "--batch 99"),
        (["--encoder-weights", "gone.h5"], "gone.h5"),
        (["--sized", "64"], "--sized"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    usual = ["--data", str(images), "--artifacts", str(tmp_path), "--size", "64"]
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(called(monkeypatch, *usual, *arguments))
    assert ended.value.code == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert says in errors[0]
    assert not list((tmp_path / "runs").glob("*")), "no empty run folder stays behind"


@pytest.mark.parametrize(
    ("flags", "says"),
    [((), "--overwrite"), (("--overwrite", "--class-weights", "1,5"), "--class-weights 1,5")],
)
def test_a_run_of_the_same_name_is_not_lost_to_a_refused_setting(
    flags: tuple[str, ...],
    says: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = read_config(run)
    again = ("--data", config.data, "--artifacts", config.artifacts, "--run", "tiny", *flags)
    assert called(monkeypatch, *map(str, again)) == 2
    assert says in capsys.readouterr().err
    assert (run / "model.onnx").is_file()


def test_validation_images_of_void_alone_are_refused(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = command.open_dataset

    def void(config: TrainConfig) -> Dataset:
        dataset = found(config)
        pixels = {**dataset.pixels, "val": {"__ignore__": 5}}
        return dataclasses.replace(dataset, pixels=pixels)

    monkeypatch.setattr(command, "open_dataset", void)
    config = read_config(run)
    arguments = ("--data", config.data, "--artifacts", tmp_path, "--size", "64")
    assert called(monkeypatch, *map(str, arguments)) == 2
    assert "the val masks are all void" in capsys.readouterr().err


def test_a_class_that_the_list_does_not_have_stops_before_training(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "names").write_text("__background__\nfishka\ndefects\n")
    arguments = ("--data", images, "--artifacts", tmp_path, "--classes", tmp_path / "names")
    assert called(monkeypatch, *map(str, arguments)) == 2
    assert "defects" in capsys.readouterr().err


def test_records_smaller_than_the_training_size_are_refused(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    build(BuildConfig(images, tmp_path / "voc", record_size=32))
    arguments = ("--data", tmp_path / "voc", "--artifacts", tmp_path, "--size", "64")
    assert called(monkeypatch, *map(str, arguments)) == 2
    assert "32 x 32, --size 64" in capsys.readouterr().err


def test_a_broken_record_file_is_named(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tree = tmp_path / "voc"
    shutil.copytree(dataset.path, tree)
    shard = next((tree / "tfrecords").glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    arguments = ("--data", tree, "--artifacts", tmp_path, "--size", "64")
    assert called(monkeypatch, *map(str, arguments)) == 2
    assert shard.name in capsys.readouterr().err


@pytest.mark.parametrize("module", ["train", "evaluate", "experiment", "export", "predict"])
def test_help_answers_without_loading_a_framework(module: str) -> None:
    script = (
        "import sys;"
        "sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'matplotlib', 'mlflow']));"
        f"import segtf.{module} as command; sys.argv[1:] = ['--help']; command.main()"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "--config" in shown.stdout


def test_out_of_memory_names_the_batch_to_try(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from voc_builder.base.tensorflow import import_tensorflow

    tf = import_tensorflow()
    import keras

    def full(*_: object, **__: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", full)
    usual = ["--data", str(images), "--artifacts", str(tmp_path), "--size", "32"]
    assert called(monkeypatch, *usual, "--arch", "tiny", "--batch", "8") == 2
    (line,) = [li for li in capsys.readouterr().err.splitlines() if "error:" in li]
    assert "out of memory" in line
    assert "--batch 4" in line


def test_a_loss_that_becomes_nan_stops_the_run_and_no_such_network_is_kept(
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from segtf.networks.losses import SegmentationLoss

    monkeypatch.setattr(
        SegmentationLoss, "call", lambda self, truth, answer: answer[0, 0] * float("nan")
    )
    usual = ["--data", str(images), "--artifacts", str(tmp_path), "--size", "32", "--run", "nan"]
    assert called(monkeypatch, *usual, "--arch", "tiny", "--batch", "8") == 2
    (line,) = [li for li in capsys.readouterr().err.splitlines() if "error:" in li]
    assert "NaN in epoch 1" in line
    assert "--learning-rate" in line
    assert not (tmp_path / "runs/nan/best.keras").exists()


def test_a_training_that_chose_the_same_name_meanwhile_keeps_its_folder(tmp_path: Path) -> None:
    config = TrainConfig(run="run", batch=1, artifacts=tmp_path)
    (config.run_folder / "backup").mkdir(parents=True)
    with pytest.raises(UserError, match="--run"):
        command._begin(config, None, None, None)  # type: ignore[arg-type]
    assert (config.run_folder / "backup").is_dir()


@pytest.mark.parametrize(("free", "warned"), [(10**12, False), (10**3, True)])
def test_a_run_says_what_memory_it_will_take_and_warns_where_that_is_too_much(
    free: int, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from segtf.data import memory
    from segtf.networks.model import build_model

    monkeypatch.setattr(memory, "free_memory", lambda: free)
    config = TrainConfig(arch="tiny", size=64, batch=4)
    command._report_memory(config, build_model("tiny", "", 3, (64, 64)))
    assert ("--batch 2 --accumulate 2" in capsys.readouterr().err) == warned


def test_the_command_ends_a_run_in_a_process_that_has_not_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # of what keeps the tests within their process
    became: list[object] = []
    monkeypatch.setattr(sys, "stdout", None)  # it may be closed
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setattr(os, "execve", lambda *all_of: became.append(all_of))
    monkeypatch.setattr(
        subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], returncode=1)
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path.cwd())])
    assert command.hand_over(Path("runs/it")) == 1
    monkeypatch.setattr(sys, "path", ["/site"])  # that of a console script
    assert command.hand_over(Path("runs/it")) == 1
    [(program, arguments, environment), (_, others, _)] = became  # type: ignore[misc]
    assert others[1:3] == ["-P", "-m"], "modules of the working directory stay unseen"
    assert program == sys.executable
    assert arguments[1:] == ["-m", "segtf.finish", "runs/it"]
    assert environment["KERAS_BACKEND"] == "tensorflow"


def test_the_command_ends_well_where_test_does_not_show_the_class_that_val_shows(
    tmp_path: Path,
) -> None:
    """From the first line to the last, as its users run it."""
    for number, name in enumerate(("train", "train", "train", "train", "valid", "test")):
        pixels = np.full((48, 48, 3), 40 + 10 * number, np.uint8)
        mask = np.zeros((48, 48), np.uint8)
        places = {1: np.s_[4:20, 4:44], 2: np.s_[28:40, 8:30]}
        for class_id, place in places.items():
            pixels[place] = 90 * class_id + number
            if (name, class_id) != ("test", 2):  # there it is a false alarm
                mask[place] = class_id
        for part, image in ((name, pixels), (f"{name}_mask", mask)):
            (tmp_path / "photos" / part).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "photos" / part / f"{number}.png"), image)
    (tmp_path / "names.txt").write_text("background\nchip\ndefect\n", encoding="utf-8")
    flags = ["--data", "photos", "--source", "masks", "--classes", "names.txt", "--size", "32"]
    flags += ["--arch", "unet_plain", "--epochs", "8", "--batch", "2", "--run", "run"]
    flags += ["--learning-rate", "0.003", "--augment", "none", "--deterministic"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-m", "segtf.train", *flags],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    run = tmp_path / "artifacts/runs/run"
    assert (run / "model.onnx").is_file()
    assert (run / "report.html").is_file()
    scores = {
        split: json.loads((run / f"metrics_{split}.json").read_text(encoding="utf-8"))
        for split in ("val", "test")
    }
    assert scores["val"]["objects"]["classes"]["defect"]["true"] == 1
    assert scores["test"]["objects"]["classes"]["defect"]["true"] == 0


def test_a_split_without_a_test_is_trained_on_to_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "people"
    for split, count in {"train": 4, "valid": 2}.items():
        for number in range(count):
            write_image(folder / f"{split}/{split}{number}.jpg")
            write_mask(folder / f"{split}_mask/{split}{number}.png", [0, 255])
    write_image(folder / "test/1.jpg")  # without a mask
    config = TrainConfig(
        folder,
        source="masks",
        mask_values="0=background,255=person",
        arch="tiny",
        size=32,
        epochs=1,
        batch=2,
        artifacts=tmp_path,
    )
    run = command.train(config)
    data = json.loads((run / "data.json").read_text())
    assert data["images"] == {"train": 4, "val": 2, "test": 0}
    assert data["classes"] == ["background", "person"]
    assert (run / "metrics_val.json").is_file() and not (run / "metrics_test.json").exists()
    assert "person" in (run / "report.html").read_text(encoding="utf-8")
    assert {path.name for path in (run / "overlays").glob("*.jpg")} == {"valid0.jpg", "valid1.jpg"}
