"""Execute a notebook with this Python, apart from what the user's own Jupyter has set up."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import segtf
from voc_builder.base.errors import UserError

if TYPE_CHECKING:
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbformat import NotebookNode

SECONDS = 600  # that one cell may take
LONGEST_SOCKET = 90  # characters; Unix has room for about 100, of which a number takes some
ROOT = Path(segtf.__file__).parents[1]  # where this code lies: the kernel imports the same


def execute_notebook(notebook: NotebookNode, folder: Path) -> None:
    """Executes all cells in `folder` and puts their outputs into `notebook`. Raises `UserError`
    with the error of the first cell that fails, in one line.
    """
    begun: list[int] = []  # the cells
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as own:
        client, manager = _new_kernel(notebook, Path(own), begun)
        said = Path(own, "stderr")
        how = {"cwd": str(folder), "env": _environment(Path(own)), "cleanup_kc": True}
        with _telling(notebook, begun, said), said.open("wb") as stderr:
            _execute(client, manager, stderr=stderr, **how)


def _new_kernel(
    notebook: NotebookNode, own: Path, begun: list[int]
) -> tuple[NotebookClient, AsyncKernelManager]:
    """What executes a notebook by this Python; its files lie in `own`, `begun` gets the number of
    each cell when that begins. Raises `UserError` where a package is missing.
    """
    try:
        import ipykernel  # noqa: F401  the child imports it
        from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager
        from nbclient import NotebookClient
    except ImportError as error:
        raise UserError(
            f"--notebook needs a package that is not installed ({error.name}): "
            "pip install 'segtf[notebook]', or give --no-execute"
        ) from None

    class ThisPython(KernelSpecManager):
        """Knows one kernel: a user's own of the same name may be another Python."""

        def get_kernel_spec(self, kernel_name: str) -> Any:
            argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
            return KernelSpec(argv=argv, display_name="Python 3", language="python")

    quiet = logging.Logger("notebook", logging.CRITICAL + 1)  # errors are told once, by us
    manager = AsyncKernelManager(
        kernel_spec_manager=ThisPython(),
        connection_file=str(own / "kernel.json"),
        log=quiet,
        **_transport(own / "ipc"),
    )
    client = NotebookClient(
        notebook,
        km=manager,
        timeout=SECONDS,
        record_timing=False,
        coalesce_streams=True,
        on_cell_execute=lambda cell, cell_index: begun.append(cell_index),
        log=quiet,
    )
    return client, manager


@contextlib.contextmanager
def _telling(notebook: NotebookNode, begun: Sequence[int], said: Path) -> Iterator[None]:
    """Raises `UserError` for what executing raises; `said` is the kernel's stderr."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    try:
        yield
    except CellExecutionError as error:
        raise UserError(f"{_where(notebook, begun)} failed: {_one_line(error)}") from None
    except CellTimeoutError:
        raise UserError(f"{_where(notebook, begun)} took more than {SECONDS} s") from None
    except (DeadKernelError, RuntimeError) as error:
        last = said.read_text("locale", errors="replace").strip().rpartition("\n")[2]
        raise UserError(
            f"{_where(notebook, begun)}: its Python ended: {last or _one_line(error)}"
        ) from None


def _execute(client: NotebookClient, manager: AsyncKernelManager, **how: Any) -> None:
    """Executes in a thread of its own: in the main one nbclient would take Ctrl-C for itself and
    fail on it.
    """
    with ThreadPoolExecutor(1) as thread:
        done = thread.submit(client.execute, **how)
        try:
            done.result()
        except KeyboardInterrupt:
            while not wait([done], timeout=0.2).done:
                process = getattr(manager.provisioner, "process", None)
                if process is not None:  # the kernel has begun
                    process.kill()
            raise


def _transport(sockets: Path) -> dict[str, str]:
    """How to speak to the kernel: by files that nobody else can open, where the system has them and
    their names are short enough.
    """
    if os.name != "posix" or len(str(sockets)) > LONGEST_SOCKET:
        return {}
    return {"transport": "ipc", "ip": str(sockets)}


def _environment(own: Path) -> dict[str, str]:
    """Of the kernel: this code in front, nothing of the user's own IPython, charts without a
    screen.
    """
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "IPYTHONDIR": str(own), "MPLBACKEND": "agg"}


def _where(notebook: NotebookNode, begun: Sequence[int]) -> str:
    """The last of the cells that were begun, by its number and the heading above it."""
    if not begun:
        return "the notebook"
    above = [cell.source for cell in notebook.cells[: begun[-1]] if cell.cell_type == "markdown"]
    headings = [found[1] for text in above if (found := re.match(r"#+ (.*)", text))]
    under = f" ({headings[-1]})" if headings else ""
    return f"cell {begun[-1] + 1} of the notebook{under}"


def _one_line(error: Exception) -> str:
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    text = f"{name}: {value}" if name and name != UserError.__name__ else value or str(error)
    return " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
