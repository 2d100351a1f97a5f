"""Fill the HTML templates of pages that open from disk, light or dark, and print."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from segtf.scoring.format import score_text
from voc_builder.base.colours import voc_colours


@dataclass(frozen=True)
class Section:
    """A part of a page; `html` stands alone, given the style sheet."""

    id: str
    title: str
    html: Markup


def render(template: Path, **values: object) -> Markup:
    """The HTML of a template file, in which `values` are escaped. It may extend and import the
    templates beside it and beside this module.
    """
    return Markup(_environment(template.parent).get_template(template.name).render(values))


def content_style() -> str:
    """CSS of what sections hold, for pages that have a frame of their own."""
    return Path(__file__).with_name("content.css").read_text(encoding="utf-8")


def prose(text: str) -> Markup:
    """Text in which no line breaks within a --flag or between a number and its unit."""
    html = re.sub(r"(?<![\w-])--\w[\w-]*", r'<span class="flag">\g<0></span>', str(escape(text)))
    return Markup(re.sub(r"(?<=\d) (?=%|GB\b|s\b)", "&nbsp;", html))


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
    environment.filters |= {
        "colour": _colour,
        "count": "{:,}".format,
        "plain": _plain,
        "prose": prose,
        "score": score_text,
        "stem": lambda path: PurePath(path).stem,
        "url": lambda path: quote(PurePath(path).as_posix()),
    }
    return environment


def _colour(class_id: int) -> str:
    red, green, blue = voc_colours(class_id + 1)[class_id]
    return f"rgb({red}, {green}, {blue})"


def _plain(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return str(value)
