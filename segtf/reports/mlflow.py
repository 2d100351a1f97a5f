"""Log runs and register their models with MLflow: on a server, or in a store beside the runs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import yaml

from segtf.inference.onnx_model import MODEL_FILE as ONNX
from segtf.run.folder import AUGMENT, CONFIG, DATA, ENVIRONMENT, EXPORT, LOG, SIZING, read_data
from segtf.run.log import read_log
from segtf.scoring.split_scores import read_run_scores
from voc_builder.base.errors import UserError

STORE, FILES = "mlflow.db", "mlflow"  # the store, in the folder of artifacts
MODEL = "model"  # the folder of a registered model within its run's files
SMALL_FILES = (
    *(CONFIG, DATA, ENVIRONMENT, AUGMENT, SIZING, EXPORT, LOG, "report.html", "curves.png"),
    *("metrics_*.json", "confusion_*.png", "objects_*.png", "thresholds_*.png"),
)
QUIET = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",  # git need not be installed
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default of 7 takes minutes
}


@dataclass(frozen=True)
class Server:
    """Where runs are logged and models are registered."""

    uri: str
    files: str | None  # URI for the files of new experiments; None: the server decides

    @property
    def place(self) -> str:
        """The address without a password."""
        return _without_password(self.uri)


def open_server(artifacts: Path) -> Server:
    """The server that MLFLOW_TRACKING_URI names, else the store in `artifacts`, which MLflow uses
    from now on; it is not contacted yet. Raises `UserError` where MLflow is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ModuleNotFoundError as error:
        raise UserError(
            f"experiments are logged with MLflow: no package {error.name}: "
            "pip install 'segtf[mlflow]'"
        ) from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        server = Server(uri, files=None)
    else:
        artifacts.mkdir(parents=True, exist_ok=True)
        folder = artifacts.resolve()
        server = Server(f"sqlite:///{folder / STORE}", files=(folder / FILES).as_uri())
    mlflow.set_tracking_uri(server.uri)
    mlflow.set_registry_uri(server.uri)
    return server


@contextlib.contextmanager
def answering(server: Server) -> Iterator[None]:
    """Raises `UserError` for every error of the server, its store or the connection."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except UserError:
            raise
        # MLflow's own, those of requests and SQLAlchemy, OSError
        except Exception as error:
            raise UserError(f"{server.place}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The system's message, such as "Connection refused", which MLflow wraps in several errors;
    without one MLflow's own.
    """
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    for cause in reversed(chain):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return f"{type(error).__name__}: {_without_password(' '.join(str(error).split()))[:300]}"


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def check_server(server: Server) -> None:
    """Raises `UserError` if the server does not answer."""
    import mlflow

    with answering(server):
        mlflow.search_experiments(max_results=1)


def log_run(server: Server, run: Path, *, experiment: str, name: str) -> str:
    """Logs settings, curves, scores and small files of a run under `experiment`, with the name of
    the experimenter; returns MLflow's id of the run. Raises `UserError`.
    """
    import mlflow

    path = run / ENVIRONMENT
    if not path.is_file():
        raise UserError(f"{path}: no such file: name the folder of a run whose training has ended")
    environment = json.loads(path.read_text(encoding="utf-8"))
    settings = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    start = datetime.strptime(environment["started"], "%Y-%m-%d %H:%M:%S %z").timestamp()
    data, log = read_data(run), read_log(run / LOG)
    tags = {
        "mlflow.user": name,
        "experimenter": name,
        "dataset": data["path"],
        "dataset_sha256": data["sha256"],
        "segtf_version": environment["segtf"],
        "command": environment.get("command", "not recorded"),
    }
    with answering(server):
        client = mlflow.MlflowClient()
        created = client.create_run(
            mlflow.set_experiment(experiment_id=_experiment_id(server, experiment)).experiment_id,
            start_time=_milliseconds(start),
            tags=tags,
            run_name=run.resolve().name,
        )
        with mlflow.start_run(run_id=created.info.run_id) as active:
            mlflow.log_params(settings)
            names = metric_names(column for column in log if column != "epoch")
            ends = start + np.cumsum(np.nan_to_num(log["seconds"]))
            for row, (epoch, end) in enumerate(zip(log["epoch"], ends, strict=True)):
                values = {name: float(log[column][row]) for column, name in names.items()}
                mlflow.log_metrics(values, step=int(epoch), timestamp=_milliseconds(end))
            mlflow.log_metrics(best_scores(run))
            for path in (path for pattern in SMALL_FILES for path in sorted(run.glob(pattern))):
                mlflow.log_artifact(str(path))
        end = _milliseconds(start + environment["seconds"])
        client.set_terminated(created.info.run_id, end_time=end)
        return str(active.info.run_id)


def keep_model(server: Server, run: Path, run_id: str, *, model: str) -> int:
    """Registers the ONNX file of a logged run as a version of `model`, and returns the version.
    Raises `UserError`.
    """
    import onnx

    with answering(server), tempfile.TemporaryDirectory() as folder:
        import mlflow.onnx
        from mlflow.exceptions import MlflowException

        packed = Path(folder) / MODEL
        mlflow.onnx.save_model(
            onnx.load(run / ONNX),
            packed,
            pip_requirements=["onnxruntime"],
            save_as_external_data=False,
        )
        shutil.copyfile(run / ONNX, packed / ONNX)  # byte for byte
        mlflow.log_artifacts(str(packed), MODEL, run_id=run_id)
        # mlflow.register_model would print to stderr
        client = mlflow.MlflowClient()
        with contextlib.suppress(MlflowException):  # it exists; the next call reports other errors
            client.create_registered_model(model)
        logged = mlflow.get_run(run_id)
        version = client.create_model_version(
            model,
            f"{logged.info.artifact_uri}/{MODEL}",
            run_id,
            tags={"experimenter": logged.data.tags["experimenter"]},
        )
        return int(version.version)


def is_logged(run_id: str) -> bool:
    """Whether the server has all of the run with this id."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        info = mlflow.get_run(run_id).info
    except MlflowException:
        return False
    return bool(info.status == "FINISHED" and info.lifecycle_stage == "active")


def best_scores(run: Path) -> dict[str, float]:
    """Scores of a run's best network on val and test, as far as it has them, by metric name."""
    found: dict[str, float | None] = {}
    for split, scores in read_run_scores(run).items():
        found |= {f"best_{split}_miou": scores.miou, f"best_{split}_dice_mean": scores.dice_mean}
        found |= {f"best_{split}_iou_{name}": value for name, value in scores.iou.items()}
        found |= {f"best_{split}_dice_{name}": value for name, value in scores.dice.items()}
    known = {name: value for name, value in found.items() if value is not None}
    return {name: known[key] for key, name in metric_names(known).items()}


def metric_names(names: Iterable[str]) -> dict[str, str]:
    """A different metric name that MLflow allows for each of `names`."""
    allowed: dict[str, str] = {}
    for name in names:
        plain = unique = re.sub(r"[^\w.\- :]", "_", name)
        number = 1
        while unique in allowed.values():
            number += 1
            unique = f"{plain}_{number}"
        allowed[name] = unique
    return allowed


def _experiment_id(server: Server, name: str) -> str:
    import mlflow

    known = mlflow.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    return str(mlflow.create_experiment(name, artifact_location=server.files))


def _milliseconds(seconds: float) -> int:
    return round(1000 * float(seconds))
