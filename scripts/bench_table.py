"""A table of measurements: printed as Markdown, kept as JSON."""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from segtf.scoring.format import markdown_table
from voc_builder.base.errors import UserError
from voc_builder.base.files import replacing
from voc_builder.base.progress import note


@dataclass(frozen=True)
class Table:
    """One part of a bench."""

    title: str
    columns: tuple[str, ...]  # the first is text, the others are numbers
    rows: tuple[tuple[str, ...], ...]
    verdict: str  # what was wanted and what was found
    figures: dict[str, Any]  # all that was measured, as JSON takes it

    def markdown(self) -> str:
        """Heading, table and verdict."""
        table = markdown_table([self.columns, *self.rows])
        return f"## {self.title}\n\n{table}\n\n{self.verdict}\n"


def network_name(arch: str, encoder: str) -> str:
    """What a network is called; unet_plain has no encoder."""
    return arch if arch == "unet_plain" else f"{arch} {encoder}"


def met(found: float, limit: float, *, least: bool = False) -> str:
    """In a word whether a figure is what was wanted: `limit` at most, or at least."""
    return "met" if (found >= limit if least else found <= limit) else "missed"


def measure_parts(
    parts: Mapping[str, Callable[[Path], Table]],
    only: str,
    out: Path,
    name: str,
    packages: Sequence[str],
) -> None:
    """Measures the parts that `only` names with commas, each in a folder of its own, prints their
    tables, and writes `NAME.md` and `NAME.json` of all so far into the folder `out` after each.
    Raises `UserError` for a part that is not there.
    """
    names = only.split(",")
    unknown = sorted(set(names) - set(parts))
    if unknown:
        raise UserError(f"--only {only}: no part {unknown[0]!r}, but {', '.join(parts)}")
    begun, machine = time.time(), describe_machine(packages)
    tables: dict[str, Table] = {}
    print(machine, flush=True)
    for part in names:
        with tempfile.TemporaryDirectory() as folder:
            tables[part] = parts[part](Path(folder))
        print(f"\n{tables[part].markdown()}", flush=True)
        write_tables(out, name, machine, tables)
    note(f"{out}: measured in {time.time() - begun:.0f} s")


def describe_machine(packages: Sequence[str]) -> str:
    """What the figures were measured on, and how busy it was, in one line."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f", load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{cores} cores{load}, Python {platform.python_version()}, {versions}"


def write_tables(out: Path, name: str, machine: str, tables: Mapping[str, Table]) -> None:
    """Writes `NAME.md` and `NAME.json` of all parts, and the `machine` they were measured on, into
    the folder.
    """
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / f"{name}.md") as beside:
        text = [f"{machine}\n", *(table.markdown() for table in tables.values())]
        beside.write_text("\n".join(text), encoding="utf-8")
    figures: dict[str, Any] = {part: table.figures for part, table in tables.items()}
    with replacing(out / f"{name}.json") as beside:
        beside.write_text(json.dumps({"machine": machine, **figures}, indent=2), encoding="utf-8")
