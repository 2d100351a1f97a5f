"""Problems of annotated images: the file, the rule that it breaks, and how to fix it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from voc_builder.base.errors import UserError

Severity = Literal["error", "warning"]
# lists have one name per line, so a name may hold no control character or line separator
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True)
class Problem:
    """One problem of one file. With an error the mask is wrong or undefined; with a warning it is
    well defined, but worth a look.
    """

    file: Path
    severity: Severity
    rule: str  # a short name that never changes, for programs
    value: str  # what was found
    cure: str
    shape: int | None = None  # index in the file's list of shapes
    label: str | None = None

    def __str__(self) -> str:
        place = "" if self.shape is None else f"shape {self.shape} ({self.label!r}): "
        return f"{self.severity}: {place}{self.value}: {self.cure} [{self.rule}]"


class AnnotationError(UserError):
    """A file that cannot be used, with every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{problem.file}: {problem}" for problem in problems))
        self.problems = tuple(problems)


def escaped(text: str) -> str:
    """The text on one line; control characters and bytes that are not UTF-8 become escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that stop a build."""
    return [problem for problem in problems if problem.severity == "error"]
