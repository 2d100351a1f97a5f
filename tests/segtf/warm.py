"""A process that has imported the framework once and forks for each training of a test.

`import tensorflow` takes seconds; a forked child begins behind it, and is a process of its own that
can be killed. Nothing may be computed before the fork: TensorFlow's threads do not survive it.

`python -m tests.segtf.warm MODULE` calls `MODULE.warm_up`, reads lines of JSON, each a list of
arguments for `MODULE.child`, and answers with the exit code; what children say goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[2]
SECONDS = 300  # that one child may take


class Warm:
    """Such a process, seen from the test."""

    def __init__(self, process: subprocess.Popen[str], said: IO[str]) -> None:
        self.process, self.said = process, said

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code of one child, negative for a signal, and what it has said."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self.said.seek(0, os.SEEK_END)
        print(json.dumps(arguments), file=self.process.stdin, flush=True)
        answered, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        code = self.process.stdout.readline() if answered else ""
        self.said.seek(before)
        said = self.said.read()
        assert code, said
        return int(code), said


@contextmanager
def warm(module: str, said: Path) -> Iterator[Warm]:
    """A process that forks for `module`, and writes to the file `said`; ends with the block."""
    with said.open("w+", encoding="utf-8") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.segtf.warm", module],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        try:
            yield Warm(process, stderr)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its children too
            process.wait()


def main() -> None:
    module = importlib.import_module(sys.argv[1])
    module.warm_up()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(2, 1)
            try:
                module.child(*json.loads(line))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
