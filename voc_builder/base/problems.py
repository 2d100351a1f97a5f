"""What can be wrong with an annotated image, said so that its owner can mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voc_builder.base.errors import UserError

Severity = Literal["error", "warning"]
# lists hold one name a line: no name may hold a control character or another end of a line
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one file. An error makes the mask wrong or undefined; a warning is worth
    a look, but the mask is well defined.
    """

    file: Path
    severity: Severity
    rule: str  # a short name that never changes, for programs that read the report
    value: str  # what was found
    cure: str
    shape: int | None = None  # place in the file's list of shapes, from 0
    label: str | None = None

    def __str__(self) -> str:
        place = "" if self.shape is None else f"shape {self.shape} ({self.label!r}): "
        return f"{self.severity}: {place}{self.value}: {self.cure} [{self.rule}]"


class AnnotationError(UserError):
    """A file that cannot become a sample, with every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{problem.file}: {problem}" for problem in problems))
        self.problems = tuple(problems)


def escaped(text: str) -> str:
    """The text on one line, with escapes for control characters and what is not UTF-8."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Those problems that stop a build."""
    return [problem for problem in problems if problem.severity == "error"]
