"""Draw the training log of a run: python -m scripts.plot_log RUN"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.command import run


@dataclass(frozen=True)
class PlotLogConfig:
    """Draw loss, scores and learning rate by epoch, also while training is running."""

    log: Path
    """Run folder, or a log.csv"""
    out: Path | None = None
    """PNG to write; null: curves.png next to the log"""


def plot_log(config: PlotLogConfig) -> None:
    """Writes the picture and prints its path. Raises `UserError` if there is no readable log."""
    from segtf.reports.figures import draw_curves

    log = config.log if config.log.is_file() else config.log / "log.csv"
    out = config.out or log.with_name("curves.png")
    draw_curves(log, out)
    print(out)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    return run(plot_log, PlotLogConfig, "python -m scripts.plot_log", argv)


if __name__ == "__main__":
    sys.exit(main())
