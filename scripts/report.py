"""Write the page about a run: python -m scripts.report RUN"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from voc_builder.command import run


@dataclass(frozen=True)
class ReportConfig:
    """Write report.html: data, training, scores, pictures and export of a run, finished or not."""

    run: Path
    """Run folder"""


def report(config: ReportConfig) -> None:
    """Write the page and say where it is; raises `UserError` for what is no run folder."""
    from segtf.report import write_report

    print(write_report(config.run))


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(report, ReportConfig, "python -m scripts.report", argv)


if __name__ == "__main__":
    sys.exit(main())
