"""Settings of the HTTP service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtf.inference.ensembles import Ensemble
from segtf.inference.predictor import Mode, Tta


@dataclass(frozen=True)
class ServeConfig:
    """Answers images over HTTP: a page at /, POST /predict for programs, its description at /docs,
    /health and /metrics. Ctrl-C or SIGTERM ends the server after the requests in work.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder with model.onnx; several, separated by commas,
    are an ensemble."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all addresses of the machine: then anybody may send
    images."""
    port: int = 8000
    """Port to listen at; 0 for a free one."""
    mode: Mode = "auto"
    """Resize images to the training size, or cut tiles of that size; auto: as in training."""
    overlap: float = 0.25
    """Least overlap of neighbouring tiles, as a fraction of their side."""
    tta: Tta = "none"
    """Test-time augmentation: mean over the mirrored image (flips), or also over its quarter turns
    (d4)."""
    ensemble: Ensemble = "mean"
    """How several networks are combined: mean of the probabilities, vote, or per-class for networks
    of different classes beside the background."""
    threads: int = 0
    """CPU threads for the network; 0: chosen by onnxruntime."""
    max_upload_mb: int = 20
    """Largest upload, megabytes; larger ones get status 413."""
    max_megapixels: int = 50
    """Largest image; larger ones get status 413. Also the limit of all images in work together."""
    queue: int = 32
    """Images that may be sent, waiting and in work at once; further ones get status 429."""
    batch: int = 0
    """Most images in one run of the network; 0: up to a megapixel together, at most 8."""
