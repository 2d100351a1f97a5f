"""Fill the HTML templates of pages that open from disk, light or dark, and print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path, PurePath
from string import Template
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from voc_builder.base.colours import voc_colours

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$css</style>
</head>
<body>
<main>
<header><h1>$title</h1><p class="soft">$subtitle</p></header>
<nav>$links</nav>
$sections
</main>
</body>
</html>
""")


@dataclass(frozen=True)
class Section:
    """A part of a page; `html` stands alone, given the style sheet."""

    id: str
    title: str
    html: str


@cache
def _environment(folder: Path) -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return environment


def render(template: Path, **values: object) -> Markup:
    """The HTML of a template file, in which `values` are escaped. It may extend and import the
    templates beside it and beside this module.
    """
    return Markup(_environment(template.parent).get_template(template.name).render(values))


def style_sheet() -> str:
    """CSS of a page with sections: light, dark and print."""
    return _file("page.css") + content_style()


def content_style() -> str:
    """CSS of what sections hold, for pages that have a frame of their own."""
    return _file("content.css")


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def render_page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page; `title` and `subtitle` are plain text."""
    links = " ".join(f'<a href="#{s.id}">{escape(s.title)}</a>' for s in sections)
    bodies = "\n".join(
        f'<section id="{s.id}"><h2>{escape(s.title)}</h2>\n{s.html}\n</section>' for s in sections
    )
    return PAGE.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        css=style_sheet(),
        links=links,
        sections=bodies,
    )


def missing(text: str) -> str:
    """A part that is not there, and why."""
    return f'<p class="missing">{escape(text)}</p>'


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; the heads are text, the cells HTML."""
    heads = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(f"<tr>{''.join(_cell(c) for c in row)}</tr>\n" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def pairs(values: dict[str, object]) -> str:
    """Names and values below each other, as text."""
    rows = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(_plain(value))}</td></tr>\n"
        for name, value in values.items()
    )
    return f'<div class="scroll"><table class="pairs"><tbody>{rows}</tbody></table></div>'


def bar(share: float | None) -> str:
    """A table cell with a score of 0 to 1 over a bar of that length; a dash without a score."""
    if share is None:
        return "<td>–</td>"
    return f'<td class="bar" style="--share: {100 * share:.1f}%">{share:.4f}</td>'


def picture(path: PurePath, caption: str, *, full: PurePath | None = None, kind: str = "") -> str:
    """A picture by its path relative to the page, a link to it or to `full`; `caption` is HTML."""
    image = f'<img loading="lazy" class="{kind}" src="{link(path)}" alt="{escape(path.stem)}">'
    text = f"<figcaption>{caption}</figcaption>" if caption else ""
    return f'<figure><a href="{link(full or path)}">{image}</a>{text}</figure>'


def flags(text: str) -> str:
    """Text as HTML in which no `--flag` is broken between its dashes."""
    return re.sub(r"(?<![\w-])--\w[\w-]*", r'<span class="flag">\g<0></span>', escape(text))


def prose(text: str) -> str:
    """Text as HTML in which flags and numbers with their units are not broken."""
    return re.sub(r"(?<=\d) (?=%|GB\b|s\b)", "&nbsp;", flags(text))


def link(path: PurePath) -> str:
    """A relative path as a URL, whatever characters it holds."""
    return quote(path.as_posix())


def swatch(colour: Sequence[int]) -> str:
    """A small square in a class's colour."""
    red, green, blue = (int(value) for value in colour)
    return f'<span class="swatch" style="background: rgb({red}, {green}, {blue})"></span>'


def class_name(index: int, name: str) -> str:
    """The name of a class as HTML, behind its colour."""
    return f"{swatch(voc_colours(index + 1)[index])}{escape(name)}"


def _cell(cell: str) -> str:
    return cell if cell.startswith("<td") else f"<td>{cell}</td>"


def _plain(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
