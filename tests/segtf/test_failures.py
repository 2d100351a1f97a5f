"""What the system refuses, or somebody takes away, in mid-training costs a line and no epoch."""

from __future__ import annotations

import csv
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from segtf import train as command
from voc_builder.base.errors import UserError
from voc_builder.base.tensorflow import import_tensorflow
from voc_builder.tree.voc import Dataset

pytestmark = pytest.mark.slow
tf = import_tensorflow()

import keras  # noqa: E402  after TensorFlow

from segtf.data import records, sampling  # noqa: E402
from segtf.training import callbacks  # noqa: E402

EPOCHS = 2
NO_SPACE = "No space left on device"
SETTINGS = {"arch": "tiny", "size": 32, "batch": 8, "epochs": EPOCHS, "patience": 0}


def trained(monkeypatch: pytest.MonkeyPatch, artifacts: Path, *more: object) -> int:
    """The exit code of `python -m segtf.train` for the run `r`."""
    arguments = ["--run", "r", "--artifacts", artifacts, *more]
    monkeypatch.setattr(sys, "argv", ["segtf.train", *map(str, arguments)])
    return command.main()


def begun(monkeypatch: pytest.MonkeyPatch, dataset: Dataset, artifacts: Path, *more: object) -> int:
    settings = [part for name, value in SETTINGS.items() for part in (f"--{name}", value)]
    return trained(monkeypatch, artifacts, "--data", dataset.path, *settings, *more)


def the_error(said: str) -> str:
    (line,) = [line for line in said.splitlines() if "error:" in line]
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    return line


def logged(run: Path) -> list[str]:
    with (run / "log.csv").open(newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def require_whole(run: Path, epochs: int) -> None:
    """What is kept belongs together: the state, its weights, and a row for each of its epochs."""
    state = json.loads((run / "backup/state.json").read_text())
    assert state["epochs"] == epochs
    assert [path.name for path in (run / "backup").glob("*.h5")] == [state["weights"]]
    assert logged(run)[:epochs] == [str(i) for i in range(epochs)]
    keras.saving.load_model(run / "best.keras", compile=False)
    assert not [path for path in run.rglob(".*") if "part" in path.name]


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, NO_SPACE)


def once(
    patch: pytest.MonkeyPatch, owner: object, name: str, when: Callable[..., bool], act: object
) -> None:
    """`act` stands in for a function whenever `when` says so of its arguments."""
    old = getattr(owner, name)
    patch.setattr(owner, name, lambda *a, **k: (act if when(*a, **k) else old)(*a, **k))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("owner", "name", "when", "file", "kept"),
    [
        (keras.Model, "save", lambda self, path: True, "best.keras", 0),
        (
            keras.callbacks.CSVLogger,
            "on_epoch_end",
            lambda self, epoch, logs=None: epoch == 1,
            "log.csv",
            1,
        ),
        (callbacks, "encode_jpeg", lambda image: True, "epoch-0001.jpg", 1),
    ],
)
def test_a_full_disk_names_the_file_and_the_run_goes_on_where_it_was(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    owner: object,
    name: str,
    when: Callable[..., bool],
    file: str,
    kept: int,
) -> None:
    monkeypatch.setattr(command, "finish", lambda folder: None)
    with monkeypatch.context() as patch:
        once(patch, owner, name, when, full)
        assert begun(patch, dataset, tmp_path) == 2
    line, run = the_error(capsys.readouterr().err), tmp_path / "runs/r"
    assert f"{file}: {NO_SPACE}" in line
    assert ".part" not in line
    assert "python -m segtf.train --run r --art" in line
    assert (run / "backup/state.json").is_file() == bool(kept)
    if kept:
        require_whole(run, kept)
    assert trained(monkeypatch, tmp_path, "--resume") == 0
    require_whole(run, EPOCHS)


def test_a_run_folder_that_vanishes_is_not_begun_anew_and_goes_on_when_it_is_back(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, away = tmp_path / "runs/r", tmp_path / "away"
    monkeypatch.setattr(command, "finish", lambda folder: None)
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Progress, "on_epoch_end", lambda *_: run.rename(away))
        assert begun(patch, dataset, tmp_path) == 2
    assert f"{run}/log.csv: No such file" in the_error(capsys.readouterr().err)
    assert not run.exists()
    away.rename(run)
    require_whole(run, 1)
    assert trained(monkeypatch, tmp_path, "--resume") == 0
    require_whole(run, EPOCHS)


def test_a_full_disk_at_the_very_begin_leaves_no_run_that_could_not_be_gone_on_with(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(command, "write_config", full)
        assert begun(patch, dataset, tmp_path) == 2
    assert f"runs/r: {NO_SPACE}" in the_error(capsys.readouterr().err)
    assert not list((tmp_path / "runs").iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert begun(patch, dataset, tmp_path, "--cache", "disk") == 2
    assert f"train_images: {NO_SPACE}" in the_error(capsys.readouterr().err)
    assert not list(tmp_path.glob(".cache-*"))


@pytest.mark.parametrize(
    "raised", [UserError("image 7: damaged: fix it"), KeyError("a bug")], ids=["user", "bug"]
)
def test_what_a_sample_raises_inside_tensorflow_comes_out_as_it_was(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: Exception,
) -> None:
    def fail(self: object, number: int) -> None:
        raise raised

    once(monkeypatch, sampling.Sampler, "sample", lambda self, number: number == 20, fail)
    monkeypatch.setattr(command, "finish", lambda folder: None)
    if isinstance(raised, KeyError):
        assert begun(monkeypatch, dataset, tmp_path) == 1
        assert "KeyError: 'a bug'" in capsys.readouterr().err, "a traceback, not a user's error"
        return
    assert begun(monkeypatch, dataset, tmp_path) == 2
    line = the_error(capsys.readouterr().err)
    assert f"error: {raised}; " in line
    assert "--resume" in line
    require_whole(tmp_path / "runs/r", 1)


def damaged(tree: Path, split: str, part: str, keep: float) -> None:
    """Cuts an image or a mask of a split short, in a record whose checksums are right."""
    shard = sorted((tree / "tfrecords").glob(f"{split}-*"))[0]
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(shard))]
    example = tf.train.Example.FromString(records[0])
    value = example.features.feature[part].bytes_list.value
    value[0] = value[0][: int(len(value[0]) * keep)]
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in [example.SerializeToString(), *records[1:]]:
            writer.write(record)


@pytest.mark.parametrize("part", ["image/encoded", "image/segmentation/class/encoded"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_damaged_record_is_named_before_the_first_step(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    split: str,
    part: str,
) -> None:
    tree = shutil.copytree(dataset.path, tmp_path / "voc")
    damaged(tree, split, part, keep=0.7)
    arguments = ["--data", tree, "--size", 32, "--arch", "tiny", "--batch", 4]
    assert trained(monkeypatch, tmp_path, *arguments) == 2
    line = the_error(capsys.readouterr().err)
    assert f"tfrecords/{split}-00000" in line
    assert ", record 0" in line
    assert not (tmp_path / "runs").exists()


def test_what_fails_at_the_end_can_be_mended_and_finished(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from segtf import finish

    tree = shutil.copytree(dataset.path, tmp_path / "voc")
    damaged(tree, "test", "image/encoded", keep=0.5)
    arguments = ["--data", tree, "--size", 32, "--arch", "tiny", "--batch", 8]
    assert trained(monkeypatch, tmp_path, *arguments, "--epochs", 1) == 2
    run, again = tmp_path / "runs/r", f": python -m segtf.finish {tmp_path}/runs/r"
    line = the_error(capsys.readouterr().err)
    assert "tfrecords/test-00000" in line
    assert again in line
    shutil.move(tree, tmp_path / "away")
    assert trained(monkeypatch, tmp_path, "--resume") == 2
    assert f"{tree}: no such folder" in the_error(capsys.readouterr().err)
    shutil.copytree(dataset.path, tree)
    monkeypatch.setattr(sys, "argv", ["segtf.finish", str(run)])
    write = "segtf.exporting.run.write_onnx"
    with monkeypatch.context() as patch:
        patch.setattr(write, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert finish.main() == 143
    assert again in capsys.readouterr().err
    with monkeypatch.context() as patch:
        patch.setattr(write, full)
        assert finish.main() == 2
    assert again in the_error(capsys.readouterr().err)
    assert finish.main() == 0
    assert (run / "report.html").is_file()


def test_sigterm_while_images_are_decoded_ends_the_run_before_it_begins(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(records, "_load_split", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert begun(monkeypatch, dataset, tmp_path) == 143
    assert "terminated" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_file_that_may_not_grow_is_named_by_a_real_process(
    dataset: Dataset, tmp_path: Path
) -> None:
    limit = 2**19  # bytes: the best network fits, the backup with its optimiser does not
    settings = [str(part) for name, value in SETTINGS.items() for part in (f"--{name}", value)]
    command = [sys.executable, "-m", "segtf.train", "--data", str(dataset.path), *settings]
    ended = subprocess.run(
        [*command, "--run", "r", "--artifacts", str(tmp_path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 2, ended.stderr
    weights = tmp_path / "runs/r/backup/epoch-0001-00000.weights.h5"
    assert f"{weights}: File too large" in the_error(ended.stderr)
    assert not list(weights.parent.iterdir()), "nothing half written takes the space"
    assert (tmp_path / "runs/r/best.keras").is_file()
    assert f"--run r --artifacts {tmp_path} --resume" in ended.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_named(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tmp_path.chmod(0o500)
    assert begun(monkeypatch, dataset, tmp_path) == 2
    assert f"{tmp_path}" in the_error(capsys.readouterr().err)
