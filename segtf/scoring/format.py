"""Format scores, intervals and tables as text."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

from segtf.scoring.intervals import Interval

NONE = "–"


def score_text(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of decimals; a dash for None and NaN."""
    return NONE if value is None or math.isnan(value) else f"{value:.{digits}f}"


def change_text(value: float | None, digits: int = 4) -> str:
    """A difference with its sign; a dash for None."""
    return NONE if value is None else f"{value:+.{digits}f}"


def short_score(value: float | None) -> str:
    """A score with three decimals."""
    return score_text(value, 3)


def percent(fraction: float | None) -> str:
    """A fraction as a percentage that says 0 or 100 only where it is exactly that."""
    if fraction is None:
        return NONE
    if 0 < fraction < 0.001 or 0.999 < fraction < 1:
        return "< 0.1 %" if fraction < 0.5 else "> 99.9 %"
    return f"{100 * fraction:.3g} %"


def interval_text(interval: Interval | None, text: Callable[[float], str] = short_score) -> str:
    """The ends of an interval as `text` writes numbers, with a question mark where it rests on too
    few images; a dash where there is none.
    """
    if interval is None or interval.low is None or interval.high is None:
        return NONE
    ends = f"{text(interval.low).removesuffix(' %')}–{text(interval.high)}"
    return f"{ends} ?" if interval.few else ends


def text_table(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """Rows of cells, the first of them the heads, in columns; those that `left` numbers are aligned
    to the left, the others to the right.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def markdown_table(rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> str:
    """The same as a Markdown table; the cells must be Markdown already."""
    rule = ["---" if i in left else "---:" for i in range(len(rows[0]))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
