"""The fastest provider that starts is taken, and what does not start is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from segtf.inference.onnx_model import OnnxModel
from segtf.inference.predictor import open_predictor
from tests.segtf.tiny_onnx import write_channels_model
from voc_builder.base.errors import UserError

TENSORRT, CUDA, OPENVINO, CPU = (
    f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "OpenVINO", "CPU")
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands in for an onnxruntime with other providers: what each of them does when it is to
    start, and which were asked for.
    """
    asked: list[list[str]] = []
    session = onnxruntime.InferenceSession

    def having(**does: str) -> list[list[str]]:
        full = {"tensorrt": TENSORRT, "cuda": CUDA, "openvino": OPENVINO, "cpu": CPU}

        class Session:
            def __init__(self, path: str, options: object, **how: Any) -> None:
                self.taken = list(how["providers"])
                asked.append(self.taken)
                outcome = does[next(key for key in does if full[key] == self.taken[0])]
                if outcome not in ("starts", "is left out"):
                    raise RuntimeError(outcome)
                self.taken = self.taken if outcome == "starts" else [CPU]
                self.real = session(path, options, providers=[CPU])

            def get_providers(self) -> list[str]:
                return self.taken

            def __getattr__(self, name: str) -> Any:
                return getattr(self.real, name)

        # in another order than ours
        names = [full[name] for name in reversed(does)]
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        return asked

    return having


def test_tensorrt_comes_before_cuda_openvino_and_the_cpu(
    tmp_path: Path, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_channels_model(tmp_path / "a.onnx")
    asked = machine(tensorrt="starts", cuda="starts", openvino="starts", cpu="starts")
    model = OnnxModel(path)
    assert model.provider == TENSORRT
    assert asked == [[TENSORRT, CUDA, CPU]]
    assert model.probabilities(np.zeros((1, 2, 2, 3), np.uint8)).shape == (1, 2, 2, 3)
    machine(openvino="starts", cpu="starts")
    assert open_predictor([path]).models[0].provider == OPENVINO
    assert asked[1:] == [[OPENVINO, CPU]]
    machine(cpu="starts")
    assert OnnxModel(path).provider == CPU
    assert capsys.readouterr().err == ""


def test_one_that_does_not_start_is_named_with_the_reason_and_the_next_is_taken(
    tmp_path: Path, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_channels_model(tmp_path / "a.onnx")
    machine(tensorrt="libnvinfer.so.10:\nno such file", cuda="is left out", cpu="starts")
    assert OnnxModel(path).provider == CPU
    first, second = capsys.readouterr().err.splitlines()
    assert first == "tensorrt does not start, cpu is used: libnvinfer.so.10: no such file"
    assert second.startswith("cuda does not start, cpu is used: onnxruntime left it out")


def test_the_user_names_one_and_gets_it_or_an_error(
    tmp_path: Path, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_channels_model(tmp_path / "a.onnx")
    asked = machine(tensorrt="starts", cuda="out of memory", cpu="starts")
    assert open_predictor([path], provider="cpu").models[0].provider == CPU
    assert asked == [[CPU]]
    with pytest.raises(UserError, match=r"^--provider cuda: does not start: out of memory$"):
        open_predictor([path], provider="cuda")
    with pytest.raises(UserError, match=r"^--provider openvino: .* has tensorrt, cuda, cpu: take"):
        OnnxModel(path, provider="openvino")
    assert capsys.readouterr().err == ""


def test_a_bad_file_is_not_blamed_on_the_provider(
    tmp_path: Path, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"hello")
    machine(cuda="starts", cpu="starts")
    rule = r"a\.onnx: not an ONNX file .*: export it with python -m segtf\.export RUN$"
    for provider in ("auto", "cuda", "cpu"):
        with pytest.raises(UserError, match=rule):
            OnnxModel(path, provider=provider)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""
