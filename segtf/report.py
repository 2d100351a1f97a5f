"""Write the report of a run as a page or a notebook: python -m segtf.report RUN [--notebook]"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.command import run
from voc_builder.base.errors import UserError


@dataclass(frozen=True)
class ReportConfig:
    """Write report.html: data, training, scores, images and export of a run, finished or not. With
    --notebook write report.ipynb, a research report on a finished run.
    """

    run: Path
    """Run folder"""
    notebook: bool = False
    """Write report.ipynb instead of report.html"""
    runs: tuple[Path, ...] = ()
    """With --notebook: runs on the same data set to compare with (default: those in the same
    folder)"""
    execute: bool = True
    """With --notebook: execute its cells, so that it contains tables and pictures"""

    def __post_init__(self) -> None:
        if not self.notebook and (self.runs or not self.execute):
            flag = "--runs" if self.runs else "--no-execute"
            raise UserError(f"{flag}: belongs to --notebook: give both, or leave it out")


def report(config: ReportConfig) -> None:
    """Writes the report and prints its path. Raises `UserError` for a folder that is no run."""
    if config.notebook:
        from segtf.reports.notebook.notebook import write_notebook

        print(write_notebook(config.run, others=config.runs or None, execute=config.execute))
        return
    from segtf.reports.report import write_report

    print(write_report(config.run))


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(report, ReportConfig, "python -m segtf.report", argv)


if __name__ == "__main__":
    sys.exit(main())
