import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.reading import read_markdown

from tlkit.reports import escaping

HARMFUL = st.text(max_size=30) | st.text(
    "\\`*_{}[]()#+-.!|<>&\"'~$=1 \n\té漢\u202e\x1b", max_size=30
)


@given(text=HARMFUL)
@example("1. a")
@example("- a")
@example("# a")
@example("===")
@example("<b>a</b> &amp; <https://a.b>")
@example("![a](b) [a][b] **a** _a_ `a` ~~a~~")
@pytest.mark.parametrize(
    "markdown", ["{}", "a\n\n{}", "a\n\n- {}", "a {} b", "# {}", "**x** {}", "| a |\n|---|\n| {} |"]
)
def test_escaped_text_is_shown_as_it_is(markdown: str, text: str) -> None:
    around = " ".join(read_markdown(markdown.format("TEXT")))
    shown = " ".join(read_markdown(markdown.format(escaping.escape(text))))
    assert shown == " ".join(around.replace("TEXT", escaping.plain(text)).split())


@given(lines=st.lists(st.text("a`~ \\<&*_", max_size=12), min_size=1, max_size=4))
def test_code_is_shown_as_it_is(lines: list[str]) -> None:
    code = "\n".join(["$", *lines, "."])
    page = MarkdownIt().render(escaping.fence(code, "sh"))
    [found] = re.findall(r"<pre><code[^>]*>(.*?)</code></pre>", page, flags=re.DOTALL)
    assert html.unescape(found).rstrip("\n") == code


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("88.51 %", "88.51 %"),
        ("mobilenet_v2", "mobilenet_v2"),
        ("-", "\\-"),
        ("-5 and +5", "-5 and +5"),
        ("2. April", "2\\. April"),
        ("3)", "3\\)"),
        ("- - -", "\\- - -"),
        ("==", "\\=="),
        ("a = b", "a = b"),
    ],
)
def test_only_what_markdown_would_misread_is_escaped(text: str, expected: str) -> None:
    assert escaping.escape(text) == expected


def test_markup_is_not_escaped_again() -> None:
    assert escaping.escape(escaping.escape("*")) == "\\*"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\n\tb", "a b"),
        ("\udcff.jpg", "\ufffd.jpg"),
        ("evil\u202egpj.exe", "evil\ufffdgpj.exe"),
        ("\x1b[31m", "\ufffd[31m"),
        ("Zürich 漢字 \u0645\u06cc\u200c\u062e", "Zürich 漢字 \u0645\u06cc\u200c\u062e"),
    ],
)
def test_plain_text_can_be_written_anywhere(text: str, expected: str) -> None:
    assert escaping.plain(text) == expected
    escaping.plain(text).encode()
