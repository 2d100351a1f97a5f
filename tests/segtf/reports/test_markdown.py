"""Names stand in Markdown as they are."""

from __future__ import annotations

import pytest

from segtf.reports.markdown import code, fence, plain


def test_what_markdown_takes_for_its_own_is_escaped() -> None:
    assert plain("iou_chip <b> $x$ & `a`") == r"iou\_chip \<b> \$x\$ \& \`a\`"
    assert plain("def|ect __a__") == r"def\|ect \_\_a\_\_"
    assert plain("a\nb") == r"a\\nb", "on one line"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("light", "`light`"),
        ("a`b", "``a`b``"),
        ("a``b`", "``` a``b` ```"),
        ("a\nb", r"`a\nb`"),
    ],
)
def test_a_span_of_code_ends_where_its_text_ends(text: str, span: str) -> None:
    assert code(text) == span


def test_a_fence_is_longer_than_what_it_encloses() -> None:
    assert fence("a") == "```"
    assert fence("a\n````\nb") == "`````"
