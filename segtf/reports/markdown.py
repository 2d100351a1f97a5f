"""Write names into Markdown: they may hold what it takes for emphasis, formulas, code or HTML."""

from __future__ import annotations

import re

from voc_builder.base.problems import escaped


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line, also in a cell of a table."""
    return "".join(f"\\{c}" if c in "\\`*_|<[$#&" else c for c in escaped(text))


def code(text: str) -> str:
    """Text as a span of code, on one line."""
    inner = escaped(text)
    ticks = fence(inner, least=1)
    apart = " " if "`" in (inner[:1], inner[-1:]) else ""
    return f"{ticks}{apart}{inner}{apart}{ticks}"


def fence(text: str, *, least: int = 3) -> str:
    """Backticks that enclose a text: `least`, or one more than the text has in a row."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
