"""Say what the network of a run is: its parts, its weights, its files and its pace."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from segtf.exporting.report import read_export
from segtf.inference.onnx_model import MODEL_FILE
from segtf.reports.notebook.show import Table
from segtf.run.architectures import describe_inside, has_encoder
from segtf.run.config import TrainConfig
from segtf.run.folder import BEST
from voc_builder.base.errors import UserError

WEIGHTS = "model.weights.h5"  # within a .keras file


def count_weights(path: Path) -> int:
    """The numbers that a network in a `.keras` file consists of, trained or not; what belongs to
    the optimiser is not counted. Raises `UserError` if it cannot be read.
    """
    import h5py

    try:
        with zipfile.ZipFile(path) as file, h5py.File(io.BytesIO(file.read(WEIGHTS))) as weights:
            sizes: list[int] = []

            def add(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and not name.startswith("optimizer"):
                    sizes.append(int(item.size))

            weights.visititems(add)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: not a network that can be read ({error})") from None
    return sum(sizes)


def network_table(run: Path, config: TrainConfig, classes: int) -> Table:
    """Architecture, encoder, weights, input and output, and the exported files with their pace."""
    encoder = config.encoder if has_encoder(config.arch) else "none"
    learned = config.encoder_weights if has_encoder(config.arch) else "none"
    rows = [
        ("architecture", config.arch),
        ("encoder", encoder),
        ("its weights at the start", Path(learned).name),
        ("input", f"RGB 0 to 255, {describe_inside(config.arch, config.shape)}"),
        ("output", f"probabilities of {classes} classes for each pixel"),
    ]
    if (run / BEST).is_file():
        rows.append(("weights", f"{count_weights(run / BEST):,}"))
        rows.append((BEST, f"{(run / BEST).stat().st_size / 1e6:.1f} MB"))
    export = read_export(run)
    for name, entry in export.precisions.items() if export else ():
        if entry.kept and entry.ms is not None:
            size, pace = f"{entry.bytes / 1e6:.1f} MB", f"{entry.ms:.1f} ms per image"
            rows.append((f"{entry.file}, {name}", f"{size}, {pace}"))
    if not (run / MODEL_FILE).is_file():
        rows.append((MODEL_FILE, "not exported"))
    return Table(("", "value"), tuple(rows))
