"""Read `0.7*ce + 0.3*dice`; no framework is needed to check what was written."""

from __future__ import annotations

import re

from voc_builder.errors import UserError

LOSSES = ("ce", "dice")


def parse_loss(expression: str) -> list[tuple[float, str]]:
    """Weight and name of each term. Raises `UserError` naming the term that is none."""
    terms = []
    for term in expression.split("+"):
        match = re.fullmatch(r"\s*(?:(\d+\.?\d*|\.\d+)\s*\*)?\s*([a-z_]+)\s*", term)
        if not match or match[2] not in LOSSES:
            raise UserError(
                f"--loss {expression!r}: {term.strip()!r} is no term; write a sum of "
                f"{' and '.join(LOSSES)} with weights, such as '0.7*ce + 0.3*dice'"
            )
        terms.append((float(match[1] or 1), match[2]))
    return terms
