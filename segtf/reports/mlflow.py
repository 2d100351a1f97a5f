"""Put a run and its model on an MLflow server, or into a store of its own beside the runs."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from segtf.inference.onnx_model import MODEL_FILE as ONNX
from segtf.reports.tracked import best_scores, curves
from segtf.run.folder import (
    AUGMENT,
    CONFIG,
    DATA,
    ENVIRONMENT,
    EXPORT,
    LOG,
    SIZING,
    read_data,
)
from segtf.run.log import read_log
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

STORE, FILES = "mlflow.db", "mlflow"  # within the folder of artifacts; no server is needed for it
MODEL = "model"  # the folder of a run's files in which a model that is kept lies
SMALL_FILES = (
    *(CONFIG, DATA, ENVIRONMENT, AUGMENT, SIZING, EXPORT, LOG, "report.html", "curves.png"),
    *("metrics_*.json", "confusion_*.png", "objects_*.png", "thresholds_*.png"),
)
METRICS_A_CALL = 1000  # that a server takes
QUIET = {
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",  # a machine without git is no mistake
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # seven take minutes to say that nobody answers
}
Json = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """Where runs are written down and models are kept."""

    uri: str
    client: MlflowClient
    files: str | None  # where the files of new experiments go; None: where the server puts them

    @property
    def place(self) -> str:
        """The address as it may be shown."""
        return _without_password(self.uri)


def open_server(artifacts: Path) -> Server:
    """The server that MLFLOW_TRACKING_URI names, else the store in `artifacts`; whether it answers
    is not known yet. Raises `UserError` where MLflow is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError as error:
        raise UserError(
            f"experiments are written down by MLflow: no package {error.name}: "
            "pip install 'segtf[mlflow]'"
        ) from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if uri:
        return Server(uri, MlflowClient(uri), files=None)
    artifacts.mkdir(parents=True, exist_ok=True)
    folder = artifacts.resolve()
    uri = f"sqlite:///{folder / STORE}"
    return Server(uri, MlflowClient(uri), files=(folder / FILES).as_uri())


@contextlib.contextmanager
def answering(server: Server) -> Iterator[None]:
    """Raises `UserError` for whatever the server, the way to it or its store refuses."""
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
    """What the system said if it began with that, such as "Connection refused": MLflow wraps it up
    in several errors; else what MLflow said.
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
    with answering(server):
        server.client.search_experiments(max_results=1)


def log_run(server: Server, run: Path, *, experiment: str, name: str) -> str:
    """Writes settings, curves, scores and the small files of a run down under `experiment`; `name`
    is the experimenter's. Returns MLflow's id of the run. Raises `UserError`.
    """
    client, environment = server.client, _environment(run)
    started = datetime.strptime(environment["started"], "%Y-%m-%d %H:%M:%S %z").timestamp()
    data, log = read_data(run), read_log(run / LOG)
    tags = {
        "mlflow.user": name,
        "experimenter": name,
        "dataset": data["path"],
        "dataset_sha256": data["sha256"],
        "segtf_version": environment["segtf"],
        "command": environment["command"],
    }
    with answering(server):
        begun = client.create_run(
            _experiment_id(server, experiment),
            start_time=round(1000 * started),
            tags=tags,
            run_name=run.resolve().name,
        )
        run_id: str = begun.info.run_id
        try:
            _log_all(client, run_id, run, [*curves(log, started), *best_scores(run)])
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                client.set_terminated(run_id, "FAILED")
            raise
        ended = started + environment["seconds"]
        client.set_terminated(run_id, "FINISHED", end_time=round(1000 * ended))
    return run_id


def keep_model(server: Server, run: Path, run_id: str, *, model: str) -> int:
    """Registers the ONNX file of a run that is written down as a version of `model`, and returns
    the version. Raises `UserError`.
    """
    import onnx

    client = server.client
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
        shutil.copyfile(run / ONNX, packed / ONNX)  # as it is, byte for byte
        client.log_artifacts(run_id, str(packed), MODEL)
        with contextlib.suppress(MlflowException):  # what else is wrong the next call tells
            client.create_registered_model(model)
        written = client.get_run(run_id)
        version = client.create_model_version(
            model,
            f"{written.info.artifact_uri}/{MODEL}",
            run_id,
            tags={"experimenter": written.data.tags["experimenter"]},
        )
        return int(version.version)


def is_logged(server: Server, run_id: str) -> bool:
    """Whether the server has a run of this id, all of it."""
    from mlflow.exceptions import MlflowException

    try:
        found = server.client.get_run(run_id)
    except MlflowException:
        return False
    return bool(found.info.status == "FINISHED" and found.info.lifecycle_stage == "active")


def _experiment_id(server: Server, name: str) -> str:
    known = server.client.get_experiment_by_name(name)
    if known is not None:
        return str(known.experiment_id)
    return str(server.client.create_experiment(name, artifact_location=server.files))


def _log_all(client: MlflowClient, run_id: str, run: Path, metrics: list[Metric]) -> None:
    from mlflow.entities import Param

    settings = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    client.log_batch(run_id, params=[Param(key, str(value)) for key, value in settings.items()])
    for start in range(0, len(metrics), METRICS_A_CALL):
        client.log_batch(run_id, metrics=metrics[start : start + METRICS_A_CALL])
    for pattern in SMALL_FILES:
        for path in sorted(run.glob(pattern)):
            client.log_artifact(run_id, str(path))


def _environment(run: Path) -> Json:
    path = run / ENVIRONMENT
    if not path.is_file():
        raise UserError(f"{path}: no such file: name the folder of a run whose training has ended")
    values: Json = json.loads(path.read_text(encoding="utf-8"))
    return values
