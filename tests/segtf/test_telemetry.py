"""Nothing is reported to anyone, and no identifier of the machine is written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.segtf.tiny_onnx import write_channels_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
KEPT = ("PATH", "TMPDIR", "LANG", "LC_ALL")  # without CI and the like, which silence MLflow too
# every module of every command, then what the commands import when they need it, and an answer;
# whoever looks up an address is told by the name of what he looks for
COMMANDS = """
import importlib, pkgutil, socket, sys

def lookup(host, *_, **__):
    print("looks up", host)
    raise OSError("no network here")

socket.getaddrinfo = lookup
packages = [importlib.import_module(name) for name in ("voc_builder", "segtf", "scripts")]
for package in packages:
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
for name in ("albumentations", "mlflow", "onnxruntime.quantization", "tf2onnx"):
    importlib.import_module(name)
import numpy as np
from segtf.inference.onnx_model import OnnxModel
from segtf.reports.mlflow import check_server, open_server
from pathlib import Path

OnnxModel(Path(sys.argv[1])).probabilities(np.zeros((1, 16, 16, 3), np.uint8))
check_server(open_server(Path("artifacts")))
"""


def test_no_command_reports_to_the_makers_of_its_packages(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    write_channels_model(tmp_path / "model.onnx")
    fresh = {name: os.environ[name] for name in KEPT if name in os.environ}
    fresh |= {"HOME": str(home), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(tmp_path / "model.onnx")],
        cwd=work,
        env=fresh,
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert "looks up" not in ended.stdout
    left = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    # settings of Keras and the list of fonts of matplotlib, which say nothing of the machine's user
    assert not {
        path for path in left if not path.startswith(".keras/") and "matplotlib" not in path
    }
