import html as html_text
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.reading import Tags, read_markdown, shown

from tlkit.reports import document_html, document_markdown, documents
from tlkit.reports.documents import (
    Bullets,
    Code,
    Document,
    KeyFigures,
    Paragraph,
    Picture,
    Section,
    Table,
)

NASTY = st.text(max_size=30) | st.text("\\`*_{}[]()#+-.!|<>&\"'~$=1 \n\té漢\u202e\x1b", max_size=30)


def _document(text: str) -> Document:
    return Document(
        title=f"t {text}",
        sections=(
            Section(
                title=f"s {text}",
                blocks=(
                    Paragraph(text=f"{text} p"),
                    Bullets(items=(f"{text} b", text or "x")),
                    KeyFigures(figures={f"k {text}": f"{text} f"}),
                    Table(
                        caption=f"c {text}",
                        columns=("a", f"{text} b"),
                        rows=((f"{text} r", f"r {text}"), ("1", "2")),
                    ),
                    Picture(name="figure", caption=f"see {text} x"),
                ),
                sections=(Section(title=f"u {text}"),),
            ),
        ),
    )


@given(text=NASTY)
def test_markdown_and_html_show_the_same_whatever_the_text(text: str) -> None:
    document = _document(text)
    page = document_html.written(document, {"figure": b"png"})
    assert shown(page) == read_markdown(document_markdown.written(document))


@given(text=NASTY)
def test_what_is_shown_is_the_text(text: str) -> None:
    document = Document(title="t", sections=(Section(title="s", blocks=(Paragraph(text=text),)),))
    seen = shown(document_html.written(document, {}))
    expected = documents.plain(text)
    assert seen == (["t", "s", expected] if expected else ["t", "s"])


@given(text=NASTY)
def test_no_text_becomes_a_tag_or_an_attribute(text: str) -> None:
    page = document_html.written(_document(text), {"figure": b"png"})
    usual = document_html.written(_document("usual"), {"figure": b"png"})

    assert Tags.of(page) == Tags.of(usual)
    assert page.count("<") == usual.count("<")


@given(lines=st.lists(st.text("a`~ \\<&*_", max_size=12), min_size=1, max_size=4))
def test_code_is_shown_as_it_is(lines: list[str]) -> None:
    code = Code(text="\n".join(["$", *lines, "."]), language="sh")
    document = Document(title="t", sections=(Section(title="s", blocks=(code,)),))
    pages = (
        document_html.written(document, {}),
        MarkdownIt().render(document_markdown.written(document)),
    )
    for page in pages:
        [found] = re.findall(r"<pre><code[^>]*>(.*?)</code></pre>", page, flags=re.S)
        assert html_text.unescape(found).rstrip("\n") == code.text


def test_columns_of_numbers_end_at_the_right_in_both() -> None:
    table = Table(caption="c", columns=("a", "b", "n"), rows=(("x", "y", "3"),), words=2)
    document = Document(title="t", sections=(Section(title="s", blocks=(table,)),))
    assert '<td>y</td><td class="number">3</td>' in document_html.written(document, {})
    assert "| --- | --- | ---: |" in document_markdown.written(document)


def test_a_percent_sign_stays_with_its_number() -> None:
    document = Document(
        title="t", sections=(Section(title="s", blocks=(Paragraph(text="a 95 % interval"),)),)
    )
    assert "<p>a 95\u00a0% interval</p>" in document_html.written(document, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("88.51 %", "88.51 %"),
        ("-", "\\-"),
        ("-5 and +5", "-5 and +5"),
        ("2. April", "2\\. April"),
        ("3)", "3\\)"),
        ("- - -", "\\- - -"),
        ("=", "="),
    ],
)
def test_only_what_markdown_would_misread_is_escaped(text: str, expected: str) -> None:
    assert document_markdown.escaped(text) == expected
    paragraph = Document(title="t", sections=(Section(title="s", blocks=(Paragraph(text=text),)),))
    assert read_markdown(document_markdown.written(paragraph)) == ["t", "s", text]


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
    assert documents.plain(text) == expected
    documents.plain(text).encode()


def test_a_table_with_a_row_of_another_length_is_an_error() -> None:
    table = Table(caption="c", columns=("a", "b"), rows=(("only one",),))
    document = Document(title="t", sections=(Section(title="s", blocks=(table,)),))
    with pytest.raises(ValueError, match="zip"):
        document_html.written(document, {})
