"""What the benchmarks share: tables, child processes, peak memory, and things to measure with."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.make_fishki import FishkiConfig, make_fishki
from segtf.scoring.format import markdown_table
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import note

ROOT = Path(__file__).resolve().parents[2]
# A new process starts with the peak of its parent, so a small process starts the measured one.
PEAK = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(ended.returncode)
"""


@dataclass(frozen=True)
class Table:
    """The result of one part of a benchmark."""

    title: str
    columns: tuple[str, ...]  # the first is text, the others are numbers
    rows: tuple[tuple[str, ...], ...]
    note: str
    figures: dict[str, Any]  # everything that was measured, ready for JSON

    def markdown(self) -> str:
        """Heading, table and note."""
        table = markdown_table([self.columns, *self.rows])
        return f"## {self.title}\n\n{table}\n\n{self.note}\n"


def measure(
    parts: Mapping[str, Callable[[Path], Table]], only: str, out: Path, packages: Sequence[str]
) -> dict[str, Table]:
    """Measures the parts that `only` lists, separated by commas, each in a scratch folder of its
    own. Prints each table and writes all so far to `tables.md` and `figures.json` in `out`. Raises
    `UserError` for an unknown part.
    """
    unknown = sorted(set(only.split(",")) - set(parts))
    if unknown:
        raise UserError(f"--only {only}: no part {unknown[0]!r}, choose from {', '.join(parts)}")
    machine, tables = describe_machine(packages), {}
    print(machine, flush=True)
    for part in only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            tables[part] = parts[part](Path(folder))
        print(f"\n{tables[part].markdown()}", flush=True)
        _write(out, machine, tables)
    return tables


def describe_machine(packages: Sequence[str]) -> str:
    """Cores, load and versions in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    versions = (f"{name} {version(name)}" for name in packages)
    return ", ".join([f"{cores} cores{load}, Python {platform.python_version()}", *versions])


def _write(out: Path, machine: str, tables: Mapping[str, Table]) -> None:
    text = "\n".join([f"{machine}\n", *(table.markdown() for table in tables.values())])
    figures = {part: table.figures for part, table in tables.items()}
    as_json = json.dumps({"machine": machine, **figures}, indent=2)
    for name, content in {"tables.md": text, "figures.json": as_json}.items():
        with replacing(out / name) as beside:
            beside.write_text(content, encoding="utf-8")


def run_child(command: Sequence[str]) -> str:
    """The standard output of `python COMMAND`. Raises RuntimeError with its stderr if it fails."""
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        check=False,
        capture_output=True,
        encoding="locale",
        errors="backslashreplace",
    )
    if ended.returncode:
        raise RuntimeError(f"python {' '.join(command)}: {ended.stderr[-2000:]}")
    return ended.stdout


def peak_memory(command: Sequence[str]) -> int:
    """Peak resident memory of `python COMMAND`, bytes. Raises RuntimeError if it fails, `UserError`
    on Windows.
    """
    if os.name != "posix":
        raise UserError("peak memory is measured on Linux and macOS only")
    peak = int(run_child(["-c", PEAK, sys.executable, *command]))
    return peak * (1 if sys.platform == "darwin" else 1024)  # macOS counts bytes, Linux KiB


def draw_images(folder: Path, count: int, size: int) -> Path:
    """A new folder of `count` drawn images of `size` x `size` pixels with labelme annotations."""
    note(f"drawing {count} images of {size} x {size}")
    make_fishki(FishkiConfig(folder, count=count, size=size, seed=1))
    return folder


def write_colour_network(path: Path, side: int) -> Path:
    """An ONNX file for images of `side` x `side` in which each colour channel is the probability of
    a class: it takes no time, and no memory beside its input and output.
    """
    import onnx
    from onnx import TensorProto, helper

    from segtf.inference.onnx_model import INPUT, OUTPUT, ModelInfo, write_metadata
    from voc_builder.base.colours import voc_colours

    shape: list[str | int | None] = ["batch", "height", "width", 3]
    graph = helper.make_graph(
        [
            helper.make_node("Cast", [INPUT], ["raw"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["raw", "scale"], [OUTPUT]),
        ],
        "colours",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [1 / 255])],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    info = ModelInfo(
        classes=("background", "green", "blue"),
        colours=tuple((int(r), int(g), int(b)) for r, g, b in voc_colours(3)),
        shape=(side, side),
        multiple=1,
        fixed=False,
        arch="colours",
        encoder="none",
        dataset_sha256="",
        version=version("segtf"),
    )
    write_metadata(path, info)
    return path
