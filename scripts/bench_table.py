"""A table of measurements: printed as Markdown, kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voc_builder.files import replacing


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
        lines = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *self.rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"## {self.title}\n\n{table}\n\n{self.verdict}\n"


def network_name(arch: str, encoder: str) -> str:
    """What a network is called; unet_plain has no encoder."""
    return arch if arch == "unet_plain" else f"{arch} {encoder}"


def met(found: float, limit: float, *, least: bool = False) -> str:
    """In a word whether a figure is what was wanted: `limit` at most, or at least."""
    return "met" if (found >= limit if least else found <= limit) else "missed"


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
