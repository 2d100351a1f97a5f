"""Show the images that a run does worst on: python -m scripts.show_worst RUN"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from voc_builder.base.command import run
from voc_builder.base.errors import UserError


@dataclass(frozen=True)
class ShowConfig:
    """Draws the images of test, or of val where there is no test, with the most missed objects and
    false alarms, then wrong pixels: each with its annotation and with what the exported network
    answers.
    """

    run: Path
    """Run folder."""
    count: int = 3
    """Images at most."""
    out: Path = Path("artifacts/worst.jpg")
    """JPEG to write."""


def show_worst(config: ShowConfig) -> None:
    """Writes the picture. Raises `UserError` for a run without scores or without its data set, and
    where no image has a fault.
    """
    if config.count < 1:
        raise UserError(f"--count {config.count}: must be at least 1")
    from segtf.reports.notebook.failures import failure_picture, worst_images
    from segtf.reports.notebook.show import Picture
    from segtf.reports.runs import read_run
    from segtf.run.folder import read_run_dataset
    from voc_builder.base.files import replacing

    found, dataset = read_run(config.run), read_run_dataset(config.run)
    failures = worst_images(found, dataset, count=config.count)
    picture = failure_picture(failures, dataset.classes)
    if not isinstance(picture, Picture):
        raise UserError(f"{config.run}: {picture}")
    with replacing(config.out) as beside:
        beside.write_bytes(picture.encoded)
    print(config.out)


def main(argv: list[str] | None = None) -> int:
    """Exit code of the command."""
    return run(show_worst, ShowConfig, "python -m scripts.show_worst", argv)


if __name__ == "__main__":
    raise SystemExit(main())
