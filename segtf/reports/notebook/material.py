"""What the paragraphs of a notebook about a run are written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtf.exporting.report import ExportReport, read_export
from segtf.reports.markdown import plain
from segtf.reports.notebook.data import survey_of
from segtf.reports.runs import Run, read_run
from segtf.run.architectures import Arch
from segtf.run.config import TrainConfig
from segtf.run.folder import read_config, read_run_dataset
from segtf.run.size import HeightWidth
from voc_builder.base.classes import has_background
from voc_builder.tree.voc import Dataset

NAMES: dict[Arch, str] = {
    "unet": "a U-Net",
    "fpn": "an FPN",
    "linknet": "a Linknet",
    "pspnet": "a PSPNet",
    "unet_plain": "a plain U-Net of five levels",
    "tiny": "a tiny U-Net for tests",
}
Json = dict[str, Any]


@dataclass(frozen=True)
class Material:
    """All that the paragraphs are written from."""

    folder: Path
    run: Run
    config: TrainConfig
    dataset: Dataset
    survey: Json
    export: ExportReport | None


def read_material(folder: Path) -> Material:
    """Reads a finished run and looks at its data set. Raises `UserError` for what is no finished
    run, is damaged, or lost its data set.
    """
    run, config, dataset = read_run(folder), read_config(folder), read_run_dataset(folder)
    return Material(folder, run, config, dataset, survey_of(folder, dataset), read_export(folder))


def target(classes: Sequence[str]) -> list[str]:
    """The classes that a network is made for: all but a background."""
    return list(classes)[1 if has_background(classes) else 0 :]


def listed(names: Sequence[str]) -> str:
    """Names in a sentence, as Markdown shows them."""
    shown = [plain(name) for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def pixels(shape: HeightWidth) -> str:
    """Height and width in a sentence, which is which where they differ."""
    height, width = shape
    return f"{height} x {width} pixels" + (" (height x width)" if height != width else "")
