"""Where the locale's encoding is not UTF-8, and lacks letters, everything is trained and told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from segtf.run.log import read_log
from tests.voc_builder.folders import square, write_annotated

pytestmark = pytest.mark.slow
LABEL = "серый кот"
ROOT = Path(__file__).parents[2]
# all in one process, which imports TensorFlow once; training is told to end after its first epoch
COMMANDS = """
import os, signal, sys
from voc_builder.base.tensorflow import import_tensorflow
import_tensorflow()
import scripts.plot_log, segtf.report, segtf.evaluate, segtf.train
from segtf.training import callbacks

segtf.train.hand_over = lambda folder: int(segtf.train.finish(folder))
run, overlays = ["--run", "r", "--artifacts", "."], callbacks.Overlays.on_epoch_end

def told_to_end(self, epoch, logs=None):
    callbacks.Overlays.on_epoch_end = overlays
    os.kill(os.getpid(), signal.SIGTERM)

def code_of(main, *arguments):
    sys.argv = ["command", *arguments]
    return main()

callbacks.Overlays.on_epoch_end = told_to_end
settings = "--arch tiny --size 32 --epochs 2 --batch 4 --split 60/20/20 --no-export".split()
codes = [
    code_of(segtf.train.main, "--data", "photos", *settings, *run),
    code_of(segtf.train.main, "--resume", *run),
    code_of(scripts.plot_log.main, "runs/r"),
    code_of(segtf.evaluate.main, "runs/r"),
    code_of(segtf.report.main, "runs/r"),
]
print("codes", *codes)
"""


def locale_without_utf_8(folder: Path) -> dict[str, str]:
    """Variables of a child whose encoding is not UTF-8: CP1251 where the system can make such a
    locale, else ASCII, which has no Cyrillic letters.
    """
    if shutil.which("localedef"):
        made = [*("localedef", "-i", "ru_RU", "-f", "CP1251"), str(folder / "ru_RU.CP1251")]
        if not subprocess.run(made, capture_output=True).returncode:
            return {"LOCPATH": str(folder), "LC_ALL": "ru_RU.CP1251"}
    return {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


def test_a_class_in_cyrillic_is_trained_in_a_locale_without_utf_8(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"photos/{number}.json"
        write_annotated(path, [square(LABEL)] if number % 3 else [])
    locale = locale_without_utf_8(tmp_path)
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", **locale},
        capture_output=True,
        timeout=120,
    )
    said = (ended.stdout + ended.stderr).decode("latin-1")
    assert ended.returncode == 0, said
    assert b"codes 143 0 0 0 0" in ended.stdout, said
    log = read_log(tmp_path / "runs/r/log.csv")  # in UTF-8
    assert list(log["epoch"]) == [0, 1]
    assert f"val_iou_{LABEL}" in log
    assert LABEL in (tmp_path / "runs/r/report.html").read_text(encoding="utf-8")
