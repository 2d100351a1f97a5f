"""Open an ONNX file on the fastest execution provider: TensorRT, CUDA, OpenVINO or CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from voc_builder.base.errors import UserError
from voc_builder.base.progress import note

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

Provider = Literal["auto", "tensorrt", "cuda", "openvino", "cpu"]
# onnxruntime's names, the fastest first
PROVIDERS: dict[Provider, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
# providers for the nodes that one of them does not support
HELPERS: dict[str, tuple[Provider, ...]] = {"tensorrt": ("cuda", "cpu"), "cpu": ()}


def open_session(path: Path, *, threads: int = 0, provider: Provider = "auto") -> InferenceSession:
    """A session of the ONNX file at `path` on `provider`, with `threads` CPU threads per call (0:
    onnxruntime's default). auto takes the first of TensorRT, CUDA, OpenVINO and CPU that is
    installed and starts; a note on stderr names those that do not start, with the reason. Raises
    `UserError` for a file that cannot be opened, and for a named provider that is not installed or
    does not start.
    """
    available = _available()
    if provider not in get_args(Provider) or (provider != "auto" and provider not in available):
        raise UserError(
            f"--provider {provider}: this onnxruntime has {', '.join(available)}: take one of "
            "them, or install the build of onnxruntime that has it"
        )
    failures: list[tuple[Provider, str]] = []
    for name in available if provider == "auto" else [provider]:
        try:
            session = _open(path, threads, name, available)
        except Exception as error:  # the common base of all that onnxruntime raises
            failures.append((name, one_line(error)))
            continue
        for failed, reason in failures:
            note(f"{failed} does not start, {name} is used: {reason}")
        return session
    if provider not in ("auto", "cpu"):
        _require_file(path, threads, available)
        raise UserError(f"--provider {provider}: does not start: {failures[-1][1]}")
    raise UserError(
        f"{path}: not an ONNX file that onnxruntime can run ({failures[-1][1]}): "
        "export it with python -m segtf.export RUN"
    )


def provider_name(provider: str) -> str:
    """The command line's name for one of onnxruntime's providers; its own name if there is none."""
    return next((name for name, own in PROVIDERS.items() if own == provider), provider)


def one_line(error: Exception) -> str:
    """The text of an error without line breaks."""
    return " ".join(str(error).split())


def _available() -> list[Provider]:
    # imported here: --help answers without it
    import onnxruntime

    there = onnxruntime.get_available_providers()
    return [name for name, full in PROVIDERS.items() if full in there]


def _open(
    path: Path, threads: int, provider: Provider, available: Sequence[Provider]
) -> InferenceSession:
    """Raises any error of onnxruntime, and RuntimeError if it silently takes another provider."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4  # fatal alone: what goes wrong is raised as well
    others = [name for name in HELPERS.get(provider, ("cpu",)) if name in available]
    session = onnxruntime.InferenceSession(
        str(path),
        options,
        providers=[PROVIDERS[name] for name in (provider, *others)],
        enable_fallback=0,  # it would print on stdout and go on with another provider
    )
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise RuntimeError("onnxruntime left it out; a library that it needs may be missing")
    return session


def _require_file(path: Path, threads: int, available: Sequence[Provider]) -> None:
    """Raises `UserError` if the CPU cannot open the file either."""
    if "cpu" in available:
        open_session(path, threads=threads, provider="cpu")
