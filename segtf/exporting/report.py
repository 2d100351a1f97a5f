"""The contents of `export.json`: parity, scores on val, post-processing and the precisions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from segtf.exporting.postprocess_choice import Trial
from segtf.inference.postprocess import Postprocess
from segtf.run.folder import EXPORT, write_json
from voc_builder.base.errors import UserError

LARGEST_DIFFERENCE = 1e-4  # of a probability, between two engines
EQUAL_ARGMAX = 0.9999  # fraction of pixels for which two engines give the same class
Scores = dict[str, float | None]  # by class name; None where a score is undefined or unknown
T = TypeVar("T")


@dataclass(frozen=True)
class Comparison:
    """How far the answers of two engines differ."""

    a: str
    b: str
    largest_difference: float  # of a probability
    equal_argmax: float  # fraction of the pixels
    passed: bool


@dataclass(frozen=True)
class ValScores:
    """IoU on val at training size, of the most probable classes."""

    miou: float | None
    iou: Scores


@dataclass(frozen=True)
class PrecisionReport:
    """An ONNX file in one precision."""

    file: str
    bytes: int
    miou_change: float | None = None  # on val, against Keras; None: not measured, or undefined
    iou_change: Scores | None = None
    kept: bool = True  # False: deleted, because it loses too much
    ms: float | None = None  # median time per image; None: the file is missing
    provider: str | None = None  # of onnxruntime, that `ms` was measured with


@dataclass(frozen=True)
class ExportReport:
    """What an export gave. `to_json` and `from_json` are inverse."""

    images: int  # that parity was measured on
    comparisons: tuple[Comparison, ...]
    onnx_bytes: int
    opset: int
    network: str  # SHA-256 of best.keras
    provider: str
    val: ValScores  # of the Keras network
    postprocess: Postprocess
    trials: tuple[Trial, ...]  # limits tried for post-processing
    precisions: Mapping[str, PrecisionReport]  # float32 first

    @property
    def passed(self) -> bool:
        """Whether all engines agree."""
        return all(comparison.passed for comparison in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """The values of `export.json`."""
        return {
            "photos": self.images,
            "tolerance": {"probability": LARGEST_DIFFERENCE, "argmax": EQUAL_ARGMAX},
            "comparisons": [asdict(comparison) for comparison in self.comparisons],
            "passed": self.passed,
            "onnx": {"bytes": self.onnx_bytes, "opset": self.opset},
            "network": self.network,
            "provider": self.provider,
            "val": asdict(self.val),
            "postprocess": asdict(self.postprocess),
            "postprocess_trials": [asdict(trial) for trial in self.trials],
            "precisions": {name: asdict(entry) for name, entry in self.precisions.items()},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ExportReport:
        """The inverse of `to_json`. Raises KeyError or TypeError if values are missing."""
        return cls(
            images=values["photos"],
            comparisons=tuple(_read(Comparison, each) for each in values["comparisons"]),
            onnx_bytes=values["onnx"]["bytes"],
            opset=values["onnx"]["opset"],
            network=values["network"],
            provider=values["provider"],
            val=_read(ValScores, values["val"]),
            postprocess=Postprocess.from_json(values["postprocess"]),
            trials=tuple(_read(Trial, each) for each in values["postprocess_trials"]),
            precisions={
                name: _read(PrecisionReport, each) for name, each in values["precisions"].items()
            },
        )


def _read(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from its JSON; other keys are ignored."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in values.items() if name in names})


def read_export(folder: Path) -> ExportReport | None:
    """The `export.json` of a run folder; None if there is none, or one of an earlier version that
    lacks values. Raises `UserError` if it is damaged.
    """
    path = folder / EXPORT
    if not path.is_file():
        return None
    try:
        return ExportReport.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}): delete it or export the run again") from None
    except (KeyError, TypeError):
        return None


def write_export(report: ExportReport, folder: Path) -> None:
    """Writes `export.json` into a run folder."""
    write_json(report.to_json(), folder / EXPORT)
