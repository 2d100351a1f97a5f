from __future__ import annotations

from pathlib import Path

import pytest

from scripts.plot_log import main
from tests.segtf.reports.run_folders import write_log


def test_plot_log_writes_curves_into_the_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_log(tmp_path / "log.csv", ["background", "chip"], [0.2, 0.4])
    assert main([str(tmp_path)]) == 0
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert capsys.readouterr().out == f"{tmp_path / 'curves.png'}\n"


def test_plot_log_takes_a_log_and_another_place_for_the_picture(tmp_path: Path) -> None:
    log = write_log(tmp_path / "old log.csv", ["background", "chip"], [0.2])
    assert main([str(log), "--out", str(tmp_path / "new/picture.png")]) == 0
    assert (tmp_path / "new/picture.png").is_file()
    assert not (tmp_path / "curves.png").exists()


@pytest.mark.parametrize("text", [None, "", "epoch\n0\n"])
def test_plot_log_names_a_log_that_cannot_be_drawn(
    text: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "log.csv").write_text(text)
    assert main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "log.csv" in error and error.count("\n") == 1
    assert not (tmp_path / "curves.png").exists()
