"""Put together one HTML page that opens from disk: no script, no network, light and dark, print."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from string import Template
from urllib.parse import quote

from voc_builder.base.colours import voc_colours

CSS = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6675; --line: #dde2ea; --back: #f6f7f9;
  --card: #ffffff; --accent: #1f5fbf; --bar: #cfe0f7; --good: #12733b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa5b5; --line: #333b47;
  --back: #14181e; --card: #1d232b; --accent: #7fb2ff; --bar: #2b4468; --good: #5fce8d;
  --bad: #ff8a80; } .plot { background: #fff; padding: .5rem; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem; }
header { padding: 1rem 0 .5rem; } h1 { margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }
h2 { margin: 0 0 .75rem; font-size: 1.2rem; } h3 { margin: 1rem 0 .4rem; font-size: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem;
  padding: 1.1rem 1.25rem; margin: 1rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; font-size: .9rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
p { margin: .4rem 0; } .soft { color: var(--soft); font-size: .9rem; }
.missing { border-left: 4px solid var(--bad); padding: .3rem .8rem; margin: .4rem 0; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.cards { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
.card { border: 1px solid var(--line); border-radius: .6rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.55rem; line-height: 1.25;
  font-variant-numeric: tabular-nums; }
.card.first { border-color: var(--accent); border-width: 2px; }
.card .name { overflow-wrap: anywhere; font-size: .95rem; }
.swatch { display: inline-block; width: .8em; height: .8em; border: 1px solid var(--soft);
  border-radius: .15em; margin-right: .4em; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right;
  vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; min-width: 7rem;
  max-width: 18rem; overflow-wrap: break-word; }
table.pairs td { text-align: left; overflow-wrap: anywhere; min-width: 6rem; }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; }
.bar { background: linear-gradient(var(--bar), var(--bar)) no-repeat left / var(--share) 100%; }
pre { background: var(--back); border: 1px solid var(--line); border-radius: .5rem; margin: .4rem 0;
  padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; }
code { font-size: .9em; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; display: block; border-radius: .4rem; }
.plots { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); }
.photos { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
.strips { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); }
figure { margin: 0; } figcaption { font-size: .85rem; padding-top: .3rem; overflow-wrap: anywhere; }
.flag { white-space: nowrap; } .scroll + .scroll { margin-top: .75rem; }
summary { cursor: pointer; color: var(--accent); }
@media print { body { background: #fff; font-size: 11px; } nav { display: none; }
  section, figure, tr, .card { break-inside: avoid; } section { border: 0; padding: 0; }
  .photos { grid-template-columns: repeat(4, 1fr); } }
@media (max-width: 30rem) { main { padding: .5rem; } section { padding: .8rem; }
  .photos { grid-template-columns: 1fr 1fr; gap: .6rem; }
  table { font-size: .85rem; } th, td { padding: .3rem .35rem; }
  th:first-child, td:first-child { min-width: 5rem; }
  td .soft { font-size: .7rem; } table.pairs td { min-width: 4rem; } }
"""

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
    """A part of the page; `body` is HTML."""

    anchor: str
    title: str
    body: str


def render_page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page; `title` and `subtitle` are plain text."""
    links = " ".join(f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in sections)
    bodies = "\n".join(
        f'<section id="{s.anchor}"><h2>{escape(s.title)}</h2>\n{s.body}\n</section>'
        for s in sections
    )
    return PAGE.substitute(
        title=escape(title), subtitle=escape(subtitle), css=CSS, links=links, sections=bodies
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
