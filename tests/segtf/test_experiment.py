"""An experiment is trained, judged and written down by MLflow; its model is kept if wanted."""

from __future__ import annotations

import csv
import math
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from segtf import experiment as of
from segtf.experiment import ExperimentConfig
from segtf.run.config import TrainConfig
from segtf.run.folder import read_config
from segtf.scoring.split_scores import SplitScores
from tests.segtf.split_scores import split_scores, write_scores
from voc_builder.base.command import parse
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytestmark = pytest.mark.slow
DEADLINE = 120  # seconds that a server has to start on a busy machine
ANNA = ("--recipe", "chips", "--name", "Anna-Maria O'Neil")
FILES = {
    *("config.yaml", "data.json", "environment.json", "log.csv", "export.json"),
    *("report.html", "curves.png", "metrics_val.json", "metrics_test.json"),
    *("confusion_val.png", "confusion_test.png", "objects_val.png", "objects_test.png"),
}


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with MLflow's tables, which take seconds to make, and nothing in them."""
    pytest.importorskip("mlflow")
    from segtf.reports.mlflow import check_server, open_server

    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        check_server(open_server(folder))
    return folder / "mlflow.db"


@pytest.fixture
def artifacts(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of artifacts whose store is empty; the working directory is another one."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "chips.yaml"
    path.write_text(
        "data: images\nsize: 64\nencoder: mobilenetv2\nseed: 7\nrun: a\noverwrite: true\n"
    )
    return path


@pytest.fixture
def trained(run: Path, monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """In place of training: every run leaves what a tiny one left. The settings they had."""
    seen: list[TrainConfig] = []

    def train(config: TrainConfig, *, command: str | None = None) -> Path:
        seen.append(config)
        shutil.copytree(run, config.run_folder)
        return config.run_folder

    monkeypatch.setattr(of, "train", train)
    return seen


@pytest.fixture(scope="module")
def server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real server, which ends with the tests."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", port, "--workers", 1]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", folder / "files"]
    jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # nobody schedules any
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*map(str, command)],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **jobs},
            start_new_session=True,  # its workers end with it
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(f"{address}/health", process, folder / "log")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"no server at {address}:\n{log.read_text(encoding='utf-8')}")


def called(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["segtf.experiment", *map(str, arguments)])
    return of.main()


def typed(*lines: str) -> Callable[[str], str]:
    """Somebody who types these lines, and then Ctrl-D."""
    left = iter(lines)

    def answer(_: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    return answer


def at_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)


def store_of(artifacts: Path) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{artifacts / 'mlflow.db'}")


def runs(client: MlflowClient, experiment: str = "chips") -> list[Any]:
    found = client.get_experiment_by_name(experiment)
    return [] if found is None else list(client.search_runs([found.experiment_id]))


def files(client: MlflowClient, run_id: str, folder: str | None = None) -> set[str]:
    return {file.path for file in client.list_artifacts(run_id, folder)}


def test_a_real_server_has_the_run_its_curves_its_files_and_its_model(
    server: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    assert called(monkeypatch, "--log-run", run, *ANNA, "--keep", "yes") == 0
    said = capsys.readouterr()
    assert server in said.err
    assert said.out.splitlines()[-1].endswith(f"version 1 of chips at {server}")

    client = MlflowClient(server)
    (logged,) = runs(client)
    assert (logged.info.status, logged.info.run_name) == ("FINISHED", "tiny")
    config, data = read_config(run), yaml.safe_load((run / "data.json").read_text())
    assert logged.data.tags["experimenter"] == "Anna-Maria O'Neil"
    assert logged.data.tags["dataset_sha256"] == data["sha256"]
    assert logged.data.tags["segtf_version"] == "0.1.0"
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert logged.data.params == {key: str(value) for key, value in settings.items()}
    assert logged.data.params["encoder"] == config.encoder
    _assert_curves(client, logged.info.run_id, run / "log.csv")
    val = yaml.safe_load((run / "metrics_val.json").read_text())
    for name in val["classes"]:
        assert logged.data.metrics[f"best_val_iou_{name}"] == val["iou"][name]
        assert logged.data.metrics[f"best_val_dice_{name}"] == val["dice"][name]

    assert files(client, logged.info.run_id) >= FILES
    page = client.download_artifacts(logged.info.run_id, "report.html", str(tmp_path))
    assert Path(page).read_bytes() == (run / "report.html").read_bytes()
    (version,) = client.search_model_versions("name='chips'")
    assert (version.version, version.run_id) == ("1", logged.info.run_id)
    uris = {"tracking_uri": server, "registry_uri": server}
    model = download_artifacts("models:/chips/1", dst_path=str(tmp_path / "kept"), **uris)
    assert Path(model, "model.onnx").read_bytes() == (run / "model.onnx").read_bytes()


def _assert_curves(client: MlflowClient, run_id: str, log: Path) -> None:
    """Every column of the log has a point an epoch, of its very value."""
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert "val_iou_fishka" in rows[0]
    for column in set(rows[0]) - {"epoch"}:
        points = client.get_metric_history(run_id, column)
        assert [point.step for point in points] == [int(row["epoch"]) for row in rows]
        wanted = [float(row[column] or "nan") for row in rows]
        for point, value in zip(points, wanted, strict=True):
            assert point.value == value or (math.isnan(point.value) and math.isnan(value))


def test_an_experiment_changes_its_recipe_and_asks_before_it_keeps(
    artifacts: Path,
    recipe: Path,
    trained: list[TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at_terminal(monkeypatch)
    (tmp_path / "experiment.yaml").write_text(
        f"recipe: {recipe}\nepochs: 3\noptimizer: adamw\nartifacts: {artifacts}\ngood_iou: 0.4\n"
    )
    config = parse(ExperimentConfig, "test", ["--config", str(tmp_path / "experiment.yaml")])
    folder = of.experiment(config, typed("Анна", "Anna Petrova", "no"))
    assert folder == artifacts / "runs/chips-anna-petrova"
    (settings,) = trained
    assert (settings.epochs, settings.optimizer, settings.seed) == (3, "adamw", 7)
    assert not settings.overwrite
    said = capsys.readouterr().out
    assert "good_iou 0.4" in said
    client = store_of(artifacts)
    (logged,) = runs(client)
    assert logged.data.tags["experimenter"] == "Anna Petrova"
    assert files(client, logged.info.run_id) >= FILES
    assert "model.onnx" not in files(client, logged.info.run_id)
    assert client.search_registered_models() == []

    again = shlex.split(re.findall(r"python -m segtf\.experiment (.*)", said)[-1])
    for _ in range(2):  # the second time it is kept already
        assert called(monkeypatch, *again) == 0
        assert "version 1 of chips" in capsys.readouterr().out
    assert [each.info.run_id for each in runs(client)] == [logged.info.run_id], "not twice"
    assert len(client.search_model_versions("name='chips'")) == 1
    assert list(Path().iterdir()) == [], "nothing is left where it was started"

    assert of.experiment(config, typed("Anna Petrova", "yes")).name == "chips-anna-petrova-2"
    kept = client.search_model_versions("name='chips'")
    assert sorted(int(each.version) for each in kept) == [1, 2]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_a_question_left_unanswered_keeps_no_model_and_loses_no_run(
    end: type[BaseException],
    artifacts: Path,
    recipe: Path,
    trained: list[TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def leave(_: str) -> str:
        raise end

    at_terminal(monkeypatch)
    config = ExperimentConfig(recipe=str(recipe), name="Anna", artifacts=artifacts)
    if end is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            of.experiment(config, leave)
    else:
        of.experiment(config, leave)
    said = "".join(capsys.readouterr())
    assert f"--log-run {trained[0].run_folder}" in said
    assert len(runs(store_of(artifacts))) == 1
    assert store_of(artifacts).search_registered_models() == []


def test_a_server_that_does_not_answer_is_told_of_before_and_costs_no_run(
    artifacts: Path,
    recipe: Path,
    trained: list[TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    usual = ("--recipe", recipe, "--name", "Anna", "--artifacts", artifacts)
    assert called(monkeypatch, *usual, "--keep", "yes") == 2
    (folder,) = [settings.run_folder for settings in trained]
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("warning: http://127.0.0.1:1: ")
    assert "secret" not in first + last
    (again,) = re.findall(r"go on with: python -m segtf\.experiment (.*)", last)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert called(monkeypatch, *shlex.split(again), "--keep", "no") == 0
    (logged,) = runs(store_of(artifacts))
    assert logged.info.run_name == folder.name


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ((), "--name NAME and --keep"),
        (("--name", "Anna"), "give --keep"),
        (("--name", "Анна", "--keep", "no"), "--name 'Анна'"),
        (("--good-iou", "50"), "--good-iou 50.0"),
        (("--recipe", "chops", "--name", "A", "--keep", "no"), "--recipe chops"),
        (("--epochs", "0", "--name", "A", "--keep", "no"), "--epochs 0"),
        (("--optimizer", "adamm"), "--optimizer"),
        (("--log-run", "gone", "--name", "A", "--keep", "no"), "gone: "),
    ],
)
def test_wrong_use_is_one_line_before_anything_is_trained(
    flags: tuple[str, ...],
    says: str,
    recipe: Path,
    trained: list[TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    usual = ("--recipe", recipe, "--artifacts", tmp_path / "artifacts")
    with pytest.raises(SystemExit) as ended:
        raise SystemExit(called(monkeypatch, *usual, *flags))
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert trained == []


def test_without_mlflow_the_line_says_how_to_install_it(
    recipe: Path,
    trained: list[TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert called(monkeypatch, "--recipe", recipe, "--name", "Anna", "--keep", "no") == 2
    assert "no package mlflow: pip install 'segtf[mlflow]'" in capsys.readouterr().err
    assert trained == []


def test_a_run_that_is_stopped_says_how_it_gets_to_the_server_later(
    artifacts: Path,
    recipe: Path,
    trained: list[TrainConfig],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = of.train

    def stopped(config: TrainConfig, *, command: str | None = None) -> Path:
        whole(config, command=command)
        raise KeyboardInterrupt

    monkeypatch.setattr(of, "train", stopped)
    usual = ("--recipe", recipe, "--name", "Anna", "--artifacts", artifacts)
    assert called(monkeypatch, *usual, "--keep", "yes") == 130
    assert f"{of.PROG} --log-run {trained[0].run_folder} --recipe" in capsys.readouterr().err
    assert runs(store_of(artifacts)) == []


def test_the_shipped_file_of_settings_is_one_of_an_experiment() -> None:
    path = of.RECIPES / "experiment.yaml"
    config = parse(ExperimentConfig, "test", ["--config", str(path)])
    settings = of._settings(config)
    assert (settings.epochs, settings.loss, settings.source) == (10, "ce + dice", "yolo")
    named = set(yaml.safe_load(path.read_text()))
    assert named >= {"recipe", "seed", "epochs", "learning_rate", "batch", "optimizer", "loss"}
    assert config.good_iou == 0.5


def test_a_file_without_a_recipe_is_refused() -> None:
    with pytest.raises(UserError, match="--recipe"):
        ExperimentConfig()


@pytest.mark.parametrize("name", ["Anna", "o", "Jean-Luc Picard", "Anna-Maria O'Neil", "a" * 60])
def test_names_are_latin_letters_with_one_sign_between_them(name: str) -> None:
    assert ExperimentConfig(recipe="pets", name=name).name == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "Анна", "Zoë", "Anna2", "-Anna", "Anna-", "An  na", "An- na", "Anna\n", "a" * 61],
)
def test_anything_else_is_no_name(name: str) -> None:
    with pytest.raises(UserError, match="--name"):
        ExperimentConfig(recipe="pets", name=name)


def test_a_name_is_asked_for_until_it_is_one() -> None:
    assert of.ask_name(typed("Анна", "", "  Anna Petrova ")) == "Anna Petrova"
    with pytest.raises(UserError):
        of.ask_name(typed("1"))


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (("yes",), True),
        (("Y",), True),
        (("no",), False),
        (("perhaps", "", " n "), False),
        (("perhaps",), None),
    ],
)
def test_yes_or_no_is_asked_for_until_it_is_one(
    lines: tuple[str, ...], answer: bool | None
) -> None:
    assert of.ask_yes_no("Keep it?", typed(*lines)) is answer


def scores(iou: float | None, *names: str) -> SplitScores:
    """Of the background and one more class."""
    first, last = names * 2 or ("background", "object")
    dice = None if iou is None else 2 * iou / (1 + iou)
    return split_scores(
        {first: 0.98, last: iou}, 0.8, dice={first: 0.99, last: dice}, dice_mean=0.9
    )


@pytest.mark.parametrize(
    ("iou", "names", "judged", "kept"),
    [
        (0.4321, (), "object", False),
        (0.5, (), "object", True),
        (None, (), "object", False),
        (0.98, ("background",), "the mean", True),
    ],
)
def test_advice_names_the_class_and_whether_to_keep(
    iou: float | None, names: tuple[str, ...], judged: str, kept: bool
) -> None:
    said = of.advice(scores(iou, *names), 0.5)
    assert said.startswith(judged)
    assert ("worth keeping" in said) == kept


def test_columns_show_iou_and_dice_of_each_class_and_split() -> None:
    shown = of.score_columns({"val": scores(0.5), "test": scores(None)})
    assert shown.splitlines() == [
        "                 IoU val  Dice val  IoU test  Dice test",
        "background        0.9800    0.9900    0.9800     0.9900",
        "object (target)   0.5000    0.6667         –          –",
        "mean              0.8000    0.9000    0.8000     0.9000",
    ]


def test_scores_are_read_where_there_are_any(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"python -m segtf\.finish "):
        of.read_scores(tmp_path)
    write_scores(tmp_path, "val", scores(0.5))
    assert list(of.read_scores(tmp_path)) == ["val"]
