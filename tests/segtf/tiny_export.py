"""The report of a small export in which everything passed."""

from __future__ import annotations

from segtf.exporting.postprocess_choice import Trial
from segtf.exporting.report import Comparison, ExportReport, PrecisionReport, ValScores
from segtf.inference.postprocess import Postprocess, Rule

REPORT = ExportReport(
    images=2,
    comparisons=(Comparison("keras", "onnx", 2e-7, 1.0, True),),
    onnx_bytes=9,
    opset=18,
    network="ab" * 32,
    provider="CPUExecutionProvider",
    val=ValScores(0.75, {"back": 1.0, "дефект": None}),
    postprocess=Postprocess((Rule("дефект", "share", 0.01, 0.0),), 0.75, 0.8),
    trials=(Trial("дефект", "smallest", 8, 0.05, "taken"),),
    precisions={"float32": PrecisionReport("model.onnx", 9, ms=2.5, provider="CPU")},
)
