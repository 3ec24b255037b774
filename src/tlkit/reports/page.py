"""Markdown as one HTML page that loads no other file: style and pictures are inside, no scripts."""

import base64
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_NO_PICTURES: Mapping[str, bytes] = MappingProxyType({})
_SCALE = 0.8  # shows text of 10 points, drawn at 150 dots per inch, at the size of the page's text
_BEFORE_PERCENT = re.compile(r"(?<=\d) (?=%)")
_HEADING = ("heading_open", "h2")
_HEADING_TOKENS = 3  # the opening tag, the text, the closing tag
_PARAGRAPH_TOKENS = 3


class _Section(NamedTuple):
    """A heading of the second level and the HTML up to the next one."""

    id: str
    title: str
    heading: Markup
    html: Markup
    is_open: bool


def render_page(
    markdown: str,
    pictures: Mapping[str, bytes],
    *,
    dark: Mapping[str, bytes] = _NO_PICTURES,
    folded: Collection[str] = (),
) -> str:
    r"""Return Markdown as an HTML page, light or dark as the reader's system.

    Args:
        markdown: A title, then sections. A paragraph that is emphasized as a whole is the caption
            of the table after it or the picture before it.
        pictures: The PNG files, by the name of each picture that the Markdown links to as
            `<name>.png`.
        dark: PNG or JPEG files for dark mode, by the same names and of the same size.
        folded: Titles of the sections that are folded at first; on paper, all are open.

    Examples:
        >>> page = render_page("# a &lt; b\n\n## Data\n", {})
        >>> "<h1>a &lt; b</h1>" in page, '<div id="data">' in page
        (True, True)
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.children:
            token.children = list(_inline(token.children, pictures, dark))
    tokens = list(_group_figures(list(_tables(tokens))))
    starts = [at for at, token in enumerate(tokens) if (token.type, token.tag) == _HEADING]

    def render(start: int, end: int) -> Markup:
        return Markup(parser.renderer.render(tokens[start:end], parser.options, {}))  # noqa: S704

    sections = []
    for start, end in pairwise([*starts, len(tokens)]):
        title = _text(tokens[start + 1])
        name = re.sub(r"\W+", "-", title.lower()).strip("-")
        heading, content = render(start, start + _HEADING_TOKENS), start + _HEADING_TOKENS
        sections.append(_Section(name, title, heading, render(content, end), title not in folded))
    header = render(0, [*starts, len(tokens)][0])
    return _template().render(title=_text(tokens[1]), header=header, sections=sections) + "\n"


@cache
def _template() -> Template:
    loader = PackageLoader("tlkit.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("page.html.j2")


def _inline(
    tokens: list[Token], pictures: Mapping[str, bytes], dark: Mapping[str, bytes]
) -> Iterator[Token]:
    """Put pictures into the page, and keep each number and its percent sign on one line."""
    for token in tokens:
        if token.type == "image":
            yield from _picture(token, pictures, dark)
        else:
            if token.type == "text":
                token.content = _BEFORE_PERCENT.sub("\u00a0", token.content)
            yield token


def _picture(
    token: Token, pictures: Mapping[str, bytes], dark: Mapping[str, bytes]
) -> Iterator[Token]:
    name = str(token.attrs["src"]).removesuffix(".png")
    light = pictures[name]
    width = round(_SCALE * int.from_bytes(light[16:20], "big"))  # from the header of the PNG file
    shown = {"light": light, "dark": dark[name]} if name in dark else {"": light}
    for mode, file in shown.items():
        attributes = {"alt": "", "width": width, "src": _data_uri(file)}
        yield token.copy(attrs={"class": mode, **attributes} if mode else attributes)


def _data_uri(file: bytes) -> str:
    kind = "jpeg" if file.startswith(b"\xff\xd8") else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file).decode()}"


def _tables(tokens: list[Token]) -> Iterator[Token]:
    """Make each table scroll in a region of its own, and mark its headings and captions."""
    caption = ""
    first_cell = False
    for at, token in enumerate(tokens):
        if token.type == "paragraph_open" and _is_caption(tokens[at + 1]):
            caption = _text(tokens[at + 1])
            token.attrSet("class", "caption")
        elif token.type == "table_open":
            attributes: dict[str, str | int | float] = {
                "class": "scroll",
                "tabindex": "0",
                "role": "region",
                "aria-label": caption,
            }
            yield Token("scroll_open", "div", 1, attrs=attributes, block=True)
        elif token.type == "th_open":
            token.attrSet("scope", "col")
        elif token.type == "tr_open":
            first_cell = True
        elif token.type == "td_open" and first_cell:
            token.tag = "th"
            token.attrSet("scope", "row")
        elif token.type == "td_close" and first_cell:
            token.tag = "th"
            first_cell = False
        yield token
        if token.type == "table_close":
            yield Token("scroll_close", "div", -1, block=True)


def _group_figures(tokens: list[Token]) -> Iterator[Token]:
    """Make each picture and its caption a figure; figures that follow each other are a group."""
    at, is_in_group = 0, False
    while at < len(tokens):
        end = _find_end(tokens, at)
        if not end:
            if is_in_group:
                yield Token("group_close", "div", -1, block=True)
            is_in_group = False
            yield tokens[at]
            at += 1
            continue
        if not is_in_group and _find_end(tokens, end):
            yield Token("group_open", "div", 1, attrs={"class": "figures"}, block=True)
            is_in_group = True
        yield Token("figure_open", "figure", 1, block=True)
        yield from tokens[at : at + _PARAGRAPH_TOKENS]
        for token in tokens[at + _PARAGRAPH_TOKENS : end]:
            token.tag = "figcaption" if token.tag == "p" else token.tag
            yield token
        yield Token("figure_close", "figure", -1, block=True)
        at = end
    if is_in_group:
        yield Token("group_close", "div", -1, block=True)


def _find_end(tokens: list[Token], at: int) -> int:
    """Return the index after a picture and its caption; 0 if no picture starts here."""
    end = at + 2 * _PARAGRAPH_TOKENS
    if end > len(tokens) or tokens[at].type != "paragraph_open":
        return 0
    children = tokens[at + 1].children or []
    is_picture = bool(children) and all(child.type == "image" for child in children)
    return end if is_picture and _is_caption(tokens[at + _PARAGRAPH_TOKENS + 1]) else 0


def _is_caption(token: Token) -> bool:
    children = token.children or []
    return bool(children) and (children[0].type, children[-1].type) == ("em_open", "em_close")


def _text(token: Token) -> str:
    return "".join(child.content for child in token.children or [])
