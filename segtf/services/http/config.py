"""Settings of the HTTP service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from segtf.inference.ensembles import Ensemble
from segtf.inference.predictor import Mode, Tta


@dataclass(frozen=True)
class ServeConfig:
    """Answers images over HTTP: a page at /, POST /predict for programs, /docs about it, /health
    and /metrics. Ctrl-C or SIGTERM ends it when everything begun is answered.
    """

    model: Path
    """ONNX file exported by segtf, or a run folder that holds model.onnx; several with commas
    answer together."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of the machine's: then anybody may send images."""
    port: int = 8000
    """Port to listen at, 0 for any that is free."""
    mode: Mode = "auto"
    """Squeeze images to the training size, or cut tiles of that size out of them as they are; auto:
    what training did."""
    overlap: float = 0.25
    """What neighbouring tiles share at least, as a part of their side."""
    tta: Tta = "none"
    """Also ask about the image mirrored (flips), or mirrored and turned (d4), and take the mean."""
    ensemble: Ensemble = "mean"
    """How several answer together: mean of the probabilities, vote, or per-class for networks that
    each know other classes beside the background."""
    threads: int = 0
    """CPU threads for the network, 0 for as many as onnxruntime likes."""
    max_upload_mb: int = 20
    """Largest upload, megabytes; 413 beyond."""
    max_megapixels: int = 50
    """Largest image; 413 beyond. All images that are worked on at the same time have no more pixels
    together."""
    queue: int = 32
    """Images that may be sent, wait and be worked on at the same time; 429 beyond."""
    batch: int = 0
    """Images that the network sees in one run at most; 0: as many as make a megapixel, 8 at
    most."""
