"""Run a part of a bench in a process of its own and read the figures that it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def told_by_child(module: str, arguments: Sequence[str], mark: str) -> Any:
    """The JSON behind `mark` in what `python -m MODULE ARGUMENTS` prints. Raises RuntimeError with
    what it said if it fails.
    """
    command = [sys.executable, "-m", module, *arguments]
    # what Python says is in the encoding of the locale, what TensorFlow says may not be
    ended = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        capture_output=True,
        encoding="locale",
        errors="backslashreplace",
    )
    told = [line for line in ended.stdout.splitlines() if line.startswith(mark)]
    if ended.returncode or not told:
        raise RuntimeError(f"{' '.join(command[1:])}: {ended.stderr[-2000:]}")
    return json.loads(told[0].removeprefix(mark))
