"""The commands, links and pictures of the READMEs exist."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for top in ("", "voc_builder", "segtf", "scripts", "fishki_labelme", "artifacts")
    for page in (ROOT / top).glob("**/README.md" if top else "README.md")
)
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
COMMAND = re.compile(r"python -m ([a-z_.]+)((?:.(?!python -m ))*)", re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands(page: Path) -> list[tuple[str, str, set[str]]]:
    """Module, command of `voc_builder` or "", and flags of every command of a page."""
    found = []
    for code in CODE.findall(page.read_text(encoding="utf-8")):
        for line in code.replace("\\\n", " ").strip("`").splitlines():
            for module, rest in COMMAND.findall(line):
                # what stands in quotes are values, some of them flags of another command
                rest = re.sub(r"'[^']*'|\"[^\"]*\"|#.*|[;|>].*", " ", rest)
                words = rest.split()
                command = words[0] if module == "voc_builder" and words else ""
                flags = {word for word in words if re.fullmatch(r"--[a-z][a-z_-]*", word)}
                found.append((module, command, flags))
    return found


@cache
def help_of(module: str, command: str) -> str:
    """What `--help` of a command prints."""
    name = f"{module}.__main__" if module == "voc_builder" else module
    with pytest.MonkeyPatch.context() as patch:
        lines: list[str] = []
        patch.setattr(sys, "argv", [module, *([command] if command else []), "--help"])
        patch.setattr(sys.stdout, "write", lines.append)
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(name).main()
    assert not ended.value.code
    return "".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_has_the_flags_that_a_page_gives_it(page: Path) -> None:
    for module, command, flags in commands(page):
        assert importlib.util.find_spec(module), f"{page}: python -m {module}"
        if module.partition(".")[0] in ("segtf", "voc_builder", "scripts"):
            known = set(re.findall(r"--[a-z][a-z_-]*", help_of(module, command)))
            assert not flags - known, f"{page}: python -m {module} {command}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        file, _, heading = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        if heading:
            text = (target / "README.md" if target.is_dir() else target).read_text(encoding="utf-8")
            titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]
            assert heading in slugs, link
